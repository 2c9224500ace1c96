"""What a replica is told: vLLM's scheduler and cache options, under vLLM's names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from simulator.cost.kv_groups import KvGroups
from simulator.errors import InputError, Problem

Stepping = Literal["span", "iteration"]
Batching = Literal["chunked_prefill", "prefill_first", "static"]
Preemption = Literal["recompute", "swap", "checkpoint"]


@dataclass(frozen=True)
class EngineConfig:
    """Options of one replica's scheduler and KV cache; defaults are vLLM 0.33's.

    `num_gpu_blocks` counts vLLM's null block, so one block fewer is usable. `max_num_active_seqs`,
    where set, lowers the number of seats below `max_num_seqs`.
    `async_scheduling`: each iteration is decided when the one before it starts on the GPU.
    A block holds `block_size` tokens of one group of layers. A request holds blocks in
    `kv_groups_full` groups for all its context and in `kv_groups_window` groups for at most
    `window_tokens` tokens of it (vLLM's hybrid KV cache manager); `window_tokens=0`: no layer has a
    sliding window.
    `batching` is how iterations are formed (`simulator.engine.scheduler`). `preemption` is what
    becomes of the KV of a preempted request: recomputed, copied to host memory and back, or copied
    there in whole chunks of `checkpoint_tokens` while it is computed. `host_kv_tokens` is the room
    there, and moving one token takes `host_token_s` seconds of the engine's time.
    `enable_prefix_caching`: full blocks that no request uses any more are found again by content.
    KV compression: at every `kv_compression_interval`-th iteration each decoding request with more
    KV than `kv_budget_tokens`, or than the part `kv_budget_frac` of its tokens so far, loses what
    is above; that takes `kv_compression_token_s` seconds a token looked at. Both 0: none.
    `stepping="iteration"` forces spans of one iteration: the same times, slower; it exists to check
    the span engine against.
    `long_prefill_spares_lone_request`: vLLM 0.33 ignores the long-prefill threshold when only one
    request is present; older versions do not.

    Raises `InputError` naming every field that is out of range.
    """

    num_gpu_blocks: int
    max_model_len: int
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    block_size: int = 16
    enable_chunked_prefill: bool = True
    watermark: float = 0.0
    scheduler_reserve_full_isl: bool = True
    long_prefill_token_threshold: int = 0
    long_prefill_token_threshold_adaptive: bool = False
    long_prefill_spares_lone_request: bool = True
    max_num_active_seqs: int | None = None
    prefill_schedule_interval: int = 1
    async_scheduling: bool = False
    batching: Batching = "chunked_prefill"
    preemption: Preemption = "recompute"
    checkpoint_tokens: int = 1024
    host_kv_tokens: int = 0
    host_token_s: float = 0.0
    enable_prefix_caching: bool = False
    kv_budget_tokens: int = 0
    kv_budget_frac: float = 0.0
    kv_compression_interval: int = 128
    kv_compression_token_s: float = 0.0
    window_tokens: int = 0
    kv_groups_full: int = 1
    kv_groups_window: int = 0
    stepping: Stepping = "span"

    def __post_init__(self) -> None:
        problems = [Problem(message, field=field) for field, message in self._problems()]
        if problems:
            raise InputError(problems)

    def _problems(self) -> list[tuple[str, str]]:
        at_least_one = ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size")
        found = [
            (field, f"must be at least 1, not {getattr(self, field)}")
            for field in (*at_least_one, "prefill_schedule_interval")
            if getattr(self, field) < 1
        ]
        groups = self._group_problems()
        found += groups
        if self.num_gpu_blocks < 2:
            found.append(("num_gpu_blocks", "must be at least 2: one block is never usable"))
        elif self.block_size >= 1 and not groups:
            longest = self.longest_request
            if longest is not None and self.max_model_len > longest:
                found.append(
                    (
                        "max_model_len",
                        f"{self.max_model_len} tokens do not fit the KV cache of "
                        f"{self.usable_blocks} usable blocks of {self.block_size}; "
                        f"at most {longest}",
                    )
                )
        if not 0.0 <= self.watermark < 1.0:
            found.append(("watermark", f"must be in [0, 1), not {self.watermark}"))
        if self.long_prefill_token_threshold < 0:
            found.append(("long_prefill_token_threshold", "must not be negative"))
        if self.max_num_active_seqs is not None and self.max_num_active_seqs < 1:
            found.append(("max_num_active_seqs", "must be at least 1, or null"))
        if self.max_num_active_seqs is not None and self.max_num_active_seqs > self.max_num_seqs:
            message = f"{self.max_num_active_seqs} is above max_num_seqs {self.max_num_seqs}"
            found.append(("max_num_active_seqs", message))
        if self.stepping not in ("span", "iteration"):
            found.append(("stepping", f"must be span or iteration, not {self.stepping!r}"))
        if self.batching not in get_args(Batching):
            found.append(("batching", f"unknown discipline {self.batching!r}"))
        if self.batching == "prefill_first" and self.enable_chunked_prefill:
            message = "prefill_first computes whole prompts: set enable_chunked_prefill to false"
            found.append(("batching", message))
        if self.preemption not in get_args(Preemption):
            found.append(
                ("preemption", f"must be recompute, swap or checkpoint, not {self.preemption!r}")
            )
        if self.checkpoint_tokens < 1:
            found.append(("checkpoint_tokens", f"must be at least 1, not {self.checkpoint_tokens}"))
        if self.host_kv_tokens < 0:
            found.append(("host_kv_tokens", "must not be negative"))
        if not 0.0 <= self.host_token_s < math.inf:
            found.append(("host_token_s", f"must be 0 or more, not {self.host_token_s}"))
        found += self._compression_problems()
        if self.enable_prefix_caching and self.batching == "static":
            found.append(("enable_prefix_caching", "static batching knows no prefix cache"))
        if self.enable_prefix_caching and (self.kv_groups_window > 0 or self.kv_groups_full > 1):
            message = "is not modelled for several groups of layers"
            found.append(("enable_prefix_caching", message))
        if not self.enable_chunked_prefill and self.max_num_batched_tokens < self.max_model_len:
            found.append(
                (
                    "max_num_batched_tokens",
                    f"{self.max_num_batched_tokens} is below max_model_len {self.max_model_len}: "
                    "without chunked prefill a long prompt could never be scheduled",
                )
            )
        return found

    def _compression_problems(self) -> list[tuple[str, str]]:
        found = []
        if self.kv_budget_tokens < 0:
            found.append(("kv_budget_tokens", "must not be negative"))
        if not 0.0 <= self.kv_budget_frac < 1.0:
            found.append(("kv_budget_frac", f"must be in [0, 1), not {self.kv_budget_frac}"))
        if self.kv_budget_tokens and self.kv_budget_frac:
            found.append(("kv_budget_frac", "give this or kv_budget_tokens, not both"))
        if self.kv_compression_interval < 1:
            message = f"must be at least 1, not {self.kv_compression_interval}"
            found.append(("kv_compression_interval", message))
        if not 0.0 <= self.kv_compression_token_s < math.inf:
            message = f"must be 0 or more, not {self.kv_compression_token_s}"
            found.append(("kv_compression_token_s", message))
        if self.kv_budget_tokens or self.kv_budget_frac:
            if self.enable_prefix_caching:
                found.append(("enable_prefix_caching", "cannot be combined with KV compression"))
            if self.preemption == "checkpoint":
                found.append(("preemption", "cannot be combined with KV compression"))
            if self.window_tokens > 0:
                found.append(("kv_compression", "is not modelled for layers with a window"))
        return found

    def _group_problems(self) -> list[tuple[str, str]]:
        names = ("window_tokens", "kv_groups_full", "kv_groups_window")
        found = [(name, "must not be negative") for name in names if getattr(self, name) < 0]
        if not found and self.kv_groups_full + self.kv_groups_window < 1:
            found.append(("kv_groups_full", "must be at least 1 where no group has a window"))
        if not found and self.kv_groups_window > 0 and self.window_tokens == 0:
            found.append(("window_tokens", "must be at least 1 where groups have a window"))
        return found

    @property
    def window_blocks(self) -> int:
        """Blocks of one group that a sliding window takes."""
        return -(-self.window_tokens // self.block_size)

    @property
    def longest_request(self) -> int | None:
        """Most tokens that the KV cache can hold of one request, None if there is no limit."""
        groups = KvGroups(1, self.kv_groups_full, self.kv_groups_window, self.window_tokens)
        return groups.longest_request(self.usable_blocks, self.block_size)

    @property
    def usable_blocks(self) -> int:
        """KV blocks that can hold tokens: all but the null block."""
        return self.num_gpu_blocks - 1

    @property
    def watermark_blocks(self) -> int:
        """Blocks an admission must leave free while others run."""
        return math.floor(self.watermark * self.num_gpu_blocks)

    @property
    def seat_limit(self) -> int:
        """Most requests that run at once."""
        return self.max_num_active_seqs or self.max_num_seqs
