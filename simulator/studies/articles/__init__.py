"""What three articles on test-time compute claim, computed and simulated: one study a file.

A study gives rows: the claim, the article's figure, ours, a verdict, and what explains a
difference. To add one, write a module with a `STUDY` and name it here. Arithmetic comes first, the
longest simulation last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from simulator.errors import InputError
from simulator.studies.articles import (
    attention,
    compute_equivalent,
    compute_optimal,
    distillation,
    kv_memory,
    kv_runs,
    optimal_tokens,
    overthinking,
    query_cost,
    routing,
    scaling,
    semantic_cache,
    serving,
    token_counts,
    training,
    verification,
    verification_runs,
    voting,
)
from simulator.studies.articles.base import Row, Study, Verdict
from simulator.studies.articles.runs import experiment_file

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY
    for module in (
        kv_memory,
        attention,
        token_counts,
        scaling,
        optimal_tokens,
        overthinking,
        voting,
        verification,
        compute_equivalent,
        routing,
        kv_runs,
        query_cost,
        training,
        distillation,
        verification_runs,
        semantic_cache,
        compute_optimal,
        serving,
    )
}


def chosen(names: Sequence[str] = ()) -> list[Study]:
    """The studies called `names`, in the order of `STUDIES`; all of them if there are none.

    Raises `InputError` with every name that is not there.
    """
    unknown = [name for name in names if name not in STUDIES]
    if unknown:
        known = ", ".join(STUDIES)
        raise InputError(f"unknown study {', '.join(map(repr, unknown))}; known: {known}")
    return [study for study in STUDIES.values() if not names or study.name in names]


def results(
    studies: Sequence[Study], progress: Callable[[Study], None] | None = None
) -> Iterator[tuple[Study, list[Row]]]:
    """Run studies one after the other; `progress` is told of each before it runs.

    Raises `InputError` before any if one simulates and the experiments are not there.
    """
    if any(study.simulates for study in studies):
        experiment_file("serving")
    for study in studies:
        if progress is not None:
            progress(study)
        yield study, study.run()


__all__ = ["STUDIES", "Row", "Study", "Verdict", "chosen", "results"]
