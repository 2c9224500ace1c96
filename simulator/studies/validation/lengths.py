"""How long a row's prompts and outputs were: the laws its requests are drawn from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from simulator.errors import InputError, Problem
from simulator.studies.validation.points import Point
from workloads.laws.histogram import HistogramLength
from workloads.laws.law import Law
from workloads.laws.lognormal import LognormalLength
from workloads.lengths import ConstantLength, UniformLength


@dataclass(frozen=True)
class Task:
    """A data set of the ml.energy leaderboard: what its rows leave unsaid.

    `prompt_tokens` is one constant for all models and rows, fitted once; `unique_prompts` and
    `max_tokens` (the cap on output) are those of the benchmark's configuration.
    """

    prompt_tokens: int
    unique_prompts: int
    max_tokens: int


# Prompts and caps: github.com/ml-energy/benchmark @ c1d6557. Prompt lengths are not published: they
# are what is left of the throughput and KV use of the dense H100 rows, and only those. 380 has the
# least sum of mean squares of log(predicted / measured) of output_tps (38 rows) and avg_running (4
# rows limited by KV cache), on a grid of 10; 250 hardly matters beside outputs of 8,000 tokens.
TASKS = {
    "lm-arena-chat": Task(prompt_tokens=380, unique_prompts=1024, max_tokens=4096),
    "gpqa": Task(prompt_tokens=250, unique_prompts=198, max_tokens=32768),
}

# Mean prompts of MLPerf data sets, which its logs leave out. 405B: "mean input/output context
# lengths of 9,400 and 680 tokens", mlcommons.org/2025/04/llm-inference-v5. The others are what is
# commonly quoted for OpenOrca and CNN/DailyMail and could not be checked.
MLPERF_PROMPT_TOKENS = {"llama-3.1-405b": 9400, "llama-2-70b": 294, "llama-3.1-8b": 778}

# ShareGPT conversations as `vllm bench serve` samples them: only means are known of a row, so the
# spread is an assumption; its filter keeps prompts to 1,024 tokens and the sum to 2,048.
SHAREGPT_SIGMA = 1.2
SHAREGPT_MAX_TOKENS = 1024

# Below this share of the nominal length, outputs have ended early rather than been cut.
_ENDED_EARLY = 0.97


@dataclass(frozen=True)
class Lengths:
    """The laws of a row's prompts and outputs, in tokens, and what had to be assumed for them.

    `counted` is how many lengths the row's histogram holds. `fixed`: both were given as one number
    each.
    """

    prompt: Law
    output: Law
    assumed: tuple[str, ...] = ()
    counted: int | None = None
    fixed: bool = False


class Unknown(Exception):
    """The row doesn't say enough about its lengths; the message says what is missing."""


class Histograms:
    """Measured output lengths by task, model, GPU, number of GPUs and max_num_seqs."""

    def __init__(self, by_key: Mapping[tuple[str, ...], HistogramLength]) -> None:
        self._by_key = dict(by_key)

    def find(
        self, task: str, point: Point, max_num_seqs: int
    ) -> tuple[HistogramLength, bool] | None:
        """The row's own histogram and True, or the most alike of the same task and False."""
        gpu = point.hardware.split("-")[0]
        own = (task, point.model, gpu, str(point.gpus), str(max_num_seqs))
        if own in self._by_key:
            return self._by_key[own], True

        def unlike(key: tuple[str, ...]) -> tuple[Any, ...]:
            seats = abs(math.log(max(float(key[4]), 1.0) / max_num_seqs))
            return key[1] != own[1], key[2] != gpu, key[3] != own[3], seats, key

        alike = min((key for key in self._by_key if key[0] == task), key=unlike, default=None)
        return None if alike is None else (self._by_key[alike], False)


def read_histograms(path: str | Path) -> Histograms:
    """Read a JSON file {"hist": {"task|model|gpu|gpus|max_num_seqs": {"bins", "counts"}}}.

    `bins` are the n + 1 edges of n counts, in tokens. Raises InputError with every problem found.
    """
    file = str(path)
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        entries = data["hist"].items()
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=file)) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        message = 'must be JSON with a mapping under "hist"'
        raise InputError(Problem(message, file=file)) from None
    by_key: dict[tuple[str, ...], HistogramLength] = {}
    problems: list[Problem] = []
    for name, entry in entries:
        key = tuple(name.split("|"))
        if len(key) != 5 or not key[3].isdigit() or not key[4].isdigit():
            message = "the key must be task|model|gpu|number of GPUs|max_num_seqs"
            problems.append(Problem(message, file, field=f"hist.{name}"))
            continue
        try:
            by_key[key] = HistogramLength(edges=entry["bins"], counts=entry["counts"])
        except (KeyError, TypeError):
            problems.append(Problem("must hold bins and counts", file, field=f"hist.{name}"))
        except ValidationError as error:
            told = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            problems.append(Problem(told, file, field=f"hist.{name}"))
    if problems:
        raise InputError(problems)
    return Histograms(by_key)


