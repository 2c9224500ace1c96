"""The five serving configurations: each alone against standard serving, and all together.

Same eight GPUs, same queries, same luck. Time to answer at `COMMON_RPS`, about 90 % of what the
standard configuration sustains. Throughput is the highest load that a configuration sustains, by
bisection over `LADDER`: its queue does not grow, and it answers nearly as many queries as arrive.
Below its capacity every configuration answers what arrives, so one load would tell nothing; and far
above it strategies of several requests starve their long queries, which flatters queries/s.
Throughputs are compared in queries/s: tokens/s would count it as a loss that nobody need think on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from simulator.result import Result
from simulator.studies.articles.base import FULL_ARC, Row, Study, Verdict, graded, percent
from simulator.studies.articles.runs import simulated

COMMON_RPS = 1.6
LADDER = tuple(round(COMMON_RPS * 1.12**step, 2) for step in range(20))
"""Loads that are tried, queries/s: 12 % from one to the next."""
ANSWERED_SHARE = 0.97
"""Queries answered by queries arrived, in the window, of a load that is sustained."""
_LONG = "measure={warmup_s: 1200, window_s: 1200, drain_s: 0}"

_STANDARD_MODEL = (
    "pools.standard={model: llama-3.3-70b, gpu: h200-sxm, replicas: 1, weight_dtype: fp8,"
    " engine: {preset: vllm-0.33, max_num_seqs: 256}, quality: {accuracy: 0.77, rho: 0.66}}"
)
"""Llama 3.3 70B, which does not think: 77 % on MATH (model card of Llama-3.3-70B-Instruct). That
problems differ for it as they do for reasoning models is assumed."""
_TWO_POOLS = (_STANDARD_MODEL, "pools.reasoning.replicas=7")
_COMPRESSION = (
    "pools.reasoning.engine.kv_compression={budget_frac: 0.5}",
    "pools.reasoning.engine.enable_prefix_caching=false",
)
_EARLY_EXIT = "{kind: early_exit, probe_every_tokens: 1024, inline: true}"


def _routed(hard: str) -> str:
    return f"strategy={{kind: routed, easy_pool: standard, pool: reasoning, hard: {hard}}}"


CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "standard": (),
    "KV compression": _COMPRESSION,
    "routing": (*_TWO_POOLS, _routed("single")),
    "streaming verification": (f"strategy={_EARLY_EXIT}",),
    "all": (*_TWO_POOLS, *_COMPRESSION, _routed(_EARLY_EXIT)),
}
"""Name -> changes of `experiments/articles/serving.yaml`."""


@dataclass(frozen=True)
class Said:
    """The article's row: output tokens/s, mean and p99 time to answer in seconds."""

    tokens_per_s: float
    mean_tta_s: float
    p99_tta_s: float


ARTICLE = {
    "standard": Said(2_400, 12.3, 68.5),
    "KV compression": Said(2_200, 13.1, 42.3),
    "routing": Said(3_800, 8.7, 55.2),
    "streaming verification": Said(3_500, 6.2, 38.1),
    "all": Said(4_100, 5.8, 31.4),
}

_NOTES = {
    "KV compression": "the article loses 8 % of throughput to the cost of choosing what stays. Here"
    " the KV cache limits the batch, so that half the KV is worth more than it costs; answers are"
    " taken to stay as good",
    "routing": "one GPU of eight for the standard model; the classifier errs in 10 % of both kinds",
    "streaming verification": "the engine probes every 1,024 tokens, and stops after two probes"
    " that agree; tokens/s rise less, as what need not be thought is not generated",
    "all": "the measures multiply: fewer queries think, each thinks less, and keeps half of its KV",
}


@dataclass(frozen=True)
class Figures:
    """What comes out at one load. `kv_used`: part of the KV cache that holds live tokens."""

    verdict: str
    answered_share: float
    tokens_per_s: float
    mean_tta_s: float
    p99_tta_s: float
    kv_used: float
    running_per_gpu: float
    accuracy: float

    @property
    def sustained(self) -> bool:
        """Whether this could go on for ever."""
        return self.verdict != "OVERLOADED" and self.answered_share >= ANSWERED_SHARE


def served(name: str, rate_rps: float, *measure: str) -> Figures:
    """A configuration at a load. `measure`: changes of the measuring window."""
    result = simulated(
        "serving",
        (*CONFIGURATIONS[name], f"workload.arrivals.rate_rps={rate_rps}", *measure),
    )
    return _figures(result)


@cache
def at_common_load(name: str) -> Figures:
    """A configuration at `COMMON_RPS`."""
    return served(name, COMMON_RPS)


