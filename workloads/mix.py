"""Several classes of queries at one pool: the `mix` workload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from workloads.arrivals import AllAtOnceArrivals, Arrivals, ClosedLoopArrivals
from workloads.batch import RequestBatch
from workloads.generate import class_batch, combine
from workloads.tasks import TaskClass
from workloads.workload import DrawnWorkload

ClassName = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]


class MixWorkload(DrawnWorkload):
    """Queries of several classes, each arriving by itself.

    A class has arrivals of its own, or `arrivals` at a rate in proportion to its share. Everything
    drawn for a class depends on the seed and its name alone: another class beside it changes
    nothing, but for the rate where shares are given. Ends after `num_requests` or before
    `duration_s`, whichever comes first; a session's requests count as if they were answered at
    once.
    """

    kind: Literal["mix"] = "mix"
    arrivals: Arrivals | None = None
    classes: dict[ClassName, TaskClass] = Field(min_length=1)

    @model_validator(mode="after")
    def _everything_arrives(self) -> MixWorkload:
        for name, each in self.classes.items():
            arrivals = each.arrivals or self.arrivals
            if arrivals is None:
                raise ValueError(f"class {name} needs arrivals, or the mix does")
            if isinstance(arrivals, ClosedLoopArrivals):
                raise ValueError("a mix has no closed loop: use kind synthetic for that")
        return self

    def generate(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> RequestBatch:
        """Draws the requests of `seed`; see `Workload.generate`."""
        if self.has_own_end:
            duration_s = self.duration_s
        total = sum(each.share for each in self.classes.values() if each.arrivals is None)
        batches, provenance = [], {}
        for name, each in self.classes.items():
            arrivals = each.arrivals
            if arrivals is None:
                assert self.arrivals is not None
                arrivals = self.arrivals.scaled(each.share / total)
            count = self.num_requests
            if isinstance(arrivals, AllAtOnceArrivals) and each.arrivals is None and count:
                count = max(round(count * each.share / total), 1)
            starts_s = arrivals.times(seed, name, count=count, duration_s=duration_s)
            batch = class_batch(
                each,
                seed,
                name,
                starts_s,
                session=each.session,
                client=each.client,
                most=self.num_requests,
            )
            batches.append(batch)
            what = "sessions" if each.session else "queries"
            provenance[f"{name}: {what}"] = f"drawn: {arrivals.describe()}"
            provenance |= {f"{name}: {key}": text for key, text in batch.provenance.items()}
        return replace(
            self.bounded(combine(batches), duration_s),
            provenance=provenance,
            class_slo={n: c.slo.targets() for n, c in self.classes.items() if c.slo},
            class_value_usd={
                n: c.value_usd for n, c in self.classes.items() if c.value_usd is not None
            },
        )
