"""Public helpers for tests: replay a recorded vLLM schedule, drive one replica by hand.

`python -m simulator.testing replay FILE.json.gz [--stepping span|iteration]` runs one recorded
scenario (config, cost, requests) through the engine and prints JSON:
`{num_steps, num_preemptions, makespan_s, per_request: [{id, first_scheduled_s, first_token_s,
finish_s, num_preemptions, num_cached_tokens}]}`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from simulator.cluster.source import Source
from simulator.cost.iteration_time import CostTable
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.replica import Replica
from simulator.engine.request import new_requests
from simulator.engine.trace import Step, TracedReplica
from simulator.errors import InputError
from simulator.facts import RequestFacts
from simulator.prefix import PromptSegments
from simulator.schedulers import SCHEDULERS, Scheduler

_OPTIONS = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "num_gpu_blocks",
    "max_model_len",
    "enable_chunked_prefill",
    "watermark",
    "scheduler_reserve_full_isl",
    "long_prefill_token_threshold",
    "long_prefill_token_threshold_adaptive",
    "max_num_active_seqs",
    "prefill_schedule_interval",
    "async_scheduling",
    "enable_prefix_caching",
)


def linear_cost(
    fixed_s: float, token_s: float, context_s: float, *, max_tokens: int, max_seqs: int
) -> CostTable:
    """Iterations of `fixed_s + token_s * tokens + context_s * context` seconds.

    Context is the sum over the scheduled requests of their computed tokens after the iteration.
    """
    return CostTable(
        token_s=fixed_s + token_s * np.arange(max_tokens + 1, dtype=np.float64),
        seq_s=np.zeros(max_seqs + 1),
        decode_fixed_s=np.zeros(max_seqs + 1),
        decode_context_s=np.full(max_seqs + 1, context_s),
        prefill_s=np.array([0.0, 0.0, context_s, 0.0]),
    )


def serve(
    config: EngineConfig,
    cost: CostTable,
    requests: np.ndarray,
    *,
    cancels: Iterable[tuple[float, int]] = (),
    scheduler: Scheduler | None = None,
    facts: RequestFacts | None = None,
    segments: PromptSegments | None = None,
    traced: bool = False,
    check_integrity: bool = True,
) -> Replica:
    """Run one replica over a table from `new_requests`, in place, until nothing is left to do.

    `requests` are in order of arrival; refused ones end with status REJECTED. `cancels`: pairs of a
    time in seconds and a request. `scheduler` (None: fcfs) sees the requests as `facts`; `segments`
    is what prompts share. `traced` gives a `TracedReplica`, with every iteration's
    decisions in `steps`. Returns the replica.
    """
    clock = Clock()
    kind = TracedReplica if traced else Replica
    if scheduler is not None and facts is None:
        facts = RequestFacts.plain(requests["prompt_tokens"], requests["max_tokens"])
    replica = kind(
        clock,
        config,
        cost,
        requests,
        scheduler=scheduler,
        facts=facts,
        segments=segments,
        check_integrity=check_integrity,
    )
    Source(clock, requests["arrival_s"], replica.offer)
    for cancel_s, i in cancels:
        clock.timeout(cancel_s).callbacks.append(partial(_cancel, replica, i))
    clock.run()
    return replica


def _cancel(replica: Replica, i: int, _: object) -> None:
    replica.cancel(i)


@dataclass(frozen=True)
class Replay:
    """A recorded scenario run through the engine.

    `ids[i]` is the recording's name of request i; requests are in order of arrival.
    """

    ids: list[str]
    requests: np.ndarray
    steps: list[Step]

    def to_dict(self) -> dict[str, Any]:
        """What `python -m simulator.testing replay` prints."""
        return {
            "num_steps": len(self.steps),
            "num_preemptions": sum(len(step.preempted) for step in self.steps),
            "makespan_s": float(np.nanmax(self.requests["finish_s"])),
            "per_request": [
                {
                    "id": name,
                    "first_scheduled_s": float(row["first_scheduled_s"]),
                    "first_token_s": float(row["first_token_s"]),
                    "finish_s": float(row["finish_s"]),
                    "num_preemptions": int(row["preemptions"]),
                    "num_cached_tokens": int(row["cached_tokens"]),
                }
                for name, row in zip(self.ids, self.requests, strict=True)
            ],
        }


def replay(recording: Mapping[str, Any], *, stepping: str = "span") -> Replay:
    """Run a recorded vLLM scenario (the parsed JSON) through the engine.

    Raises `InputError` for configurations the engine does not model yet.
    """
    settings = recording["config"]
    options = {key: settings[key] for key in _OPTIONS if key in settings}
    config = EngineConfig(**options, stepping=stepping)  # type: ignore[arg-type]
    terms = recording["cost"]
    cost = linear_cost(
        terms["c0"],
        terms["c1"],
        terms["c2"],
        max_tokens=config.max_num_batched_tokens,
        max_seqs=config.seat_limit,
    )
    rows = sorted(recording["requests"], key=lambda row: row["arrival_s"])
    foreseen = settings.get("stop", "length") == "length"
    output = [row["output_tokens"] for row in rows]
    requests = new_requests(
        arrival_s=[row["arrival_s"] for row in rows],
        prompt_tokens=[row["prompt_tokens"] for row in rows],
        output_tokens=output,
        max_tokens=output if foreseen else 0,
    )
    facts = RequestFacts.plain(requests["prompt_tokens"], requests["max_tokens"])
    facts = replace(facts, priority=np.array([row["priority"] for row in rows], dtype=np.int64))
    policy = SCHEDULERS[settings.get("policy", "fcfs")]()
    replica = serve(
        config,
        cost,
        requests,
        scheduler=policy,
        facts=facts,
        segments=_segments(rows),
        traced=True,
    )
    assert isinstance(replica, TracedReplica)
    return Replay([row["id"] for row in rows], requests, replica.steps)


def _segments(rows: Sequence[Mapping[str, Any]]) -> PromptSegments:
    """What the prompts of a recording are made of; names of segments become numbers."""
    numbers: dict[str, int] = {}

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    prompts = [[(number(name), tokens) for name, tokens in row["prompt_segments"]] for row in rows]
    answers = [number(f"out:{row['id']}") for row in rows]
    outputs = np.array([[-1, answer] for answer in answers], dtype=np.int64)
    return PromptSegments.from_lists(prompts, outputs.reshape(-1, 2))


def _main(argv: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m simulator.testing", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("replay", help="run a recorded vLLM schedule")
    command.add_argument("file")
    command.add_argument("--stepping", choices=("span", "iteration"), default="span")
    arguments = parser.parse_args(argv)
    try:
        with gzip.open(arguments.file, "rt") as stream:
            recording = json.load(stream)
        print(json.dumps(replay(recording, stepping=arguments.stepping).to_dict()))
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {arguments.file}: not a readable recording: {error}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {arguments.file}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(_main(sys.argv[1:]))
