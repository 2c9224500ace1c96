"""The cases that schedulers must pass: each pressure that an engine can be under."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.conformance.case import Case
from simulator.engine.config import EngineConfig
from simulator.facts import RequestFacts
from simulator.predictors.base import Truth
from simulator.predictors.noisy import Noisy
from simulator.rng import uniforms

CLASSES = ("quiet", "plain", "urgent")
CLIENTS = ("a", "b", "c")

_LONGEST_TOKENS = 448  # prompt and cap
_AMPLE_BLOCKS = 2000
_ENGINES: dict[str, dict[str, Any]] = {
    "ample": {"num_gpu_blocks": _AMPLE_BLOCKS, "max_num_seqs": 12},
    "few seats": {"num_gpu_blocks": _AMPLE_BLOCKS, "max_num_seqs": 3},
    "few seats, async": {
        "num_gpu_blocks": _AMPLE_BLOCKS,
        "max_num_seqs": 3,
        "async_scheduling": True,
    },
    "a burst": {"num_gpu_blocks": _AMPLE_BLOCKS, "max_num_seqs": 4, "max_num_batched_tokens": 8},
    "little KV": {"num_gpu_blocks": 124, "max_num_seqs": 8},
    "little KV, async": {
        "num_gpu_blocks": 32,
        "block_size": 16,
        "max_num_seqs": 8,
        "scheduler_reserve_full_isl": False,
        "async_scheduling": True,
    },
    "swapping": {
        "num_gpu_blocks": 124,
        "max_num_seqs": 8,
        "preemption": "swap",
        "host_kv_tokens": 600,
        "host_token_s": 2.0**-12,
    },
    "checkpoints, async": {
        "num_gpu_blocks": 124,
        "max_num_seqs": 8,
        "preemption": "checkpoint",
        "checkpoint_tokens": 16,
        "host_kv_tokens": 2000,
        "async_scheduling": True,
    },
    "whole prompts": {
        "num_gpu_blocks": 124,
        "max_num_seqs": 6,
        "batching": "prefill_first",
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": _LONGEST_TOKENS,
    },
    "static batches": {"num_gpu_blocks": 200, "max_num_seqs": 4, "batching": "static"},
}
_SPAN_S = {"ample": 150.0, "few seats": 30.0, "few seats, async": 30.0, "a burst": 0.0}


def scheduler_cases() -> list[Case]:
    """One case for each kind of pressure, always the same ones."""
    return [_case(name, options) for name, options in _ENGINES.items()]


def _case(name: str, options: dict[str, Any]) -> Case:
    small = {"block_size": 4, "max_num_batched_tokens": 24, "max_model_len": _LONGEST_TOKENS}
    config = EngineConfig(**{**small, **options})
    return requests(name, 30, _SPAN_S.get(name, 12.0), config)


def requests(name: str, count: int, span_s: float, config: EngineConfig) -> Case:
    """`count` requests over `span_s` seconds: mostly short, some long, of all classes and clients.

    Two in five belong to sessions, half have a deadline, a third have a cap far above their length,
    and some end at their cap.
    """
    luck = [uniforms(7, "conformance", name, count, sample=sample) for sample in (0, 1)]
    u = np.concatenate(luck, axis=1)
    rows = np.arange(count, dtype=np.int64)
    prompt = 1 + np.floor(60.0 * u[:, 1] ** 2).astype(np.int64)
    output = 1 + np.floor(4.0 * np.exp(3.4 * u[:, 2])).astype(np.int64)
    output[rows % 15 == 4] = 280
    thinking = np.floor(output * u[:, 3]).astype(np.int64)
    capped = np.where(rows % 3 == 1, output + 100, np.where(rows % 7 == 2, output, 0))
    class_id = np.floor(3.0 * u[:, 4]).astype(np.int32)
    in_session = rows % 5 < 2
    truth = Truth(prompt, thinking, output - thinking, capped, class_id, CLASSES)
    predictor = Noisy(sigma=0.5)
    predictor.start(truth, seed=7)
    facts = RequestFacts(
        prompt_tokens=prompt,
        max_tokens=capped,
        class_id=class_id,
        client_id=np.floor(3.0 * u[:, 5] ** 2).astype(np.int32),
        session_id=np.where(in_session, rows // 10, -1),
        query_id=np.where(in_session, rows - rows % 10, rows),
        priority=np.array([2, 1, 0])[class_id],
        due_s=np.where(u[:, 6] < 0.5, np.floor(16.0 + 200.0 * u[:, 7]), np.inf),
        predictor=predictor,
        class_names=CLASSES,
        client_names=CLIENTS,
    )
    for column in vars(facts).values():
        if isinstance(column, np.ndarray):
            column.flags.writeable = False  # nobody changes what is known
    arrival_s = np.sort(np.floor(u[:, 0] * span_s * 64.0) / 64.0)
    return Case(name, config, arrival_s, prompt, thinking, output, capped, facts)
