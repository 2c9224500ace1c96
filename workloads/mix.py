"""Several classes of queries at one pool: the `mix` workload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, model_validator

from simulator.rng import luck
from workloads.arrivals import AllAtOnceArrivals, Arrivals, ClosedLoopArrivals
from workloads.batch import RequestBatch
from workloads.generate import class_batch, combine
from workloads.slo import Slo
from workloads.tasks import TaskClass
from workloads.workload import DrawnWorkload

ClassName = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]


class MixWorkload(DrawnWorkload):
    """Queries of several classes.

    `arrivals` are divided among the classes at random, in proportion to their shares; a class may
    have arrivals of its own instead. Everything else that is drawn for a class depends on the seed
    and its name alone: another class beside it changes nothing.
    """

    kind: Literal["mix"] = "mix"
    arrivals: Arrivals | None = None
    classes: dict[ClassName, TaskClass] = Field(min_length=1)

    @model_validator(mode="after")
    def _everything_arrives(self) -> MixWorkload:
        for name, each in self.classes.items():
            if each.arrivals is None and self.arrivals is None:
                raise ValueError(f"class {name} needs arrivals, or the mix does")
            if isinstance(each.arrivals or self.arrivals, ClosedLoopArrivals):
                raise ValueError("a mix has no closed loop: use kind synthetic for that")
            if each.arrivals is not None and each.share is not None:
                raise ValueError(f"class {name} has arrivals of its own: it takes no share")
            if isinstance(each.arrivals, AllAtOnceArrivals):
                raise ValueError(f"all_at_once is for the whole mix, not for class {name}")
        if self.arrivals is not None and all(each.arrivals for each in self.classes.values()):
            raise ValueError("every class has arrivals of its own: nobody takes those of the mix")
        return self

    @property
    def slos(self) -> list[Slo]:
        """The latency targets of the classes that have their own."""
        return [each.slo for each in self.classes.values() if each.slo]

    @property
    def priorities(self) -> list[int]:
        """The priority of each class."""
        return [each.priority for each in self.classes.values()]

    def generate(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> RequestBatch:
        """Draws the requests of `seed`; see `Workload.generate`."""
        if self.has_own_end:
            duration_s = self.duration_s
        starts_s = self._starts(seed, duration_s)
        batches, provenance = [], {}
        for name, each in self.classes.items():
            batch = class_batch(
                each,
                seed,
                name,
                starts_s[name],
                session=each.session,
                client=each.client,
                most=self.num_requests,
            )
            batches.append(batch)
            what = "sessions" if each.session else "queries"
            provenance[f"{name}: {what}"] = f"drawn: {self._arrivals_of(name)}"
            provenance |= {f"{name}: {key}": text for key, text in batch.provenance.items()}
        classes = self.classes.items()
        return replace(
            self.bounded(combine(batches), duration_s),
            provenance=provenance,
            class_slo={name: each.slo.targets() for name, each in classes if each.slo},
            class_value_usd={
                name: each.value_usd for name, each in classes if each.value_usd is not None
            },
            class_priority={name: each.priority for name, each in classes if each.priority},
        )

    def _starts(self, seed: int, duration_s: float | None) -> dict[str, NDArray[np.float64]]:
        """When the queries, or sessions, of each class start."""
        starts_s = {
            name: each.arrivals.times(seed, name, count=self.num_requests, duration_s=duration_s)
            for name, each in self.classes.items()
            if each.arrivals is not None
        }
        sharing = self._shares()
        if sharing:
            assert self.arrivals is not None
            all_s = self.arrivals.times(seed, "", count=self.num_requests, duration_s=duration_s)
            below = np.cumsum([*sharing.values()])
            which = np.searchsorted(below[:-1], luck(seed, "class", "", len(all_s)), side="right")
            starts_s |= {name: all_s[which == k] for k, name in enumerate(sharing)}
        return starts_s

    def _shares(self) -> dict[str, float]:
        """What part of the mix's arrivals each class takes that has none of its own; sum 1."""
        sharing = {n: c.share or 1.0 for n, c in self.classes.items() if c.arrivals is None}
        total = sum(sharing.values())
        return {name: share / total for name, share in sharing.items()}

    def _arrivals_of(self, name: str) -> str:
        each = self.classes[name]
        if each.arrivals is not None:
            words = each.arrivals.describe()
        else:
            assert self.arrivals is not None
            words = f"{self._shares()[name]:.3g} of {self.arrivals.describe()}"
        return words.replace("requests/s", "sessions/s") if each.session else words
