"""Recordings of vLLM's real scheduler, where a checkout has them beside it.

They lie outside the project, in `../shared/data/vllm_schedules`; without them the tests that need
them are skipped.
"""

import gzip
import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import pytest

RECORDINGS_DIR = Path(__file__).resolve().parents[3] / "shared" / "data" / "vllm_schedules"
ABSENT_REASON = "recordings of vLLM's scheduler (../shared/data/vllm_schedules) are absent"


@lru_cache(maxsize=2)
def load(name):
    """One recording as a dictionary: name, config, cost, requests, expected. Do not modify it."""
    with gzip.open(RECORDINGS_DIR / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def path_of(name):
    """The file of the recording `name`."""
    return RECORDINGS_DIR / f"{name}.json.gz"


def all_names():
    """Names of all recordings; () if there are none."""
    return tuple(sorted(p.name.removesuffix(".json.gz") for p in RECORDINGS_DIR.glob("*.json.gz")))


@lru_cache(maxsize=1)
def fcfs_names():
    """Names of the fcfs recordings without prefix caching, and whether they are async."""
    configs = {name: load(name)["config"] for name in all_names()}
    return {
        name: config["async_scheduling"]
        for name, config in configs.items()
        if config["policy"] == "fcfs" and not config["enable_prefix_caching"]
    }


def sync_fcfs_names():
    """Names of the synchronous ones of them; () if there are none."""
    return tuple(name for name, is_async in fcfs_names().items() if not is_async)


def async_fcfs_names():
    """Names of the ones with async scheduling; () if there are none."""
    return tuple(name for name, is_async in fcfs_names().items() if is_async)


def parametrize_names(names, argument="name"):
    """Decorator: one test per name of a recording, or one skipped test saying why."""
    skipped = pytest.param("absent", marks=pytest.mark.skip(reason=ABSENT_REASON))
    # Module scope runs the tests of one recording one after another, so that replays can be cached.
    return pytest.mark.parametrize(argument, names or [skipped], scope="module")


def parametrize_sync_fcfs(argument="name"):
    """Decorator: one test per synchronous fcfs recording."""
    return parametrize_names(sync_fcfs_names(), argument)


def parametrize_fcfs(argument="name"):
    """Decorator: one test per fcfs recording, synchronous or async."""
    return parametrize_names(tuple(fcfs_names()), argument)


def parametrize_all(argument="name"):
    """Decorator: one test per recording."""
    return parametrize_names(all_names(), argument)


needs_recordings = pytest.mark.skipif(not RECORDINGS_DIR.is_dir(), reason=ABSENT_REASON)


def max_tokens(recording, request):
    """The `max_tokens` one of the recording's requests was submitted with."""
    if recording["config"]["stop"] == "length":
        return request["output_tokens"]
    return recording["config"]["max_model_len"] - request["prompt_tokens"]


def recorded_iteration_time(cost):
    """The stand-in step time of the recordings as a function of the chunk list.

    `cost` is a recording's `cost`: dt = c0 + c1 * tokens + c2 * context, in seconds, where context
    is summed over the scheduled requests after the step. A chunk is
    (tokens, context after it, is_decode).
    """

    def iteration_time_s(chunks):
        tokens = sum(n for n, _, _ in chunks)
        context = sum(after for _, after, _ in chunks)
        return cost["c0"] + cost["c1"] * tokens + cost["c2"] * context

    return iteration_time_s


def step_line(scheduled, preempted, finished, free_blocks, num_running, num_waiting):
    """One step in the hashed text: `scheduled` maps id to tokens, the next two are lists of ids."""
    chunks = ",".join(f"{request_id}:{n}" for request_id, n in scheduled.items())
    return (
        f"S{chunks}|P{','.join(preempted)}|F{','.join(finished)}"
        f"|{free_blocks}|{num_running}|{num_waiting}\n"
    )


def steps_sha256(lines):
    """The digest of the step lines, as `expected.steps_sha256` of a recording has it."""
    digest = sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()
