"""What a reader must know of a run besides its numbers: where its inputs come from, its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simulator.cluster.outcome import Outcome
from simulator.config.resolve import ResolvedPool
from simulator.cost.extrapolation import extrapolation_notes
from simulator.cost.iteration_time import IterationCosts
from simulator.demand import last_start_s
from simulator.engine.request import REJECTED
from simulator.schedulers import Scheduler
from workloads.batch import RequestBatch

_WORTH_SAYING = 0.005  # of the prompt tokens, found in prefix caches
_COMPARED_REQUESTS = 100_000  # whose prompts are compared, to tell how much they share


def pool_notes(
    pools: Sequence[ResolvedPool], costs: Sequence[IterationCosts], outcome: Outcome
) -> list[str]:
    """What is left out or only assumed of each pool, and where the run left the fitted ranges.

    Where there are several pools, a note begins with the names of those it is about.
    """
    configured = {pool.name: pool.notes for pool in pools}
    met = [_largest_met(outcome, index) for index in range(len(pools))]
    extrapolated = {
        pool.name: extrapolation_notes(cost, pool.gpu.name, largest)
        for pool, cost, largest in zip(pools, costs, met, strict=True)
    }
    notes = [*_of_pools(configured), *_of_pools(extrapolated)]
    if len(pools) == 1:
        return notes
    return [
        *notes,
        *(f"{pool.name}: served no request" for k, pool in enumerate(pools) if not met[k]),
        "the capacity is the sum of what each pool could do with the whole mix of requests; how the"
        " router shares them out is not in it",
    ]


def capacity_notes(pools: Sequence[ResolvedPool], found: Sequence[float]) -> list[str]:
    """What the estimate of capacity counts on, and what it leaves out, of each pool.

    `found`: of each pool, the part of prompt tokens that its prefix caches had.
    """
    notes: dict[str, list[str]] = {}
    for pool, share in zip(pools, found, strict=True):
        scheduler, own = pool.settings.engine.scheduler, notes.setdefault(pool.name, [])
        if share >= _WORTH_SAYING:
            own.append(
                f"the estimated capacity takes {share:.1%} of the prompt tokens as found in the"
                " prefix cache, as they were in this run"
            )
        if pool.settings.engine.kv_compression is not None:
            own.append("the estimated capacity leaves out KV compression: it may be too low")
        if type(scheduler.build()).reserve_tokens is not Scheduler.reserve_tokens:
            own.append(
                f"the estimated capacity leaves out the KV that scheduler {scheduler.kind}"
                " reserves: it may be too high"
            )
        if pool.engine.batching == "static":
            own.append(
                "the estimated capacity leaves out the seats that static batching leaves empty:"
                " it may be too high"
            )
    return _of_pools(notes)


def workload_notes(batch: RequestBatch) -> list[str]:
    """Where each column of the workload comes from, and what a reader left out."""
    notes = [f"{column} {source}" for column, source in batch.provenance.items()]
    notes += [f"{count:,} rows dropped: {reason}" for reason, count in batch.dropped.items()]
    if batch.segments is not None:
        from workloads.description.reuse import reusable_tokens

        some = batch.take(np.arange(min(len(batch), _COMPARED_REQUESTS)))
        reusable = reusable_tokens(some)
        assert reusable is not None
        share = reusable.sum() / some.prompt_tokens.sum()
        notes.append(
            f"{share:.1%} of the prompt tokens are the beginning of an earlier request: what a"
            " prefix cache would save at most"
        )
    return notes


def traffic_notes(
    batch: RequestBatch, outcome: Outcome, *, unsent: int, ran_dry: bool
) -> list[str]:
    """Requests that never came, and traffic that ended before the run did (`ran_dry`)."""
    notes = []
    if unsent:
        notes.append(
            f"{unsent:,} requests were never sent: one before them in their session was refused"
        )
    if ran_dry and outcome.end_s > batch.arrival_s[-1]:
        notes.append(
            f"requests stop arriving at {batch.arrival_s[-1]:,.0f} s, before the run ends at "
            f"{outcome.end_s:,.0f} s: late ones met a pool that was running empty"
        )
    elif ran_dry:
        notes.append(
            f"no session begins after {last_start_s(batch):,.0f} s, before the run ends at "
            f"{outcome.end_s:,.0f} s: there were fewer and fewer of them"
        )
    return notes


def _of_pools(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Each note once, in order, named by the pools that have it unless there is only one pool."""
    owners: dict[str, list[str]] = {}
    for name, own in notes.items():
        for note in own:
            owners.setdefault(note, []).append(name)
    if len(notes) == 1:
        return list(owners)
    return [f"{', '.join(names)}: {note}" for note, names in owners.items()]


def _largest_met(outcome: Outcome, pool: int) -> dict[str, float]:
    """The largest batches and contexts that a pool met, by the names of a fit's range."""
    requests, engine = outcome.requests, outcome.configs[pool]
    replicas = np.flatnonzero(outcome.pool_id == pool)
    requests = requests[np.isin(requests["replica"], replicas) & (requests["status"] != REJECTED)]
    if not len(requests):
        return {}
    longest = requests["prompt_tokens"] + requests["generated_tokens"]
    samples = [outcome.samples[replica] for replica in replicas]
    return {
        "m": min(engine.max_num_batched_tokens, int(requests["prompt_tokens"].sum())),
        "chunk_tokens": min(engine.max_num_batched_tokens, int(requests["prompt_tokens"].max())),
        "requests": max((int(each["running"].max()) for each in samples if len(each)), default=1),
        "context_tokens": int(longest.max()),
    }
