"""What the residuals of a GPU profile's fits say about the figures of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ExpectedError:
    """Relative errors to expect from the kernels' fits, not from anything else.

    `iteration_time`: standard deviation of the relative error of the time of a pool's mean
    iteration, by the pool's name; None where it ran nothing. `bands`: figure of the summary -> 5th
    and 95th percentile of it over `draws` runs with drawn iteration times, relative to the run
    itself, as in (-0.03, 0.04).
    """

    iteration_time: dict[str, float | None] = field(default_factory=dict)
    draws: int = 0
    bands: dict[str, tuple[float, float]] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """As it stands in summary.json; of several pools the one with the largest error counts."""
        known = [error for error in self.iteration_time.values() if error is not None]
        return {
            "iteration_time_relative_sd": max(known, default=None),
            "calibration_draws": self.draws,
            "p5_to_p95": {figure: list(band) for figure, band in self.bands.items()},
        }
