"""Published distributions of lengths: lines for a client and time, or ServeGen's files."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workloads.batch import MAX_TOKENS
from workloads.population.model import MAX_T_S, ClientLengths
from workloads.population.pmf import RatioPmf, TokenPmf
from workloads.traces.parsing.problems import BadRows

_MAX_SHOWN = 3  # problems listed of one row: a bad array has thousands
_SUM_TOLERANCE = 1e-3
_COLUMNS = ("input_tokens", "output_tokens", "reason_ratio")

Probability = Annotated[float, Field(ge=0, le=1)]
Probabilities = Annotated[list[Probability], Field(min_length=1)]
Seconds = Annotated[int, Field(ge=0, le=MAX_T_S)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class _Tokens(_Row):
    value: list[Annotated[int, Field(ge=0, le=MAX_TOKENS)]]
    prob: Probabilities

    @model_validator(mode="after")
    def _fits(self) -> _Tokens:
        if len(self.value) != len(self.prob):
            raise ValueError(f"{len(self.value)} values but {len(self.prob)} probabilities")
        _require_sum(self.prob)
        return self


class _Ratio(_Row):
    prob: Probabilities

    @model_validator(mode="after")
    def _fits(self) -> _Ratio:
        _require_sum(self.prob)
        return self


class _Lengths(_Row):
    client_id: Annotated[int, Field(ge=0)]
    window_start_s: Seconds
    window_len_s: Annotated[int, Field(gt=0, le=MAX_T_S)]
    input_tokens: _Tokens
    output_tokens: _Tokens
    reason_ratio: _Ratio | None = None


def jsonl_lengths(lines: list[str], bad: BadRows) -> dict[int, tuple[ClientLengths, ...]]:
    """The lengths of each client, by number; malformed lines go into `bad`."""
    found: dict[int, list[ClientLengths]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _Lengths.model_validate_json(line)
        except ValidationError as error:
            bad.add(number, *_listed(error))
            continue
        own = found.setdefault(row.client_id, [])
        lengths = _client_lengths(row)
        if any(lengths.start_s < one.end_s and one.start_s < lengths.end_s for one in own):
            bad.add(number, ("window_start_s", "overlaps another window of this client"))
            continue
        own.append(lengths)
    return {
        client: tuple(sorted(own, key=lambda one: one.start_s)) for client, own in found.items()
    }


def chunk_lengths(text: str, bad: BadRows, end_s: int) -> tuple[ClientLengths, ...]:
    """The lengths in ServeGen's `chunk-<client>-dataset.json`; what is wrong goes into `bad`.

    Keys are start times in seconds, each lasting to the next, the last one to `end_s`; values hold
    one text a column, "{length: probability, ...}". A time with an empty column has no lengths.
    """
    try:
        windows = json.loads(text)
    except (ValueError, RecursionError) as error:
        bad.add(None, (None, f"not JSON: {error}"))
        return ()
    if not isinstance(windows, dict) or not all(map(_is_time, windows)):
        bad.add(None, (None, "expected an object whose keys are times in seconds"))
        return ()
    starts = sorted(map(int, windows))
    ends = [*starts[1:], max([end_s, *(start + 1 for start in starts)])]
    found: list[ClientLengths] = []
    for start_s, next_s in zip(starts, ends, strict=False):
        try:
            row = _chunk_row(windows[str(start_s)], start_s, next_s)
        except ValidationError as error:
            bad.add(None, *_listed(error, f"{start_s}."))
        except ValueError as error:
            bad.add(None, (str(start_s), str(error)))
        else:
            if row is not None:
                found.append(_client_lengths(row))
    return tuple(found)


def _chunk_row(columns: Any, start_s: int, end_s: int) -> _Lengths | None:
    if not isinstance(columns, dict) or not all(isinstance(v, str) for v in columns.values()):
        raise ValueError("expected an object of texts like {39: 0.5, 40: 0.5}")
    pairs = {name: _pairs(text, name) for name, text in columns.items() if name in _COLUMNS}
    if any(not column for column in pairs.values()):
        return None
    row: dict[str, Any] = {
        "client_id": 0,
        "window_start_s": start_s,
        "window_len_s": end_s - start_s,
    }
    for name, column in pairs.items():
        row[name] = {"prob": [share for _, share in column]}
        if name != "reason_ratio":
            if any(length != int(length) for length, _ in column):
                raise ValueError(f"{name}: lengths must be whole numbers")
            row[name]["value"] = [int(length) for length, _ in column]
    return _Lengths.model_validate(row)


def _pairs(text: str, name: str) -> list[tuple[float, float]]:
    """The pairs of a text such as "{0.0: 0.25, 0.002: 0.75}", in the order of the keys."""
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        raise ValueError(f"{name}: expected a text like {{39: 0.5, 40: 0.5}}")
    pairs = []
    for part in body[1:-1].split(",") if body[1:-1].strip() else []:
        key, _, value = part.partition(":")
        try:
            pair = float(key), float(value)
        except ValueError:
            raise ValueError(f"{name}: not a length and a probability: {part[:40]!r}") from None
        if not (math.isfinite(pair[0]) and math.isfinite(pair[1])):
            raise ValueError(f"{name}: not a finite number: {part[:40]!r}")
        pairs.append(pair)
    return sorted(pairs)


def _client_lengths(row: _Lengths) -> ClientLengths:
    return ClientLengths(
        start_s=row.window_start_s,
        end_s=row.window_start_s + row.window_len_s,
        prompt=TokenPmf.of(row.input_tokens.value, row.input_tokens.prob),
        output=TokenPmf.of(row.output_tokens.value, row.output_tokens.prob),
        ratio=None if row.reason_ratio is None else RatioPmf.of(row.reason_ratio.prob),
    )


def _require_sum(probabilities: list[float]) -> None:
    total = math.fsum(probabilities)
    if abs(total - 1) > _SUM_TOLERANCE:
        raise ValueError(f"probabilities add up to {total:g}, not 1")


def _is_time(key: str) -> bool:
    return bool(re.fullmatch("0|[1-9][0-9]{0,8}", key)) and int(key) <= MAX_T_S


def _listed(error: ValidationError, prefix: str = "") -> list[tuple[str | None, str]]:
    """The first problems of a row, (field, message) each, then how many more."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    listed: list[tuple[str | None, str]] = [
        (
            prefix + ".".join(str(part) for part in one["loc"]) or None,
            one["msg"].removeprefix("Value error, "),
        )
        for one in found[:_MAX_SHOWN]
    ]
    if len(found) > _MAX_SHOWN:
        listed.append((None, f"... and {len(found) - _MAX_SHOWN:,} more problems"))
    return listed
