"""The prefix cache, block by block and in runs, against recordings of vLLM's real scheduler."""

from dataclasses import fields
from functools import lru_cache

from . import recordings
from .prefix_engine import PrefixEngine, block_cache, run_cache
from .reference_engine import EngineConfig, Request, _State

CACHES = {"blocks": block_cache, "runs": run_cache}


@lru_cache(maxsize=1)
def names():
    """The fcfs recordings with prefix caching, synchronous and async."""
    paths = sorted(recordings.RECORDINGS_DIR.glob("*.json.gz"))
    stems = [path.name.removesuffix(".json.gz") for path in paths]
    configs = {name: recordings.load(name)["config"] for name in stems}
    return tuple(
        name
        for name, config in configs.items()
        if config["policy"] == "fcfs" and config["enable_prefix_caching"]
    )


def replay(name, kind):
    recording = recordings.load(name)
    options = {f.name for f in fields(EngineConfig)} & recording["config"].keys()
    config = EngineConfig(**{option: recording["config"][option] for option in options})
    rows = recording["requests"]
    cache = CACHES[kind](rows, config.block_size, config.num_gpu_blocks - 1)
    engine = PrefixEngine(
        config,
        recordings.recorded_iteration_time(recording["cost"]),
        cache,
        {request["id"]: i for i, request in enumerate(rows)},
    )
    states = [
        _State(
            Request(
                id=request["id"],
                arrival_s=request["arrival_s"],
                prompt_tokens=request["prompt_tokens"],
                thinking_tokens=0,
                output_tokens=request["output_tokens"],
                max_tokens=recordings.max_tokens(recording, request),
            )
        )
        for request in rows
    ]
    engine.run(states)
    return engine


@recordings.needs_recordings
def test_the_recordings_are_found():
    found = [name.partition("_")[0] for name in names()]
    assert found == ["a06", "a08", "a11", "l05", "l08", "l09"] + [f"p{n:02d}" for n in range(1, 9)]


def check(name, kind):
    expected = recordings.load(name)["expected"]
    engine = replay(name, kind)
    want = {row["id"]: row["num_cached_tokens"] for row in expected["per_request"]}
    assert engine.first_hits == want
    lines = [
        recordings.step_line(
            step.scheduled,
            step.preempted,
            step.finished,
            step.free_blocks,
            step.num_running,
            step.num_waiting,
        )
        for step in engine.steps
    ]
    assert recordings.steps_sha256(lines) == expected["steps_sha256"]


@recordings.parametrize_names(names())
def test_hits_and_free_blocks_are_those_of_vllm_at_every_step(name):
    check(name, "runs")


@recordings.parametrize_names([name for name in names() if name[0] in "ap"])
def test_so_they_are_block_by_block(name):
    check(name, "blocks")
