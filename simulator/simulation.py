"""A run that is over, on its way from the engine to the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.cluster.outcome import Outcome
from simulator.expected_error import ExpectedError
from simulator.labels import Labels, PoolLabel
from simulator.metrics.pool_costs import PoolCosts
from simulator.metrics.window import Window

if TYPE_CHECKING:
    from simulator.result import Result


@dataclass(frozen=True)
class Simulation:
    """A run that is over, not yet looked at: plain arrays and settings, light to hand around."""

    outcome: Outcome
    window: Window
    labels: Labels
    pools: tuple[PoolLabel, ...]
    capacity_rps: float | None
    notes: list[str]
    name: str
    seed: int
    slo: dict[str, float]
    experiment: dict[str, Any]
    provenance: dict[str, Any]
    expected_error: ExpectedError = field(default_factory=ExpectedError)
    closed_loop: bool = False
    demand_rps: float | None = None
    costs: tuple[PoolCosts, ...] = ()

    def result(self) -> Result:
        """The tables, metrics and summary of the run."""
        from simulator.metrics.recorder import record_run
        from simulator.result import Result

        record = record_run(
            self.outcome,
            self.window,
            self.labels,
            pools=self.pools,
            capacity_rps=self.capacity_rps,
            notes=self.notes,
            seed=self.seed,
            name=self.name,
            slo=self.slo,
            expected_error=self.expected_error,
            closed_loop=self.closed_loop,
            demand_rps=self.demand_rps,
            costs=self.costs,
        )
        return Result(record, self.experiment, self.provenance)
