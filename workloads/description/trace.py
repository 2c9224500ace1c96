"""A whole trace described, and the same as a mapping for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.description.arrivals import ArrivalStatistics, arrival_statistics
from workloads.description.groups import (
    SessionStatistics,
    ShareStatistics,
    session_statistics,
    share_statistics,
)
from workloads.description.lengths import LengthStatistics, length_statistics
from workloads.description.reuse import reusable_tokens
from workloads.fitting.dependence import correlations
from workloads.fitting.ranking import RankedLaw
from workloads.traces import TraceRows


@dataclass(frozen=True, eq=False)
class Description:
    """What `ponder trace describe` shows. Groups that the format does not record are None.

    lengths: "prompt", "thinking" (where recorded), "answer" and "output" (their sum, with
    thinking). correlations: "prompt_answer" -> {"spearman", "normal_score"}. reusable_share: of
    all prompt tokens, those an unlimited prefix cache would have held; reusing_share: of prompts.
    """

    title: str
    file: str
    dropped: dict[str, int]
    estimated: tuple[str, ...]
    arrivals: ArrivalStatistics
    lengths: dict[str, LengthStatistics]
    correlations: dict[str, dict[str, float]]
    reusable_share: float | None
    reusing_share: float | None
    sessions: SessionStatistics | None
    clients: ShareStatistics | None
    classes: ShareStatistics | None

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and mappings."""
        arrivals = self.arrivals
        return {
            "file": self.file,
            "format": self.title,
            "requests": arrivals.n,
            "dropped": self.dropped,
            "estimated": list(self.estimated),
            "arrivals": {
                "span_s": arrivals.span_s,
                "rate_rps": arrivals.rate_rps,
                "step_s": arrivals.step_s,
                "rates_rps": arrivals.rates_rps.tolist(),
                "peak_to_mean": arrivals.peak_to_mean,
                "gap_cv": arrivals.cv,
                "longest_gap_s": arrivals.longest_gap_s,
                "dispersion": {f"{step:g}": v for step, v in arrivals.dispersion.items()},
                "tie_share": arrivals.tie_share,
                "tick_s": arrivals.tick_s,
            },
            "lengths": {name: _length_dict(each) for name, each in self.lengths.items()},
            "correlations": self.correlations,
            "prefix_reuse": None
            if self.reusable_share is None
            else {"token_share": self.reusable_share, "prompt_share": self.reusing_share},
            "sessions": _session_dict(self.sessions),
            "clients": _share_dict(self.clients),
            "classes": _share_dict(self.classes),
        }


def describe(rows: TraceRows, title: str, file: str) -> Description:
    """Describes the rows of a trace; `title` is its format, `file` its name.

    Raises ValueError if there are no rows.
    """
    if not len(rows):
        raise ValueError("no rows")
    thinking = rows.thinking_tokens
    columns = {"prompt": rows.prompt_tokens}
    if thinking is not None:
        columns["thinking"] = thinking
    columns["answer"] = rows.answer_tokens
    lengths = {name: length_statistics(values) for name, values in columns.items()}
    if thinking is not None:
        lengths["output"] = length_statistics(thinking + rows.answer_tokens)
    reusable = reusable_tokens(rows)
    return Description(
        title=title,
        file=file,
        dropped=dict(rows.dropped),
        estimated=rows.estimated,
        arrivals=arrival_statistics(rows.arrival_s),
        lengths=lengths,
        correlations=correlations(columns) if len(rows) > 2 else {},
        reusable_share=None
        if reusable is None
        else float(reusable.sum() / rows.prompt_tokens.sum()),
        reusing_share=None if reusable is None else float(np.mean(reusable > 0)),
        sessions=session_statistics(rows.sessions),
        clients=share_statistics(rows.client_id, rows.client_names),
        classes=share_statistics(rows.class_id, rows.class_names),
    )


def _length_dict(each: LengthStatistics) -> dict[str, Any]:
    fitted, hill, tail = each.fitted, each.hill, each.tail
    return {
        "mean": each.sample.mean,
        "min": int(each.sample.values[0]),
        "max": int(each.sample.values[-1]),
        "zero_share": each.sample.zero_share,
        "cap": each.sample.cap,
        "percentiles": {f"p{percent:g}": value for percent, value in each.percentiles.items()},
        "hill": None
        if hill is None
        else {"alpha": hill.alpha, "k": hill.k, "threshold": hill.threshold},
        "gpd_tail": None
        if tail is None
        else {"xi": tail.xi, "scale": tail.scale, "threshold": tail.threshold, "n": tail.n},
        "laws": [_law_dict(law) for law in fitted.ranked],
        "best": None if fitted.best is None else fitted.best.title,
        "to_generate": {"fields": fitted.fields, "ks": fitted.ks, "why": fitted.why},
    }


def _law_dict(law: RankedLaw) -> dict[str, Any]:
    return {
        "title": law.title,
        "ks": law.ks,
        "aic": law.aic,
        "bic": law.bic,
        "free_parameters": law.free,
        "fields": law.fields,
    }


def _session_dict(sessions: SessionStatistics | None) -> dict[str, Any] | None:
    if sessions is None:
        return None
    pauses = sessions.pauses_s
    return {
        "sessions": len(sessions.turns),
        "requests_outside": sessions.alone,
        "several_turns_share": sessions.several_share,
        "mean_turns": float(sessions.turns.mean()),
        "turns": {f"p{p}": float(np.percentile(sessions.turns, p)) for p in (50, 90, 99)},
        "pauses": len(pauses),
        "mean_pause_s": float(pauses.mean()) if len(pauses) else None,
        "pause_s": {f"p{p}": float(np.percentile(pauses, p)) for p in (50, 90, 99)}
        if len(pauses)
        else None,
    }


def _share_dict(shares: ShareStatistics | None) -> dict[str, Any] | None:
    if shares is None:
        return None
    return {"number": shares.n, "busiest": shares.busiest, "gini": shares.gini}
