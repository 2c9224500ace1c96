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

from workloads.law import Law
from workloads.schema import Section

Coefficient = Annotated[float, Field(gt=-1, lt=1)]

_SMALLEST, _LARGEST = 2.0**-53, 1.0 - 2.0**-53  # as `simulator.rng.uniforms` gives them
_QUANTILES = 1 << 16


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
    """The part of a length's variance that its problem decides, as intraclass correlation.

    `within_sigma` is the standard deviation of the natural logarithm of lengths within a problem;
    that of all lengths is the law's (0 tokens counted as 1). Returns
    max(0, 1 - (within_sigma / sd)^2), in [0, 1): of normal scores, exact for a log-normal.
    """
    middle = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    sigma = float(np.std(np.log(np.maximum(law.quantile(middle), 1))))
    return 1.0 - (within_sigma / sigma) ** 2 if sigma > within_sigma else 0.0


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

    inside: NDArray[np.float64] = np.clip(ndtr(score), _SMALLEST, _LARGEST)
    return inside
