"""What a row's free text says about how the server was started."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from simulator.studies.validation.points import Point


@dataclass(frozen=True)
class ServerText:
    """Settings found in `key_settings` and `notes`; None where they say nothing.

    `tensor_parallel` and `copies` come from texts like "TP1 x 8 DP replicas". `attention_dp` means
    that attention runs data-parallel inside one engine, `piecewise` that CUDA graphs leave
    attention out.
    """

    async_scheduling: bool | None = None
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    gpu_memory_utilization: float | None = None
    num_gpu_blocks: int | None = None
    block_size: int | None = None
    fp8_kv: bool = False
    expert_parallel: bool = False
    attention_dp: bool = False
    prefix_caching: bool | None = None
    speculative: bool = False
    piecewise: bool = False
    pipeline_parallel: int | None = None
    tensor_parallel: int | None = None
    copies: int | None = None


def read_server_text(point: Point) -> ServerText:
    """Pick the settings out of a row's `key_settings` and `notes`, whatever engine wrote them."""
    text = point.key_settings
    everything = f"{text}; {point.notes}; {point.unclear}"
    interactive = "interactive" in point.load_mode.lower()
    cache = _json(text)
    layout = re.search(r"\bTP(\d+)(?: x (\d+) DP replicas)?", text)
    utilisation = _option(text, "gpu-memory-utilization")
    asynchronous = re.search(r"async[-_]scheduling(?:=(\w+))?", text)
    return ServerText(
        async_scheduling=asynchronous[1] not in ("False", "false") if asynchronous else None,
        max_model_len=_whole(_option(text, "max-model-len", "max-seq-len", "context-length")),
        max_num_batched_tokens=_whole(_option(text, "max-num-batched-tokens"))
        or _limit(text, "max_num_tokens", interactive),
        max_num_seqs=_whole(_option(text, "max-num-seqs"))
        or _limit(text, "max batch", interactive),
        gpu_memory_utilization=float(utilisation) if utilisation else None,
        num_gpu_blocks=cache.get("num_gpu_blocks"),
        block_size=cache.get("block_size"),
        fp8_kv=bool(re.search(r"kv[-_]cache[-_]dtype[ =]fp8|\bKV FP8|FP8 KV|\+KV\b", text)),
        expert_parallel=bool(re.search(r"--enable-expert-parallel", text)),
        attention_dp=bool(re.search(r"dp-attention|attention[- ]DP", everything)),
        prefix_caching=_switch(text, "prefix-caching"),
        speculative=bool(re.search(r"specul|\bMTP\b|eagle|num-nextn", text, re.IGNORECASE)),
        piecewise="PIECEWISE" in text,
        pipeline_parallel=_whole(_option(text, "pp", "pp-size", "pipeline-parallel-size")),
        tensor_parallel=int(layout[1]) if layout else None,
        copies=int(layout[2]) if layout and layout[2] else None,
    )


def _option(text: str, *names: str) -> str | None:
    """The value of a command-line option, `-` and `_` being the same, also without dashes."""
    for name in names:
        pattern = name.replace("-", "[-_]")
        found = re.search(rf"(?<![\w-])-{{0,2}}{pattern}[ =]+([\w.]+)", text)
        if found:
            return found[1]
    return None


def _switch(text: str, name: str) -> bool | None:
    """Whether `--enable-NAME` or `--no-enable-NAME` is there; None if neither is."""
    found = re.search(rf"--(no-)?enable-{name}".replace("-", "[-_]"), text)
    return None if found is None else found[1] is None


def _limit(text: str, name: str, interactive: bool) -> int | None:
    """A limit as in "max batch 2048 (512 Interactive)"."""
    found = re.search(rf"{name} (\d+)(?:[^,(]*\((\d+) Interactive\))?", text)
    if not found:
        return None
    return int(found[2] if interactive and found[2] else found[1])


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdigit() else None


def _json(text: str) -> dict[str, int]:
    """The whole numbers under `kv_cache`, where the text is JSON that vLLM reported of itself."""
    try:
        cache: Any = json.loads(text)["kv_cache"]
        return {name: value for name, value in cache.items() if type(value) is int}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
