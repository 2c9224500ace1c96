"""Larger models thinking less against smaller ones thinking more, at about the same FLOPs."""

from __future__ import annotations

from simulator.cost.catalogue import load_architecture
from simulator.metrics.inference_economics import serving_flops
from simulator.quality.presets import find_preset
from simulator.studies.articles.attention import attention_flops
from simulator.studies.articles.base import FULL_ARC, Row, Study, close, graded, percent

CONFIGURATIONS = (
    ("405B x 1K", 405e9, 1_000, 810, 0.82, "llama-3.1-405b", "deepseek-r1"),
    ("70B x 8K", 70e9, 8_000, 1_120, 0.86, "llama-3.3-70b", "r1-distill-llama-70b"),
    ("7B x 64K", 7e9, 64_000, 896, 0.71, "r1-distill-qwen-7b", "r1-distill-qwen-7b"),
    ("405B x 16K", 405e9, 16_000, 12_960, 0.93, "llama-3.1-405b", "deepseek-r1"),
)
"""Name, parameters, thinking tokens; TFLOPs and accuracy in the article; a model of that size, and
the preset that stands for it (nobody has published a reasoning model of 405B: DeepSeek-R1)."""

BENCHMARKS = ("math500", "aime24")


def accuracies(benchmark: str) -> dict[str, float]:
    """Configuration -> accuracy of its preset when thinking is cut or chosen to be that long."""
    return {
        name: float(find_preset(f"{preset}/{benchmark}").build().accuracy(tokens))
        for name, _, tokens, _, _, _, preset in CONFIGURATIONS
    }


PER_TOKEN = (("70B model", "llama-3.3-70b", 140e9), ("671B model", "deepseek-r1", 1.3e12))
"""FLOPs of one token, as the article has them."""


def _rows() -> list[Row]:
    rows = [_per_token(*each) for each in PER_TOKEN]
    for name, parameters, tokens, said, _, model, _ in CONFIGURATIONS:
        teraflops = float(serving_flops(parameters, tokens)) / 1e12
        attention = attention_flops(model, 0, tokens) / 1e12
        note = f"2 N T, as in the article; attention, left out there, adds {attention:,.0f}"
        found = f"{teraflops:,.0f} TFLOP"
        rows.append(
            Row(name, f"~{said:,} TFLOP", found, graded(close(teraflops, said, 0.005)), note)
        )
    said_of = {name: accuracy for name, _, _, _, accuracy, _, _ in CONFIGURATIONS}
    for benchmark in BENCHMARKS:
        found_of = accuracies(benchmark)
        orders = [sorted(of, key=of.__getitem__, reverse=True) for of in (said_of, found_of)]
        rows.append(
            Row(
                f"order of accuracy ({benchmark})",
                _listed(orders[0], said_of),
                _listed(orders[1], found_of),
                "reproduced" if orders[0] == orders[1] else "not reproduced",
                "R1 and its distills; R1-Distill-7B was measured at 92.8 % on MATH-500 with 5K"
                " tokens, so no budget makes it the weakest: distilled small models gain most",
            )
        )
    return rows


def _per_token(name: str, model: str, said: float) -> Row:
    architecture = load_architecture(model)
    active = architecture.active_parameters
    found = float(serving_flops(active, 1))
    dense = close(active, architecture.parameters, 0.05)
    note = ""
    if not dense:
        note = (
            f"2 N counts all {architecture.parameters / 1e9:.0f}B parameters; a token is computed"
            f" with {active / 1e9:.0f}B of them (mixture of experts)"
        )
    return Row(
        f"FLOPs of one token, {name}",
        f"~{said / 1e9:,.0f} GFLOP",
        f"{found / 1e9:,.0f} GFLOP",
        "reproduced" if close(found, said) else "article wrong",
        note,
    )


def _listed(order: list[str], accuracy: dict[str, float]) -> str:
    return " > ".join(f"{name.replace(' x ', 'x')} {percent(accuracy[name], 0)}" for name in order)


STUDY = Study("compute_equivalent", "Compute-equivalent configurations", FULL_ARC, _rows)
