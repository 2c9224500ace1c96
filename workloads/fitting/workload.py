"""From the rows of a trace to the `workload:` section of an experiment that reproduces them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.fitting.arrivals import FittedArrivals, as_process, fit_arrivals, simulated_cv
from workloads.fitting.choice import fit_lengths
from workloads.fitting.gap_statistics import gap_cv
from workloads.fitting.joint import fit_joint
from workloads.fitting.sample import LengthSample
from workloads.fitting.section import (
    FittedClass,
    FittedWorkload,
    arrival_remarks,
    length_remarks,
)
from workloads.traces import TraceRows

LEAST_ROWS = 100
"""A class of fewer rows is not fitted by itself; such classes are put together."""
CLASS, OTHER = "trace", "other"  # what the only class, and the small ones together, are called
CV_CLOSE = 0.05
"""How far the CV of the gaps may be off where classes arrive by themselves."""


def fit_workload(rows: TraceRows) -> FittedWorkload:
    """A generator of requests like those of `rows`.

    One class is a `synthetic` workload, several are a `mix`: with arrivals of their own if those
    together have gaps like the trace's, else with shares of one process. Raises ValueError if there
    are no rows.
    """
    if not len(rows):
        raise ValueError("no rows")
    lost = _lost(rows)
    parts = _classes(rows)
    together = fit_arrivals(rows.arrival_s)
    if len(parts) > 1:
        mix = _mix(rows, parts, together)
        return replace(mix, lost=[*lost, *mix.lost])
    only = _fit_class(rows, np.arange(len(rows)), together)
    fields = {"kind": "synthetic", "class_name": CLASS, **only.fields, **together.ends}
    return FittedWorkload(fields, {CLASS: only}, [*lost, *together.notes, *only.lost])


def _mix(
    rows: TraceRows, parts: dict[str, NDArray[np.int64]], together: FittedArrivals
) -> FittedWorkload:
    """The classes as a mix."""
    own = _own_arrivals(rows, parts, together)
    if own is not None:
        classes = {name: _fit_class(rows, parts[name], own[name]) for name in parts}
        fields = {"kind": "mix", "classes": {n: c.fields for n, c in classes.items()}}
        notes = sorted({note for each in own.values() for note in each.notes})
        lost = ["classes arrive independently of each other", *notes, *_lost_in(classes)]
        return FittedWorkload({**fields, **together.ends}, classes, lost)
    classes = {
        name: _fit_class(rows, part, None, len(part) / len(rows)) for name, part in parts.items()
    }
    fields = {
        "kind": "mix",
        "arrivals": together.fields,
        "classes": {name: each.fields for name, each in classes.items()},
        **together.ends,
    }
    lost = ["which class comes when: each arrival is of a class at random"]
    remarks = arrival_remarks(together, len(rows))
    return FittedWorkload(fields, classes, [*lost, *together.notes, *_lost_in(classes)], remarks)


def _own_arrivals(
    rows: TraceRows, parts: dict[str, NDArray[np.int64]], together: FittedArrivals
) -> dict[str, FittedArrivals] | None:
    """Arrivals of each class by itself; None if their gaps together are not like the trace's."""
    if "duration_s" not in together.ends:
        return None
    begin_s, end_s = float(rows.arrival_s[0]), together.ends["duration_s"]
    own = {
        name: fit_arrivals(rows.arrival_s[part], span_s=(begin_s, begin_s + end_s))
        for name, part in parts.items()
    }
    if any("duration_s" not in each.ends for each in own.values()):
        return None
    target = gap_cv(rows.arrival_s)
    found = simulated_cv([as_process(each.fields) for each in own.values()], end_s)
    return own if target is None or abs(found / target - 1) <= CV_CLOSE else None


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


def _fit_class(
    rows: TraceRows,
    where: NDArray[np.int64],
    arrivals: FittedArrivals | None,
    share: float | None = None,
) -> FittedClass:
    """One class, with arrivals of its own or a share of others'."""
    columns = {"prompt": rows.prompt_tokens[where], "answer": rows.answer_tokens[where]}
    thinking = rows.thinking_tokens
    if thinking is not None and thinking[where].any():
        columns = {"prompt": columns["prompt"], "thinking": thinking[where], **columns}
    fields: dict[str, Any] = {}
    remarks: dict[str, list[str]] = {}
    if arrivals is not None:
        fields["arrivals"] = arrivals.fields
        remarks["arrivals"] = arrival_remarks(arrivals, len(where))
    if share is not None:
        fields["share"] = round(share, 6)
        remarks["share"] = [f"{len(where):,} requests"]
    lengths = {}
    for name, values in columns.items():
        fitted = fit_lengths(LengthSample.of(values))
        lengths[name] = fitted
        fields[f"{name}_tokens"] = fitted.fields
        remarks[f"{name}_tokens"] = length_remarks(fitted)
    laws = {name: fitted.law for name, fitted in lengths.items()}
    joint = fit_joint(columns, laws, LEAST_ROWS)
    return FittedClass(fields | joint.fields, remarks | joint.remarks, lengths, joint.lost)


def _lost_in(classes: dict[str, FittedClass]) -> list[str]:
    return [f"class {name}: {line}" for name, each in classes.items() for line in each.lost]


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
