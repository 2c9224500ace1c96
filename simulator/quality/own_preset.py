"""A preset from a user's own evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError, Problem
from simulator.quality.evaluation import Evaluation, read_evaluation
from simulator.quality.fit import borrow_shape
from simulator.quality.intraclass import fit_rho
from simulator.quality.presets import BenchmarkPreset, find_preset
from simulator.quality.writing import as_benchmark, curve_data, rounded

_NAME = r"[a-z0-9][a-z0-9._-]*"


def fit_preset(
    path: str | Path,
    name: str,
    benchmark: str,
    where: Mapping[str, str],
    floor: float,
    like: str,
) -> dict[str, Any]:
    """A `QualityPreset` as plain data, of the CSV at `path` (see `read_evaluation` for columns).

    `like`: the preset whose shape a single point borrows, and whose rho and dominant share stand
    where the data do not tell them. A single natural point gives reference_tokens too.
    Raises InputError with all that is wrong.
    """
    problems = [
        Problem(f"must be lower-case letters, digits, '.', '_' and '-', not {text!r}", field=option)
        for option, text in (("--name", name), ("--benchmark", benchmark))
        if not re.fullmatch(_NAME, text)
    ]
    lender = None
    try:
        lender = find_preset(like)
    except InputError as error:
        problems += [Problem(each.message, field="--like") for each in error.problems]
    try:
        points = read_evaluation(path, where)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from None
    if problems or lender is None:
        raise InputError(problems)
    source = f"{Path(path).name}"
    if where:
        source += " where " + ", ".join(f"{column} = {value}" for column, value in where.items())
    if len(np.unique(points.tokens)) == 1:
        data = _through_one_point(points, lender, like, source)
    else:
        data = as_benchmark(points, floor, f"fitted to {source}")
    data |= _problems(points, lender, like, source, data["sources"])
    return {"name": name, "model": name, "benchmarks": {benchmark: data}}


def _through_one_point(
    points: Evaluation, lender: BenchmarkPreset, like: str, source: str
) -> dict[str, Any]:
    if lender.curve is None or lender.measured_tokens is None:
        raise InputError(Problem(f"{like} has no measured curve to lend", field="--like"))
    tokens, accuracy = float(points.tokens[0]), float(np.mean(points.accuracy))
    curve = borrow_shape(lender.curve.build(), tokens, accuracy, lender.measured_tokens[1])
    sources = {"curve": f"through the point of {source}, shape of {like}", "pass_at_1": source}
    data: dict[str, Any] = {
        "curve": curve_data(curve),
        "pass_at_1": rounded(accuracy),
        "identified": False,
        "points": 1,
        "sources": sources,
    }
    if not points.forced.any():
        data["reference_tokens"] = rounded(tokens)
        sources["reference_tokens"] = source
    return data


def _problems(
    points: Evaluation, lender: BenchmarkPreset, like: str, source: str, sources: dict[str, str]
) -> dict[str, Any]:
    """rho, of the counts if there are any, and the lender's dominant share."""
    rho, words = lender.rho, f"that of {like}"
    if points.counts:
        try:
            fit = fit_rho(points.counts)
        except InputError as error:
            words += f" ({error})"
        else:
            # The same problems at every length: what one of them says, the others mostly repeat.
            lengths = len(points.counts)
            rho, spread = rounded(fit.rho, 3), fit.standard_error * math.sqrt(lengths)
            counted = f"{fit.problems // lengths} problems"
            counted += f" at {lengths} lengths" if lengths > 1 else ""
            words = f"maximum likelihood over {counted} of {source}"
            if not math.isnan(spread):
                words += f", standard error {spread:.2g}; by moments {fit.rho_by_moments:.3g}"
    more = {"rho": words, "dominant_share": f"that of {like}"}
    return {"rho": rho, "dominant_share": lender.dominant_share, "sources": sources | more}
