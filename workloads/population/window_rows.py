"""Rows of rates and CVs: one table for all clients, or ServeGen's file a client."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError, Problem
from workloads.gaps import LEAST_CV, MOST_CV, Family
from workloads.population.model import WINDOW_S, Client, ClientLengths

COLUMNS = ("client_id", "t_s", "rate_rps", "iat_cv", "pattern", "shape", "scale")
HEADER = ",".join(COLUMNS)

_FAMILIES: dict[str, Family] = {"Gamma": "gamma", "Weibull": "weibull"}
_MAX_T_S = 366 * 86_400
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


def table_rows(lines: list[str], file: str) -> tuple[list[WindowRow], list[list[Problem]]]:
    """The rows of a table with a header, and the problems of each malformed row.

    Raises InputError for another header.
    """
    if not lines or lines[0].strip() != HEADER:
        raise InputError(Problem(f"expected the header {HEADER}", file=file, line=1))
    return _read(((n, line) for n, line in enumerate(lines[1:], 2)), file, None)


def chunk_rows(
    lines: list[str], file: str, client: int
) -> tuple[list[WindowRow], list[list[Problem]]]:
    """The rows of ServeGen's `chunk-<client>-trace.csv`, which has no header and no client."""
    return _read(((n, line) for n, line in enumerate(lines, 1)), file, client)


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


def _read(
    lines: Iterator[tuple[int, str]], file: str, client: int | None
) -> tuple[list[WindowRow], list[list[Problem]]]:
    rows: list[WindowRow] = []
    problems: list[list[Problem]] = []
    seen: set[tuple[int, int]] = set()
    for number, line in lines:
        if not line.strip():
            continue
        fields = line.strip().split(",")
        if client is not None:
            fields = [str(client), *fields]
        wrong, row = _row(fields, file, number, short=0 if client is None else 1)
        if row is not None:
            if (row.client, row.window) in seen:
                wrong = [Problem("a second row for this client and time", file, number, "t_s")]
            seen.add((row.client, row.window))
            if row.rate_rps > 0:
                rows.append(row)
        if wrong:
            problems.append(wrong)
    return rows, problems


def _row(
    fields: list[str], file: str, line: int, short: int
) -> tuple[list[Problem], WindowRow | None]:
    """What is wrong with a row, or the row; of rate 0 if nothing is sent."""
    if len(fields) != len(COLUMNS):
        message = f"expected {len(COLUMNS) - short} fields, found {len(fields) - short}"
        return [Problem(message, file, line)], None
    text = dict(zip(COLUMNS, (field.strip() for field in fields), strict=True))
    problems: list[Problem] = []

    def number(name: str, low: float, high: float) -> float:
        try:
            value = float(text[name])
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            message = f"not a number from {low:g} to {high:g}: {_shown(text[name])}"
            problems.append(Problem(message, file, line, name))
        return value

    for name in ("client_id", "t_s"):
        if not _COUNT.fullmatch(text[name]):
            message = f"not a whole number: {_shown(text[name])}"
            problems.append(Problem(message, file, line, name))
    if problems:
        return problems, None
    t_s = int(text["t_s"])
    if t_s % WINDOW_S or t_s > _MAX_T_S:
        message = f"not a multiple of {WINDOW_S} s up to {_MAX_T_S}: {t_s}"
        problems.append(Problem(message, file, line, "t_s"))
    rate = number("rate_rps", 0.0, _MAX_RATE_RPS)
    if rate == 0:  # an empty window, whose other fields are empty or 0
        cv, family, shape = 1.0, "Gamma", 1.0
    else:
        cv, family, shape = number("iat_cv", LEAST_CV, MOST_CV), text["pattern"], math.nan
        shape = number("shape", 0.0, 1e9)
        number("scale", 0.0, math.inf)
        if family not in _FAMILIES:
            message = f"not one of {', '.join(_FAMILIES)}: {_shown(family)}"
            problems.append(Problem(message, file, line, "pattern"))
    if problems:
        return problems, None
    client, window = int(text["client_id"]), t_s // WINDOW_S
    return [], WindowRow(client, window, rate, cv, _FAMILIES[family], shape)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
