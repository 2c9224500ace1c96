"""How well the presets reproduce measurements: votes, and accuracy at measured lengths."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError, Problem
from simulator.quality.evaluation import CONTROLS, read_evaluation
from simulator.quality.fit import rmse_points
from simulator.quality.presets import presets
from simulator.quality.voting import majority

FITTED_TO = tuple(
    f"r1-distill-{size}/aime24"
    for size in ("qwen-7b", "qwen-14b", "qwen-32b", "llama-8b", "llama-70b")
)  # whose votes the dominant share is fitted to


def check_votes() -> list[dict[str, Any]]:
    """A row for every measured vote of a preset: accuracies in per cent, errors in points."""
    rows = []
    for preset in presets().values():
        for name, each in preset.benchmarks.items():
            for vote in each.votes:
                model = each.build()
                single = each.accuracy if each.pass_at_1 is None else each.pass_at_1
                assert single is not None
                ours = float(majority(vote.k, single, model.rho, model.dominant_share))
                naive = float(majority(vote.k, single, ties="lose"))
                rows.append(
                    {
                        "preset": f"{preset.name}/{name}",
                        "k": vote.k,
                        "pass_at_1": round(100 * single, 1),
                        "measured": round(100 * vote.accuracy, 1),
                        "ours": round(100 * ours, 1),
                        "error": round(100 * (ours - vote.accuracy), 1),
                        "independent": round(100 * naive, 1),
                        "independent_error": round(100 * (naive - vote.accuracy), 1),
                    }
                )
    return rows


def vote_errors(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and largest absolute errors of the votes the share was fitted to, and of the others."""
    found = {}
    for words, fitted in (("fitted to", True), ("not fitted to", False)):
        chosen = [row for row in rows if (row["preset"] in FITTED_TO) == fitted]
        ours = np.abs([row["error"] for row in chosen])
        naive = np.abs([row["independent_error"] for row in chosen])
        found[f"{words} ({len(chosen)})"] = {
            "mean": float(ours.mean()),
            "largest": float(ours.max()),
            "independent_mean": float(naive.mean()),
            "independent_largest": float(naive.max()),
        }
    return found


def check_points(path: str | Path) -> list[dict[str, Any]]:
    """A row for every series of a CSV of measured points whose model and benchmark have a preset.

    Columns: model, benchmark, and those of `read_evaluation`. A series is the rows of one model,
    benchmark and control; rows under a control that no preset describes are left out.
    Raises InputError where the file cannot be read.
    """
    known = {
        (_plain(preset.model), _plain(name)): (f"{preset.name}/{name}", each)
        for preset in presets().values()
        for name, each in preset.benchmarks.items()
    }
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            series = dict.fromkeys(
                (row["model"], row["benchmark"], row["control"]) for row in csv.DictReader(file)
            )
    except KeyError as error:
        raise InputError(Problem("no such column", str(path), 1, str(error.args[0]))) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read: {error}", str(path))) from None
    rows = []
    for model, benchmark, control in series:
        found = known.get((_plain(_family(model)), _plain(benchmark)))
        if found is None or control not in CONTROLS:
            continue
        where = {"model": model, "benchmark": benchmark, "control": control}
        points = read_evaluation(path, where)
        curve = found[1].build().curve
        missed = rmse_points(curve, points.tokens, points.accuracy, points.forced)
        rows.append(where | {"points": len(points.tokens), "preset": found[0]})
        rows[-1]["rmse_points"] = round(missed, 2)
    return rows


def _plain(text: str) -> str:
    """Letters and digits only: AIME2025-I is aime25-i, and MATH500 is math-500."""
    return "".join(c for c in text.lower().replace("2025", "25") if c.isalnum())


def _family(model: str) -> str:
    """The name without what is said in brackets of effort or data."""
    name = model.partition(" (")[0]
    return {"Ghosal et al.": "R1 distill of Ghosal et al.", "o1": "OpenAI o1-1217"}.get(name, name)
