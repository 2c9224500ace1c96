"""Engine presets: what one released engine does when the user says nothing.

The vLLM values are those of `vllm serve` on one GPU node, read from the releases named
(`vllm/engine/arg_utils.py`, `vllm/config/cache.py`, `vllm/config/scheduler.py`; Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

GIB = 1024**3


@dataclass(frozen=True)
class BudgetDefault:
    """Default budgets of GPUs with at least `min_memory_bytes` whose name has no `not_in_name`."""

    min_memory_bytes: int
    max_num_batched_tokens: int
    max_num_seqs: int
    not_in_name: str | None = None


@dataclass(frozen=True)
class EnginePreset:
    """Defaults and rules of one engine release.

    `fields` are defaults of the `engine:` keys of an experiment. `rules` are behaviours of the
    release that its users cannot set. `budgets` is searched from the top.
    """

    name: str
    fields: dict[str, Any]
    rules: dict[str, Any]
    budgets: tuple[BudgetDefault, ...]

    def budget(self, gpu_name: str, memory_bytes: float) -> BudgetDefault:
        """Default `max_num_batched_tokens` and `max_num_seqs` on a GPU of `memory_bytes`."""
        for row in self.budgets:
            excluded = row.not_in_name is not None and row.not_in_name in gpu_name.lower()
            if memory_bytes >= row.min_memory_bytes and not excluded:
                return row
        raise AssertionError("the last row of a preset's budgets holds for every GPU")


_COMMON_FIELDS = {
    "block_size": 16,
    "enable_chunked_prefill": True,
    "watermark": 0.0,
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "prefill_schedule_interval": 1,
    "batching": "chunked_prefill",
    "preemption": "recompute",
    "checkpoint_tokens": 1024,
    "enable_prefix_caching": True,
}

# The A100 keeps the small budget whatever its memory: large ones made it slower (vLLM PR 17885).
_HOPPER_AND_OTHERS = (
    BudgetDefault(70 * GIB, 8192, 1024, not_in_name="a100"),
    BudgetDefault(0, 2048, 256),
)

PRESETS: dict[str, EnginePreset] = {
    preset.name: preset
    for preset in (
        EnginePreset(
            name="vllm-0.11",
            # No watermark and no full-sequence check: only the first chunk of a prompt must fit.
            fields={
                **_COMMON_FIELDS,
                "scheduler_reserve_full_isl": False,
                "async_scheduling": False,
                "gpu_memory_utilization": 0.90,
            },
            rules={"long_prefill_spares_lone_request": False},
            budgets=_HOPPER_AND_OTHERS,
        ),
        EnginePreset(
            name="vllm-0.33",
            fields={
                **_COMMON_FIELDS,
                "scheduler_reserve_full_isl": True,
                "async_scheduling": True,
                "gpu_memory_utilization": 0.92,
            },
            rules={"long_prefill_spares_lone_request": True},
            budgets=(BudgetDefault(160 * GIB, 16384, 1024), *_HOPPER_AND_OTHERS),
        ),
    )
}

DEFAULT_PRESET: Literal["vllm-0.33"] = "vllm-0.33"
