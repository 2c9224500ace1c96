"""Rows of rates and CVs: a table of all clients, or ServeGen's file for each client."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError, Problem
from workloads.population.model import MAX_T_S, WINDOW_S, Client, ClientLengths
from workloads.processes.gaps import LEAST_CV, MOST_CV, Family
from workloads.traces.parsing.problems import BadRows, shown

COLUMNS = ("client_id", "t_s", "rate_rps", "iat_cv", "pattern", "shape", "scale")
HEADER = ",".join(COLUMNS)

_FAMILIES: dict[str, Family] = {"Gamma": "gamma", "Weibull": "weibull"}
_MAX_RATE_RPS = 1e6
_SHAPE_TOLERANCE = 0.01
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class WindowRow:
    """One client's traffic in one window. `shape` is published beside the CV it should give."""

    client: int
    window: int
    rate_rps: float
    cv: float
    family: Family
    shape: float

    def shape_agrees(self) -> bool:
        """Whether the gaps' law with this shape has this CV, to 1 %."""
        try:
            if self.family == "gamma":
                cv = 1.0 / math.sqrt(self.shape)
            else:
                # E[gap^2] / E[gap]^2 = Gamma(1 + 2/k) / Gamma(1 + 1/k)^2
                log = math.lgamma(1 + 2 / self.shape) - 2 * math.lgamma(1 + 1 / self.shape)
                cv = math.sqrt(math.expm1(log))
        except (ValueError, ZeroDivisionError, OverflowError):
            return False
        return abs(cv / self.cv - 1) <= _SHAPE_TOLERANCE


def table_rows(lines: list[str], bad: BadRows) -> list[WindowRow]:
    """The rows of a table with a header; malformed ones go into `bad`.

    Raises InputError for another header.
    """
    if not lines or lines[0].strip() != HEADER:
        raise InputError(Problem(f"expected the header {HEADER}", file=bad.file, line=1))
    return _read(((n, line) for n, line in enumerate(lines[1:], 2)), bad, None)


def chunk_rows(lines: list[str], bad: BadRows, client: int) -> list[WindowRow]:
    """The rows of ServeGen's `chunk-<client>-trace.csv`, which has no header and no client."""
    return _read(((n, line) for n, line in enumerate(lines, 1)), bad, client)


def clients_of(
    rows: list[WindowRow], lengths: dict[int, tuple[ClientLengths, ...]]
) -> tuple[Client, ...]:
    """The clients that the rows speak of, by number; each must have lengths."""
    by_client: dict[int, list[WindowRow]] = {}
    for row in rows:
        by_client.setdefault(row.client, []).append(row)
    clients = []
    for number in sorted(by_client):
        own = sorted(by_client[number], key=lambda row: row.window)
        clients.append(
            Client(
                name=str(number),
                window=np.array([row.window for row in own], dtype=np.int64),
                rate_rps=np.array([row.rate_rps for row in own]),
                cv=np.array([row.cv for row in own]),
                family=tuple(row.family for row in own),
                lengths=lengths[number],
            )
        )
    return tuple(clients)


def _read(lines: Iterator[tuple[int, str]], bad: BadRows, client: int | None) -> list[WindowRow]:
    rows: list[WindowRow] = []
    seen: set[tuple[int, int]] = set()
    for number, line in lines:
        if not line.strip():
            continue
        cells = line.strip().split(",")
        names = list(COLUMNS) if client is None else list(COLUMNS[1:])
        if len(cells) != len(names):
            bad.add(number, (None, f"expected {len(names)} fields, found {len(cells)}"))
            continue
        text = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
        row, wrong = _row(text if client is None else {"client_id": str(client), **text})
        if row is not None and (row.client, row.window) in seen:
            wrong = [("t_s", "a second row for this client and time")]
        if wrong or row is None:
            bad.add(number, *wrong)
            continue
        seen.add((row.client, row.window))
        if row.rate_rps > 0:
            rows.append(row)
    return rows


def _row(text: dict[str, str]) -> tuple[WindowRow | None, list[tuple[str, str]]]:
    """The row, of rate 0 if nothing is sent; or what is wrong with it, by field."""
    wrong: list[tuple[str, str]] = []

    def number(name: str, low: float, high: float) -> float:
        try:
            value = float(text[name])
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            wrong.append((name, f"not a number from {low:g} to {high:g}: {shown(text[name])}"))
        return value

    for name in ("client_id", "t_s"):
        if not _COUNT.fullmatch(text[name]):
            wrong.append((name, f"not a whole number: {shown(text[name])}"))
    if wrong:
        return None, wrong
    client, t_s = int(text["client_id"]), int(text["t_s"])
    if t_s % WINDOW_S or t_s > MAX_T_S:
        wrong.append(("t_s", f"not a multiple of {WINDOW_S} s up to {MAX_T_S}: {t_s}"))
    rate = number("rate_rps", 0.0, _MAX_RATE_RPS)
    if rate == 0 and not wrong:  # an empty window, whose other fields are empty or 0
        return WindowRow(client, t_s // WINDOW_S, 0.0, 1.0, "gamma", 1.0), []
    cv = number("iat_cv", LEAST_CV, MOST_CV)
    shape = number("shape", 0.0, 1e9)
    number("scale", 0.0, 1e15)
    family = _FAMILIES.get(text["pattern"])
    if family is None:
        message = f"not one of {', '.join(_FAMILIES)}: {shown(text['pattern'])}"
        wrong.append(("pattern", message))
    if wrong or family is None:
        return None, wrong
    return WindowRow(client, t_s // WINDOW_S, rate, cv, family, shape), []
