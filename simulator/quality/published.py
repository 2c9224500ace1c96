"""Builds the presets that come with ponder from published measurements.

    python -m simulator.quality.published DATA simulator/quality/presets

DATA is a folder with `accuracy_vs_tokens.csv` (accuracy at thinking lengths: s1, o3-mini,
Ghosal et al.) and `matharena_aime2025_I.csv` (correct of 4 attempts at each of 15 problems). Scores
of one number each stand here, with their sources.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from simulator.core_yaml import dump_yaml
from simulator.quality.curve import AccuracyCurve
from simulator.quality.evaluation import Evaluation, read_evaluation
from simulator.quality.fit import borrow_shape
from simulator.quality.intraclass import fit_rho
from simulator.quality.voting import majority
from simulator.quality.writing import as_benchmark, curve_data, rounded

README = "deepseek-ai/DeepSeek-R1 README at 00f3296a (MIT)"
MATHARENA = "MathArena, AIME 2025 I, eth-sri/matharena.ai at 8fdd9aba (MIT)"
S1 = "s1, simplescaling/s1 at 77272c6e, visuals/scaling.pdf (Apache-2.0; arXiv 2501.19393)"
DEEPCONF = "arXiv 2508.15260 (secondary copy)"
GHOSAL = "arXiv 2506.04210 (secondary copy)"


class Scores(NamedTuple):
    """Per cent, from the README's two tables; `arena` is the model's name at MathArena."""

    name: str
    model: str
    arena: str
    aime24: float
    consensus_64: float | None
    math500: float
    gpqa: float

    def of(self, benchmark: str) -> float:
        """pass@1 from 0 to 1."""
        scores = {"aime24": self.aime24, "math500": self.math500, "gpqa-diamond": self.gpqa}
        return scores[benchmark] / 100.0


def _distill(size: str, *scores: float) -> Scores:
    model = f"DeepSeek-R1-Distill-{size}"
    return Scores(f"r1-distill-{size.lower()}", model, model, *scores)


DISTILLS = [
    _distill("Qwen-7B", 55.5, 83.3, 92.8, 49.1),
    _distill("Qwen-14B", 69.7, 80.0, 93.9, 59.1),
    _distill("Qwen-32B", 72.6, 83.3, 94.3, 62.1),
    _distill("Llama-8B", 50.4, 80.0, 89.1, 49.0),
    _distill("Llama-70B", 70.0, 86.7, 94.5, 65.2),
]  # the larger five, whose votes the dominant share is fitted to
REASONING = [
    *DISTILLS,
    _distill("Qwen-1.5B", 28.9, 52.7, 83.9, 33.8),
    Scores("deepseek-r1", "DeepSeek-R1", "DeepSeek-R1", 79.8, None, 97.3, 71.5),
    Scores("qwq-32b-preview", "QwQ-32B-Preview", "QwQ-32B-Preview", 44.0, 60.0, 90.6, 54.5),
    Scores("o1", "OpenAI o1-1217", "o1 (medium)", 79.2, None, 96.4, 75.7),
]
PLAIN = [
    Scores("deepseek-v3", "DeepSeek-V3", "DeepSeek-V3", 39.2, None, 90.2, 59.1),
    Scores("gpt-4o", "GPT-4o 0513", "gpt-4o", 9.3, 13.4, 74.6, 49.9),
]
# name, full name, benchmark, pass@1, vote of 512, tokens of 30 problems x 512 attempts
MANY_VOTES = [
    ("r1-0528-qwen3-8b", "DeepSeek-R1-0528-Qwen3-8B", "aime24", 83.0, 86.7, 3.55e8),
    ("r1-0528-qwen3-8b", "DeepSeek-R1-0528-Qwen3-8B", "aime25", 76.9, 82.3, 4.01e8),
    ("qwen3-32b", "Qwen3-32B", "aime24", 80.6, 85.3, 2.00e8),
    ("gpt-oss-120b", "gpt-oss-120b", "aime25", 91.8, 97.0, 3.23e8),
]
RHO_MODELS = (
    "DeepSeek-R1",
    "DeepSeek-R1-Distill-Llama-70B",
    "DeepSeek-R1-Distill-Qwen-32B",
    "DeepSeek-R1-Distill-Qwen-14B",
)
BENCHMARKS = {"aime24": "AIME24", "math500": "MATH500", "gpqa-diamond": "GPQA-Diamond"}
FLOORS = {"gpqa-diamond": 0.25}  # four choices
GPQA_SHARE = 0.6


@dataclass(frozen=True)
class Published:
    """The measurements in `folder`, and what the presets are made of."""

    folder: Path

    def points(self, **where: str) -> Evaluation:
        """The points of one series."""
        return read_evaluation(self.folder / "accuracy_vs_tokens.csv", where)

    @cached_property
    def solved(self) -> dict[str, tuple[list[int], float]]:
        """Correct of 4 by problem, and mean output tokens, of every model at MathArena."""
        found: dict[str, tuple[list[int], float]] = {}
        with (self.folder / "matharena_aime2025_I.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                tokens = float(row["model_mean_output_tokens"].replace("N/A", "nan"))
                found.setdefault(row["model"], ([], tokens))[0].append(int(row["correct_of_4"]))
        return found

    @cached_property
    def rho(self) -> float:
        """Of R1 and its distills, pooled."""
        return rounded(fit_rho([(self.solved[name][0], 4) for name in RHO_MODELS]).rho, 2)

    @cached_property
    def dominant_share(self) -> float:
        """At that rho, by least squares of the consensus of 64 of the five larger distills."""
        single = np.array([row.aime24 for row in DISTILLS]) / 100
        voted = np.array([row.consensus_64 for row in DISTILLS], dtype=float) / 100

        def loss(share: float) -> float:
            return float(((majority(64, single, self.rho, share) - voted) ** 2).sum())

        found = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded")  # type: ignore[no-untyped-call]
        return rounded(float(found.x), 1)

    def presets(self) -> Iterator[dict[str, Any]]:
        """Every preset as plain data, in order of the file names."""
        made: dict[str, dict[str, Any]] = {}
        for name, model, benchmark, data in self._all():
            preset = made.setdefault(name, {"name": name, "model": model, "benchmarks": {}})
            preset["benchmarks"][benchmark] = data
        yield from (made[name] for name in sorted(made))

    def _all(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        for benchmark, series in BENCHMARKS.items():
            points = self.points(model="s1-32B", benchmark=series)
            fitted = as_benchmark(points, FLOORS.get(benchmark, 0.0), f"fitted to {S1}")
            yield "s1-32b", "s1-32B", benchmark, fitted | self._problems(benchmark, fitted)
        for row in REASONING:
            yield from self._reasoning(row)
        for row in PLAIN:
            yield from self._plain(row)
        effort = [f"o3-mini ({word})" for word in ("low", "medium", "high")]
        series_of = [self.points(model=model) for model in effort]
        together = Evaluation(
            np.concatenate([each.tokens for each in series_of]),
            np.concatenate([each.accuracy for each in series_of]),
            np.concatenate([each.forced for each in series_of]),
            None,
        )
        data = as_benchmark(together, 0.0, f"fitted to three efforts, {MATHARENA}; all its output")
        data |= self._reference(float(together.tokens[1]), "medium effort")
        yield "o3-mini", "o3-mini", "aime25-i", data | self._problems("aime25-i", data)
        thought_on = self.points(benchmark="GSM8K")
        data = as_benchmark(thought_on, 0.0, f"solved from three points, {GHOSAL}")
        data |= self._reference(385.0, f"the shortest point, {GHOSAL}")
        yield (
            "r1-distill-ghosal",
            "R1 distill of Ghosal et al.",
            "gsm8k",
            data | self._problems("gsm8k", data),
        )
        for name, model, benchmark, score, voted, tokens in MANY_VOTES:
            mean = f"all tokens over 30 problems x 512 attempts, {DEEPCONF}"
            data = self._borrowed("aime24", score / 100, tokens / (30 * 512), DEEPCONF, mean)
            data |= _vote(512, voted, DEEPCONF)
            yield name, model, benchmark, data | self._problems(benchmark, data)

    def _plain(self, row: Scores) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        scores = {name: (row.of(name), README) for name in BENCHMARKS}
        scores["aime25-i"] = (sum(self.solved[row.arena][0]) / 60, MATHARENA)
        for benchmark, (score, source) in scores.items():
            data: dict[str, Any] = {"accuracy": rounded(score, 3), "identified": True}
            data["sources"] = {"accuracy": source}
            data |= self._consensus(row, benchmark) | self._problems(benchmark, data)
            yield row.name, row.model, benchmark, data

    def _reasoning(self, row: Scores) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        own = row.arena in self.solved
        tokens = self.solved[row.arena][1] if own else self._siblings()
        where = (
            f"its mean output at {MATHARENA}"
            if own
            else f"mean output of its three largest siblings, {MATHARENA}"
        )
        for benchmark in BENCHMARKS:
            ratio = self._longest(benchmark) / self._longest("aime24")
            words = where
            if benchmark != "aime24":
                words = f"{where}, times {ratio:.2f}, the ratio of s1's longest lengths"
            data = self._borrowed(benchmark, row.of(benchmark), ratio * tokens, README, words)
            data |= self._consensus(row, benchmark) | self._problems(benchmark, data)
            yield row.name, row.model, benchmark, data
        if own:
            score = sum(self.solved[row.arena][0]) / 60
            data = self._borrowed("aime24", score, tokens, MATHARENA, where)
            yield row.name, row.model, "aime25-i", data | self._problems("aime25-i", data)

    def _consensus(self, row: Scores, benchmark: str) -> dict[str, Any]:
        if row.consensus_64 is None or benchmark != "aime24":
            return {}
        return _vote(64, row.consensus_64, README)

    def _siblings(self) -> float:
        return float(np.mean([self.solved[name][1] for name in RHO_MODELS[1:]]))

    def _shape(self, benchmark: str) -> AccuracyCurve:
        points = self.points(model="s1-32B", benchmark=BENCHMARKS[benchmark])
        fitted = as_benchmark(points, FLOORS.get(benchmark, 0.0), "")
        return AccuracyCurve(**fitted["curve"])

    def _longest(self, benchmark: str) -> float:
        points = self.points(model="s1-32B", benchmark=BENCHMARKS[benchmark])
        return float(points.tokens.max())

    def _borrowed(
        self, benchmark: str, score: float, tokens: float, source: str, where: str
    ) -> dict[str, Any]:
        """Through one point, with the shape of s1 on `benchmark`."""
        tokens = rounded(tokens, 4)
        curve = borrow_shape(self._shape(benchmark), tokens, score, self._longest(benchmark))
        return {
            "curve": curve_data(curve),
            "pass_at_1": rounded(score, 3),
            "reference_tokens": tokens,
            "identified": False,
            "points": 1,
            "sources": {
                "curve": f"through pass@1 at reference_tokens, shape of s1-32b/{benchmark}",
                "pass_at_1": source,
                "reference_tokens": where,
            },
        }

    def _reference(self, tokens: float, where: str) -> dict[str, Any]:
        return {"reference_tokens": rounded(tokens, 4), "_where": where}

    def _problems(self, benchmark: str, data: dict[str, Any]) -> dict[str, Any]:
        """rho and dominant share, with the sources of all figures of `data`."""
        share, from_votes = self.dominant_share, "fitted at this rho to the consensus of 64 of"
        source = f"{from_votes} the five larger R1 distills on AIME 2024, {README}"
        if benchmark == "gpqa-diamond":
            share, source = GPQA_SHARE, "assumed: three wrong options, one of which takes most"
        elif not benchmark.startswith("aime"):
            source = f"assumed to be as on AIME 2024: {source}"
        rho = f"maximum likelihood, R1 and three distills, {MATHARENA}"
        if benchmark != "aime25-i":
            rho = f"assumed to be as on AIME 2025 I: {rho}"
        sources = dict(data["sources"]) | {"rho": rho, "dominant_share": source}
        if "_where" in data:
            sources["reference_tokens"] = data.pop("_where")
        return {"rho": self.rho, "dominant_share": share, "sources": sources}


def _vote(k: int, per_cent: float, source: str) -> dict[str, Any]:
    return {"votes": [{"k": k, "accuracy": rounded(per_cent / 100, 4), "source": source}]}


def main(folder: str, out: str) -> None:
    """Write every preset that the measurements in `folder` give to `out`."""
    for preset in Published(Path(folder)).presets():
        path = Path(out) / f"{preset['name']}.yaml"
        text = "# Written by python -m simulator.quality.published\n" + dump_yaml(preset)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