@cache
def at_highest_load(name: str) -> tuple[float, Figures]:
    """The highest load of `LADDER` that a configuration sustains, and what it does there."""
    low, high = 0, len(LADDER)
    found = None
    while high - low > 1:
        middle = (low + high) // 2
        figures = served(name, LADDER[middle], _LONG)
        if figures.sustained:
            low, found = middle, figures
        else:
            high = middle
    return LADDER[low], found or served(name, LADDER[low], _LONG)


def _figures(result: Result) -> Figures:
    summary, queries = result.summary, result.queries
    start, end = result.record.window_s
    done, arrived = (
        int(((times >= start) & (times < end)).sum())
        for times in (queries["finish_s"].to_numpy(), queries["arrival_s"].to_numpy())
    )
    return Figures(
        verdict=summary["verdict"],
        answered_share=done / max(arrived, 1),
        tokens_per_s=summary["output_throughput"],
        mean_tta_s=summary["mean_tta_ms"] / 1e3,
        p99_tta_s=summary["p99_tta_ms"] / 1e3,
        kv_used=summary["kv_usage_mean"],
        running_per_gpu=summary["running_mean"],
        accuracy=summary["accuracy"],
    )


def _rows() -> list[Row]:
    standard, base = ARTICLE["standard"], at_common_load("standard")
    most, base_at_most = at_highest_load("standard")
    rows = [
        Row(
            "standard serving: tokens/s, mean and p99 tta",
            f"{standard.tokens_per_s:,.0f} tok/s; {standard.mean_tta_s:g} s;"
            f" {standard.p99_tta_s:g} s",
            f"{base_at_most.tokens_per_s:,.0f} tok/s at {most:g} queries/s;"
            f" {base.mean_tta_s:.0f} s; {base.p99_tta_s:.0f} s at {COMMON_RPS:g}",
            "direction only",
            "the article names neither GPUs nor queries, so only ratios can be compared; p99 over"
            f" mean {base.p99_tta_s / base.mean_tta_s:.1f} against"
            f" {standard.p99_tta_s / standard.mean_tta_s:.1f}",
        ),
        Row(
            "memory efficiency: standard, each measure, all",
            "low; medium, medium, medium; high",
            "; ".join(f"{at_highest_load(name)[1].kv_used:.0%}" for name in CONFIGURATIONS),
            "not reproduced",
            "live KV tokens by pool at the highest load sustained. Paged KV wastes little; what"
            " changes is how many run at once in it: "
            + ", ".join(f"{at_highest_load(n)[1].running_per_gpu:.0f}" for n in CONFIGURATIONS),
        ),
    ]
    for name in list(CONFIGURATIONS)[1:]:
        rows += _compared(name)
    return rows


def _compared(name: str) -> list[Row]:
    said, base_said = ARTICLE[name], ARTICLE["standard"]
    base, here = at_common_load("standard"), at_common_load(name)
    (base_rps, base_most), (most_rps, most) = at_highest_load("standard"), at_highest_load(name)
    said_throughput = said.tokens_per_s / base_said.tokens_per_s
    throughput = most_rps / base_rps
    tokens = most.tokens_per_s / base_most.tokens_per_s
    rows = [
        Row(
            f"{name}: throughput",
            f"{said_throughput:.2f}x",
            f"{throughput:.2f}x queries/s, {tokens:.2f}x tokens/s",
            _verdict(throughput, said_throughput),
            f"{most_rps:g} queries/s against {base_rps:g}; {_NOTES[name]}",
        )
    ]
    for what, said_ratio, ratio in (
        ("mean tta", said.mean_tta_s / base_said.mean_tta_s, here.mean_tta_s / base.mean_tta_s),
        ("p99 tta", said.p99_tta_s / base_said.p99_tta_s, here.p99_tta_s / base.p99_tta_s),
    ):
        rows.append(
            Row(
                f"{name}: {what}",
                f"{100 * (said_ratio - 1):+.0f} %",
                f"{100 * (ratio - 1):+.0f} %",
                _verdict(ratio, said_ratio),
                f"at {COMMON_RPS:g} queries/s; {percent(here.accuracy, 0)} right, against"
                f" {percent(base.accuracy, 0)}",
            )
        )
    return rows


def _verdict(ours: float, said: float) -> Verdict:
    """Close in ratio (15 %), or on the same side of 1."""
    return graded(abs(ours / said - 1.0) <= 0.15, (ours > 1.0) == (said > 1.0))


STUDY = Study("serving", "The five serving configurations", FULL_ARC, _rows, simulates=True)