def task_of(point: Point) -> str | None:
    """The ml.energy task of a row, read from its prompts' name, notes or source path."""
    text = f"{point.isl_nominal} {point.notes} {point.source_path}".lower()
    if "gpqa" in text:
        return "gpqa"
    return "lm-arena-chat" if "lm-arena-chat" in text or "lmarena chat" in text else None


def lengths_of(point: Point, histograms: Histograms | None, max_num_seqs: int) -> Lengths:
    """The laws of the prompts and outputs of a row; raises `Unknown` if it says too little."""
    task = task_of(point)
    if task is not None:
        return _task_lengths(point, task, histograms, max_num_seqs)
    if "sharegpt" in f"{point.isl_nominal} {point.notes}".lower():
        return _sharegpt_lengths(point)
    ratio = re.search(r"range-ratio (\d+(?:\.\d+)?)", f"{point.load_mode} {point.unclear}")
    assumed = []
    isl, osl = point.isl_fixed, point.osl_fixed
    if isl is None and point.isl_mean is None:
        prompt = _mlperf_prompt(point)
        assumed.append(f"prompts of {prompt:,.0f} tokens (the data set's mean)")
        return Lengths(_constant(prompt), _output_of(point, osl, None), tuple(assumed))
    share = float(ratio[1]) if ratio else None
    prompt_law = _law(isl, point.isl_mean, share)
    return Lengths(
        prompt_law,
        _output_of(point, osl, share),
        fixed=isl is not None and osl is not None,
    )


def _task_lengths(
    point: Point, name: str, histograms: Histograms | None, max_num_seqs: int
) -> Lengths:
    task = TASKS[name]
    if point.osl_mean is None:
        raise Unknown("neither osl_mean nor a fixed output length")
    found = histograms.find(name, point, max_num_seqs) if histograms else None
    prompt = _constant(task.prompt_tokens)
    if found is None:
        return Lengths(prompt, _constant(point.osl_mean), ("all outputs of mean length",))
    histogram, own = found
    changes = {"mean_tokens": point.osl_mean, "max": task.max_tokens}
    law = HistogramLength.model_validate(histogram.model_dump() | changes)
    if own:
        return Lengths(prompt, law, counted=round(sum(histogram.counts)))
    return Lengths(prompt, law, ("output lengths spread as in a similar row's histogram",))


def _sharegpt_lengths(point: Point) -> Lengths:
    if point.isl_mean is None or point.osl_mean is None:
        raise Unknown("isl_mean and osl_mean of its ShareGPT requests")
    laws = []
    for mean in (point.isl_mean, point.osl_mean):
        cap = max(SHAREGPT_MAX_TOKENS, math.ceil(3 * mean))
        laws.append(lognormal_with_mean(mean, SHAREGPT_SIGMA, cap))
    return Lengths(laws[0], laws[1], ("ShareGPT lengths log-normal around the row's means",))


def _output_of(point: Point, osl: float | None, share: float | None) -> Law:
    if osl is None and point.osl_mean is None:
        raise Unknown("neither osl_mean nor a fixed output length")
    return _law(osl, point.osl_mean, share)


def _law(nominal: float | None, mean: float | None, share: float | None) -> Law:
    """All `nominal` long, or spread below it: between `share` of it and it, or around the `mean`.

    `--random-range-ratio 0.8` of the clients used means 0.8 to 1 times the nominal length. A share
    of 0 leaves much to chance in short runs, so there, as where outputs ended early, the spread is
    that around the mean which does not pass the nominal length.
    """
    if nominal is None:
        assert mean is not None
        return _constant(mean)
    if share:
        return UniformLength(min=max(int(share * nominal), 1), max=int(nominal))
    if mean is None:
        return _constant(nominal) if share is None else UniformLength(min=1, max=int(nominal))
    if share is None and mean > _ENDED_EARLY * nominal:
        return _constant(mean)
    low = max(1, round(2 * mean - nominal))
    return UniformLength(min=low, max=max(low, round(2 * mean) - low))


def _constant(tokens: float) -> Law:
    return ConstantLength(tokens=max(1, round(tokens)))


def _mlperf_prompt(point: Point) -> float:
    for name, tokens in MLPERF_PROMPT_TOKENS.items():
        if point.src.startswith("mlperf") and point.model.lower().startswith(name):
            return tokens
    raise Unknown("neither isl_mean nor a fixed prompt length")


def lognormal_with_mean(mean: float, sigma: float, cap: int) -> Law:
    """A log-normal law of this sigma whose mean, capped at `cap` tokens, is `mean` (below it)."""
    from scipy.optimize import brentq

    if mean <= 1.5:
        return _constant(mean)

    def excess(mu: float) -> float:
        return LognormalLength(mu=mu, sigma=sigma, max=cap).mean() - mean

    start = float(np.log(mean))
    low, high = max(start - 8.0, -20.0), start + 8.0
    mu: float = brentq(excess, low, high)  # type: ignore[no-untyped-call]
    return LognormalLength(mu=mu, sigma=sigma, max=cap)
