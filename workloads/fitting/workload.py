"""From the rows of a trace to the `workload:` section of an experiment that reproduces them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from workloads.copula import split_variance
from workloads.fitting.arrivals import FittedArrivals, fit_arrivals
from workloads.fitting.choice import FittedLengths, fit_lengths
from workloads.fitting.dependence import LARGEST, correlations, possible
from workloads.fitting.sample import LengthSample
from workloads.traces import TraceRows

LEAST_ROWS = 100
"""A class of fewer rows is not fitted by itself; such classes are put together."""
LISTED_LAWS = 3
CLASS, OTHER = "trace", "other"  # what the only class, and the small ones together, are called


@dataclass(frozen=True, eq=False)
class FittedClass:
    """The fields of one class of queries, with remarks: field -> lines that explain it."""

    fields: dict[str, Any]
    remarks: dict[str, list[str]]
    lengths: dict[str, FittedLengths]
    arrivals: FittedArrivals


@dataclass(frozen=True, eq=False)
class FittedWorkload:
    """A `workload:` section: its fields, one or more classes, and what it does not reproduce."""

    fields: dict[str, Any]
    classes: dict[str, FittedClass]
    lost: list[str] = field(default_factory=list)

    def to_yaml(self, heading: list[str]) -> str:
        """A YAML document with the one key `workload`; `heading` lines become comments above."""
        lines = [f"# {line}" for line in heading]
        if self.lost:
            lines += ["#", "# Not reproduced:"] + [f"#   - {line}" for line in self.lost]
        lines += ["workload:", f"  kind: {self.fields['kind']}"]
        if self.fields["kind"] == "synthetic":
            (only,) = self.classes.values()
            lines.append(f"  class_name: {self.fields['class_name']}")
            lines += _field_lines(only, 2)
        else:
            lines.append("  classes:")
            for name, each in self.classes.items():
                lines += [f"    {yaml.safe_dump(name, width=1000).splitlines()[0]}:"]
                lines += _field_lines(each, 6)
        lines += [f"  {key}: {self.fields[key]}" for key in ENDS if key in self.fields]
        return "\n".join(lines) + "\n"


ENDS = ("num_requests", "duration_s")


def fit_workload(rows: TraceRows) -> FittedWorkload:
    """A generator of requests like those of `rows`.

    One class is a `synthetic` workload, several are a `mix` whose classes arrive by themselves.
    Raises ValueError if there are no rows.
    """
    if not len(rows):
        raise ValueError("no rows")
    lost = _lost(rows)
    parts = _classes(rows)
    if len(parts) == 1:
        only = _fit_class(rows, np.arange(len(rows)), 0.0)
        fields = {"kind": "synthetic", "class_name": CLASS, **only.fields, **only.arrivals.ends}
        lost += only.arrivals.notes
        return FittedWorkload(fields, {"": only}, lost)
    start_s = float(rows.arrival_s[0])
    classes = {name: _fit_class(rows, part, start_s) for name, part in parts.items()}
    ends = _ends_of_all(rows, classes)
    lost.append("classes arrive independently of each other")
    lost += sorted({note for each in classes.values() for note in each.arrivals.notes})
    fields = {"kind": "mix", "classes": {name: each.fields for name, each in classes.items()}}
    return FittedWorkload(fields | ends, classes, lost)


def _classes(rows: TraceRows) -> dict[str, NDArray[np.int64]]:
    """The rows of each class that is large enough, and of all others together."""
    if rows.class_id is None or len(rows.class_names) < 2:
        return {"": np.arange(len(rows))}
    parts: dict[str, NDArray[np.int64]] = {}
    rest = []
    for i, name in enumerate(rows.class_names):
        where = np.flatnonzero(rows.class_id == i)
        plain = re.sub(r"[^\w.-]+", "_", name) or "class"
        if len(where) < LEAST_ROWS:
            rest.append(where)
        else:
            parts[plain if plain not in parts else f"{plain}_{i}"] = where
    leftover = np.sort(np.concatenate(rest)) if rest else np.empty(0, dtype=np.int64)
    if len(leftover):
        other = OTHER
        while other in parts:
            other += "_"
        parts[other] = leftover
    return parts


def _ends_of_all(rows: TraceRows, classes: dict[str, FittedClass]) -> dict[str, Any]:
    """How a mix ends: with the trace, or after as many requests if all come at once."""
    times = [each.arrivals.ends.get("duration_s", 0.0) for each in classes.values()]
    span_s = float(rows.arrival_s[-1] - rows.arrival_s[0])
    if span_s == 0:
        return {"num_requests": len(rows)}
    return {"duration_s": max(*times, float(f"{span_s:.6g}"))}


def _fit_class(rows: TraceRows, where: NDArray[np.int64], start_s: float) -> FittedClass:
    columns = {"prompt": rows.prompt_tokens[where], "answer": rows.answer_tokens[where]}
    thinking = rows.thinking_tokens
    if thinking is not None and thinking[where].any():
        columns = {"prompt": columns["prompt"], "thinking": thinking[where], **columns}
    arrivals = fit_arrivals(rows.arrival_s[where])
    fields: dict[str, Any] = {"arrivals": arrivals.fields}
    remarks = {"arrivals": _arrival_remarks(arrivals, len(where))}
    lengths = {}
    for name, values in columns.items():
        fitted = fit_lengths(LengthSample.of(values))
        lengths[name] = fitted
        fields[f"{name}_tokens"] = fitted.fields
        remarks[f"{name}_tokens"] = _length_remarks(fitted)
    dependence, notes = _correlation(columns, lengths)
    if dependence:
        fields["correlation"] = dependence
        remarks["correlation"] = [
            "of normal scores, from the rank correlations of the rows",
            *notes,
        ]
    return FittedClass(fields, remarks, lengths, arrivals)


def _correlation(
    columns: dict[str, NDArray[np.int64]], lengths: dict[str, FittedLengths]
) -> tuple[dict[str, float], list[str]]:
    """The `correlation` field, and remarks on it.

    Thinking is correlated through its problem, which decides only part of it: the correlation with
    the problem is larger by 1 / sqrt(that part).
    """
    if len(next(iter(columns.values()))) < LEAST_ROWS:
        return {}, []
    found = correlations(columns)
    names, notes = list(columns), []
    matrix = np.eye(len(names))
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            score = found[f"{first}_{names[j]}"]["normal_score"]
            matrix[i, j] = matrix[j, i] = score
    if "thinking" in names:
        k, part = names.index("thinking"), split_variance(lengths["thinking"].law)
        larger = 1 / math.sqrt(part) if part > 0.05 else 0.0
        off = np.arange(len(names)) != k
        matrix[k, off] *= larger
        matrix[off, k] *= larger
        if part > 0:
            notes.append(f"thinking is correlated through its problem: x {larger:.3f}")
    matrix = np.clip(matrix, -LARGEST, LARGEST)
    np.fill_diagonal(matrix, 1.0)
    matrix = possible(matrix)
    pairs = {
        f"{first}_{names[j]}": round(float(matrix[i, j]), 4)
        for i, first in enumerate(names)
        for j in range(i + 1, len(names))
    }
    return {pair: value for pair, value in pairs.items() if value}, notes


def _lost(rows: TraceRows) -> list[str]:
    lost = []
    if rows.thinking_tokens is None:
        lost.append("thinking: none is recorded, answers are all output; add thinking_tokens")
    if rows.sessions is not None and (rows.sessions.session_id >= 0).any():
        lost.append("sessions: turns arrive as requests of their own")
    if rows.segments is not None:
        lost.append("prefixes that prompts share")
    if rows.client_id is not None and len(rows.client_names) > 1:
        lost.append(f"which of {len(rows.client_names):,} clients sends a request")
    if rows.estimated:
        lost.append(f"(estimated in the trace itself: {', '.join(rows.estimated)})")
    return lost


def _arrival_remarks(arrivals: FittedArrivals, n: int) -> list[str]:
    if arrivals.cv is None:
        return [f"{n:,} requests"]
    words = f"{n:,} requests; CV of their gaps {arrivals.cv:.4g}"
    if arrivals.simulated_cv is not None:
        words += f", of this process {arrivals.simulated_cv:.4g}"
    return [words]


def _length_remarks(fitted: FittedLengths) -> list[str]:
    sample = fitted.sample
    p50, p90, p99 = (f"{value:,}" for value in sample.quantile([0.5, 0.9, 0.99]))
    lines = [f"p50 {p50}, p90 {p90}, p99 {p99}, mean {sample.mean:,.1f}; KS {fitted.ks:.4f}"]
    if sample.zero_share:
        lines.append(f"{100 * sample.zero_share:.3g} % are 0; laws are compared on the others")
    if sample.cap is not None:
        lines.append(f"cut off at {sample.cap:,}")
    n = sample.positive().total if fitted.ranked else 1.0
    lines += [
        f"{law.title}: KS {law.ks:.4f}, AIC {law.aic:.6g} ({law.aic / n:.4f} a request)"
        for law in fitted.ranked[:LISTED_LAWS]
    ]
    if fitted.why and fitted.best is not None:
        lines.append(f"not the {fitted.best.title}: {fitted.why}")
    return lines


def _field_lines(each: FittedClass, indent: int) -> list[str]:
    lines = []
    for key, value in each.fields.items():
        lines += [f"{' ' * indent}# {remark}" for remark in each.remarks.get(key, [])]
        lines += _dumped({key: value}, indent)
    return lines


def _dumped(fields: dict[str, Any], indent: int) -> list[str]:
    text = yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, width=100 - indent)
    return [" " * indent + line for line in text.splitlines()]
