"""Moments and percentiles of a quantity known only by its counts in logarithmic bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.metrics.intervals import BATCHES, ratio_half_width

_NAN = float("nan")


@dataclass(frozen=True)
class LogHistogram:
    """Counts of positive values in bins, each taken to be spread evenly in the logarithm.

    `edges_s` float64 `[bins + 1]`, positive and increasing (seconds here, but any unit works);
    `counts` `[bins]`, non-negative. A percentile is exact to the width of the bin it falls in.
    Raises ValueError if the shapes or edges are not so.
    """

    edges_s: np.ndarray
    counts: np.ndarray

    def __post_init__(self) -> None:
        edges, counts = self.edges_s, self.counts
        if edges.ndim != 1 or counts.shape != (len(edges) - 1,):
            raise ValueError(f"{len(edges)} edges need {len(edges) - 1} counts, not {counts.shape}")
        if not (np.isfinite(edges).all() and edges[0] > 0 and (np.diff(edges) > 0).all()):
            raise ValueError("bin edges must be finite, positive and increasing")
        if (counts < 0).any():
            raise ValueError("counts must not be negative")

    @cached_property
    def total(self) -> float:
        """Number of values counted."""
        return float(self.counts.sum())

    @property
    def relative_bin_width(self) -> float:
        """Upper over lower edge, less one, of the widest bin: the precision of a percentile."""
        return float((self.edges_s[1:] / self.edges_s[:-1]).max() - 1)

    @cached_property
    def bin_means_s(self) -> np.ndarray:
        """Mean of the values of each bin, float64 `[bins]`: (b - a)/ln(b/a) for a bin [a, b)."""
        low, high = self.edges_s[:-1], self.edges_s[1:]
        means: np.ndarray = (high - low) / np.log(high / low)
        return means

    def mean(self) -> float:
        """Mean of the counted values; NaN if there are none."""
        return float(self.bin_means_s @ self.counts) / self.total if self.total else _NAN

    def std(self) -> float:
        """Standard deviation (of the population, as numpy's default); NaN if nothing is counted."""
        if not self.total:
            return _NAN
        low, high = self.edges_s[:-1], self.edges_s[1:]
        squares = (high**2 - low**2) / (2 * np.log(high / low))
        second = float(squares @ self.counts) / self.total
        return float(np.sqrt(max(second - self.mean() ** 2, 0.0)))

    def percentile(self, percent: float) -> float:
        """The value below which `percent` % of the counted values lie; NaN if there are none."""
        if not self.total:
            return _NAN
        filled = np.flatnonzero(self.counts)
        reached = np.cumsum(self.counts[filled], dtype=np.float64)
        target = percent / 100 * self.total
        at = min(int(np.searchsorted(reached, target)), len(filled) - 1)
        count = float(self.counts[filled[at]])
        inside = min(max((target - (reached[at] - count)) / count, 0.0), 1.0)
        low, high = self.edges_s[filled[at]], self.edges_s[filled[at] + 1]
        return float(low * (high / low) ** inside)

    def mean_half_width(self, slices: np.ndarray, confidence: float = 0.95) -> float:
        """Half-width of the interval of the mean, from the counts per slice of time.

        `slices` `[slices, bins]`: the same histogram cut into consecutive slices, which serve as
        batches (see `simulator.metrics.intervals`). NaN unless `BATCHES` of them hold something.
        """
        weights = slices.sum(axis=1).astype(np.float64)
        if np.count_nonzero(weights) < BATCHES:
            return _NAN
        return ratio_half_width(slices @ self.bin_means_s, weights, confidence)

    def percentile_half_widths(
        self, slices: np.ndarray, percents: Sequence[float], confidence: float = 0.95
    ) -> list[float]:
        """Longer arm of the interval of each percentile, from the counts per slice of time.

        NaN as in `mean_half_width`, and where the interval is not bounded by the counted values.
        """
        weights = slices.sum(axis=1).astype(np.float64)
        if np.count_nonzero(weights) < BATCHES:
            return [_NAN] * len(percents)
        result = []
        for percent in percents:
            value = self.percentile(percent)
            reach = 100 * ratio_half_width(self._below(slices, value), weights, confidence)
            if percent - reach <= 0 or percent + reach >= 100:
                result.append(_NAN)
            else:
                low, high = self.percentile(percent - reach), self.percentile(percent + reach)
                result.append(max(high - value, value - low))
        return result

    def _below(self, slices: np.ndarray, value: float) -> np.ndarray:
        """How many of each slice's counts lie below `value`, the bin it falls in shared out."""
        at = min(int(np.searchsorted(self.edges_s, value, side="right")) - 1, slices.shape[1] - 1)
        low, high = self.edges_s[at], self.edges_s[at + 1]
        inside = np.log(value / low) / np.log(high / low)
        below: np.ndarray = slices[:, :at].sum(axis=1) + inside * slices[:, at]
        return below
