"""The summary of a validation, as rows of text for the terminal and the HTML page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from simulator.studies.validation.errors import (
    HEADLINE,
    error_table,
    judge_bars,
    summarise_errors,
    unsupported_reasons,
)
from simulator.studies.validation.fit_power import ENERGIES, PowerFit
from simulator.studies.validation.host import CONSTANTS, HostFit
from simulator.studies.validation.study import Validation

_MEASURES = ("n", "MAPE", "median", "bias")


@dataclass(frozen=True)
class TextTable:
    """A title, the heads of the columns, rows of cells; the first `names` columns are words."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    names: int = 1


def summary_tables(validation: Validation, *, every_metric: bool = False) -> list[TextTable]:
    """Errors by metric, then by source, model and GPU, then the bars, then what was left out.

    The middle ones hold the headline metrics only, unless `every_metric`.
    """
    errors = error_table(validation)
    some = errors if every_metric else errors[errors["metric"].isin(HEADLINE)]
    tables = [
        _grouped("Errors by metric", errors, ["metric"], validation.metrics),
        _grouped("Errors by source", some, ["src", "metric"], validation.metrics),
        _grouped("Errors by model", some, ["model", "metric"], validation.metrics),
        _grouped("Errors by GPU", some, ["gpu", "metric"], validation.metrics),
        _bars(errors),
        _unsupported(validation),
    ]
    return [table for table in tables if table.rows]


def fit_tables(fit: HostFit) -> list[TextTable]:
    """Fitted constants, and the errors of the rows they were fitted to, before and after."""
    mode = "async" if fit.asynchronous else "sync"
    what = f"{fit.gpu}, {fit.generation}, {mode} scheduling, {fit.runs} runs"
    constants: list[tuple[str, ...]] = [
        (name, CONSTANTS[name][0], f"{fit.before[name]:.4g}", f"{value:.4g}")
        for name, value in fit.after.items()
    ]
    errors: list[tuple[str, ...]] = [
        (metric, percent(fit.errors_before[metric]), percent(error))
        for metric, error in fit.errors_after.items()
    ]
    return [
        TextTable(f"Constants: {what}", ("constant", "unit", "before", "after"), constants, 2),
        TextTable("Median absolute error", ("metric", "before", "after"), errors),
    ]


def power_fit_tables(fit: PowerFit) -> list[TextTable]:
    """Fitted energies, and the errors of the power that they were fitted to, before and after."""
    before = fit.before or {}
    energies: list[tuple[str, ...]] = [
        (name, ENERGIES[name][0], f"{before[name]:.4g}" if before else "–", f"{value:.4g}")
        for name, value in fit.after.items()
    ]
    errors: list[tuple[str, ...]] = [
        (name, percent(error.mape), percent(error.p95), percent(error.bias, signed=True))
        for name, error in (
            ("before", fit.error_before),
            ("after", fit.error_after),
            ("each model by the others", fit.held_out),
        )
        if error is not None
    ]
    return [
        TextTable(
            f"Energies: {fit.gpu}, {fit.runs} runs",
            ("energy", "unit", "before", "after"),
            energies,
            2,
        ),
        TextTable("Error of mean power", ("", "MAPE", "95 % below", "mean"), errors),
    ]


def status_line(validation: Validation) -> str:
    """How many rows came out how: `793 rows: 210 ok, 340 approximate, 243 unsupported`."""
    counts = Counter(made.status for made in validation.predictions)
    parts = [f"{counts[status]} {status}" for status in ("ok", "approximate", "unsupported")]
    return f"{len(validation.points):,} rows: {', '.join(parts)}"


def percent(share: float | None, *, signed: bool = False) -> str:
    """A fraction as a percentage with one decimal; a dash for None."""
    if share is None:
        return "–"
    return f"{100 * share:+.1f} %" if signed else f"{100 * share:.1f} %"


def _grouped(
    title: str, errors: pd.DataFrame, by: list[str], metrics: tuple[str, ...]
) -> TextTable:
    summary = summarise_errors(errors, by)
    order = {metric: place for place, metric in enumerate(metrics)}
    found = [tuple(row) for row in summary.itertuples(index=False)]
    found.sort(key=lambda row: (row[: len(by) - 1], order[row[len(by) - 1]]))
    rows = [
        (
            *row[: len(by)],
            f"{row[-4]:,}",
            percent(row[-3]),
            percent(row[-2]),
            percent(row[-1], signed=True),
        )
        for row in found
    ]
    if len(by) == 2:  # say a group's name once
        named = [row[0] for row in rows]
        rows = [
            (row[0] if not place or named[place - 1] != row[0] else "", *row[1:])
            for place, row in enumerate(rows)
        ]
    heads = {"src": "source", "gpu": "GPU"}
    return TextTable(title, (*(heads.get(name, name) for name in by), *_MEASURES), rows, len(by))


def _bars(errors: pd.DataFrame) -> TextTable:
    rows: list[tuple[str, ...]] = [
        (
            verdict.bar.name,
            verdict.metric,
            f"{verdict.n:,}",
            percent(verdict.median),
            percent(verdict.bias, signed=True),
            percent(verdict.bar.most),
            {True: "yes", False: "no", None: "–"}[verdict.met],
        )
        for verdict in judge_bars(errors)
    ]
    heads = ("rows", "metric", "n", "median", "bias", "bar", "met")
    return TextTable("Median absolute error against the bars", heads, rows, 2)


def _unsupported(validation: Validation) -> TextTable:
    rows: list[tuple[str, ...]] = [
        (reason, f"{count:,}") for reason, count in unsupported_reasons(validation)
    ]
    return TextTable("Rows not simulated", ("reason", "rows"), rows)
