"""Dependence between lengths that leaves every law what it is: Gaussian copulas.

A length is the quantile of a uniform. The normal score of a uniform u is Phi^-1(u); here scores
are made correlated, and each stays standard normal, so each length keeps its law and its mean.
One uniform for several lengths would tie them completely, which no traffic shows.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workloads.laws.law import Law
from workloads.schema import Section

Coefficient = Annotated[float, Field(gt=-1, lt=1)]

_SMALLEST, _LARGEST = 2.0**-53, 1.0 - 2.0**-53  # as `simulator.rng.uniforms` gives them
_POINTS, _REACH = 1 << 15, 9.0  # of scores: so many, from -9 to 9


class Correlation(Section):
    """Correlations of the normal scores of prompt, thinking and answer lengths.

    Rank correlations (Spearman) follow: 6/pi asin(r/2). No public data hold all three lengths of
    single requests of a reasoning model, so all are 0 unless you know better.
    """

    prompt_thinking: Coefficient = 0.0
    prompt_answer: Coefficient = 0.0
    thinking_answer: Coefficient = 0.0

    @model_validator(mode="after")
    def _possible(self) -> Correlation:
        pt, pa, ta = self.prompt_thinking, self.prompt_answer, self.thinking_answer
        if 1.0 + 2.0 * pt * pa * ta - pt**2 - pa**2 - ta**2 <= 1e-12:
            raise ValueError(
                f"no three lengths can be correlated like this: prompt_thinking {pt:g}, "
                f"prompt_answer {pa:g} and thinking_answer {ta:g} contradict each other"
            )
        return self

    def correlate(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Uniforms float64[n, 3] with these correlations from independent ones in (0, 1).

        Columns are prompt, thinking and answer. A column that depends on none before it is
        returned as it is, bit for bit; the first always.
        """
        pt, pa, ta = self.prompt_thinking, self.prompt_answer, self.thinking_answer
        if pt == pa == ta == 0.0:
            return uniforms
        from scipy.special import ndtri

        score = ndtri(uniforms)
        out = uniforms.copy()
        # The Cholesky factor, written out: sums by BLAS could depend on the number of rows.
        rest = math.sqrt(1.0 - pt**2)
        given = (ta - pt * pa) / rest
        if pt != 0.0:
            out[:, 1] = _uniform(pt * score[:, 0] + rest * score[:, 1])
        if pa != 0.0 or given != 0.0:
            own = math.sqrt(1.0 - pa**2 - given**2)
            out[:, 2] = _uniform(pa * score[:, 0] + given * score[:, 1] + own * score[:, 2])
        return out


@lru_cache(maxsize=256)
def split_variance(law: Law, within_sigma: float = 0.3) -> float:
    """How much of a length its problem decides: the correlation of normal scores, in [0, 1].

    Such that the natural logarithms of lengths of one problem have the standard deviation
    `within_sigma` (root mean square over problems; 0 tokens counted as 1). For a log-normal this is
    the intraclass correlation of the logarithm, 1 - (within_sigma / sigma)^2. If the law itself
    is not wider than that, 0: the problem decides nothing.

    For any other law, f(z) = ln quantile(Phi(z)): scores of a problem of score x are normal around
    sqrt(r) x with variance 1 - r, so its mean is f smoothed by that normal, taken at sqrt(r) x. The
    r is returned whose means have the variance that is not within problems: right to 1e-6 where f
    is smooth; where f leaps from mode to mode a `within_sigma` of 0.03 is still met within 2 %.
    """
    from scipy.special import ndtr

    step = 2.0 * _REACH / _POINTS
    score = step * (np.arange(_POINTS, dtype=np.float64) + 0.5) - _REACH
    logarithm = np.log(np.maximum(law.quantile(_inside(ndtr(score))), 1))
    variance = _variance(logarithm, score)
    if variance <= within_sigma**2:
        return 0.0
    if within_sigma == 0.0:
        return 1.0
    spectrum = np.fft.rfft(logarithm)
    frequency = 2.0 * np.pi * np.fft.rfftfreq(_POINTS, step)

    low, high = 0.0, 1.0
    while high - low > 1e-9:
        r = (low + high) / 2
        # cyclic, but where ends meet in the smoothing the scores of problems have no weight
        smooth = np.fft.irfft(spectrum * np.exp(-(1.0 - r) / 2 * frequency**2), _POINTS)
        if _variance(smooth, score / math.sqrt(r)) < variance - within_sigma**2:
            low = r
        else:
            high = r
    return high


def _variance(values: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    """Of values given at evenly spaced normal scores."""
    weight = np.exp(-(score**2) / 2)
    mean, square = (float((weight * power).sum()) for power in (values, values**2))
    total = float(weight.sum())
    return square / total - (mean / total) ** 2


def problem_and_sample_uniforms(
    problem: NDArray[np.float64], sample: NDArray[np.float64], icc: float
) -> NDArray[np.float64]:
    """One uniform a sample, float64[n]: scores are sqrt(icc) problem's + sqrt(1 - icc) sample's.

    `problem` and `sample`: independent uniforms float64[n] in (0, 1). Samples of one problem
    then have scores of correlation `icc`, in [0, 1], and every length keeps its law.
    """
    if icc <= 0.0:
        return sample
    if icc >= 1.0:
        return problem
    from scipy.special import ndtri

    return _uniform(math.sqrt(icc) * ndtri(problem) + math.sqrt(1.0 - icc) * ndtri(sample))


def _uniform(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phi(score), inside (0, 1)."""
    from scipy.special import ndtr

    return _inside(ndtr(score))


def _inside(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped: NDArray[np.float64] = np.clip(uniform, _SMALLEST, _LARGEST)
    return clipped
