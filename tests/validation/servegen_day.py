"""How far generated days of DeepSeek-R1 traffic are from their source.

    python -m tests.validation.servegen_day WINDOWS LENGTHS --seeds 10

prints the table of docs/workloads.md; the functions serve the tests as well.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from scipy.special import gamma as gamma_function

from workloads.batch import RequestBatch
from workloads.population import Population, PopulationWorkload, read_population
from workloads.processes.gaps import weibull_shape

from .renewal_counts import gamma_count_variance, simulated_counts

PROBABILITIES = np.array([0.5, 0.9, 0.99])
KINDS = ("prompt", "thinking", "answer")


def count_variances(population: Population) -> np.ndarray:
    """Variance of each ten minutes' requests, summed over clients: float64[144].

    By transform inversion for gamma gaps; for Weibull gaps, whose transform has no closed form,
    from 200 simulated windows each.
    """
    rng = np.random.default_rng(0)
    total = np.zeros(population.windows)
    for client in population.clients:
        mean = client.rate_rps * 600
        variance = gamma_count_variance(mean, client.cv)
        for i, family in enumerate(client.family):
            if family == "weibull":
                variance[i] = simulated_counts(rng, mean[i], client.cv[i], family, 200).var()
        np.add.at(total, client.window, variance)
    return total


def source_pmfs(population: Population) -> dict[str, np.ndarray]:
    """Shares of each length, of prompts, thinking and answers, clients weighted by their requests.

    Thinking is output x ratio, the two independent, ratios at the middle of their bins.
    """
    prompt, thinking, answer = np.zeros(1 << 16), np.zeros(1 << 15), np.zeros(1 << 15)
    weights = {}
    for client in population.clients:
        for window, rate in zip(client.window, client.rate_rps, strict=True):
            lengths, published = client.lengths_at(int(window))
            assert published
            weights[lengths] = weights.get(lengths, 0.0) + rate
    for lengths, weight in weights.items():
        prompt[lengths.prompt.tokens] += weight * lengths.prompt.share
        output, share = lengths.output.tokens[:, None], lengths.ratio.share
        occurs = np.flatnonzero(share)
        tokens = np.minimum(np.rint(output * (occurs + 0.5) / len(share)), output - 1).astype(int)
        joint = (weight * lengths.output.share[:, None] * share[occurs]).ravel()
        thinking += np.bincount(tokens.ravel(), joint, len(thinking))
        answer += np.bincount((output - tokens).ravel(), joint, len(answer))
    return {"prompt": prompt, "thinking": thinking, "answer": answer}


def hour_z(population: Population, variances: np.ndarray, day: RequestBatch) -> np.ndarray:
    """Requests of each hour, in standard deviations from what the source expects: float64[24]."""
    expected = population.expected_requests().reshape(24, 6).sum(axis=1)
    deviation = np.sqrt(variances.reshape(24, 6).sum(axis=1))
    counts = np.bincount((day.arrival_s // 3600).astype(int), minlength=24)
    return np.asarray((counts - expected) / deviation)


def quantile_misses(pmf: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Generated over source, less 1, at `PROBABILITIES`."""
    below = np.cumsum(pmf)
    expected = np.searchsorted(below, PROBABILITIES * below[-1])
    return np.asarray(np.quantile(tokens, PROBABILITIES) / expected - 1.0)


def cv_z(population: Population, day: RequestBatch) -> np.ndarray:
    """CV of the gaps of each large window, in standard errors from the published one.

    Windows with at least 60 (1 + cv^2) requests, where a sample CV is about normal.
    Of n gaps with skewness g and kurtosis k its variance is cv^2 ((k - 1) / 4 - g cv + cv^2) / n.
    """
    z = []
    for number, client in enumerate(population.clients):
        own = day.arrival_s[day.client_id == number]
        starts = np.searchsorted(own, np.arange(population.windows + 1) * 600.0)
        for window, cv, family in zip(client.window, client.cv, client.family, strict=True):
            gaps = np.diff(own[starts[window] : starts[window + 1]])
            if len(gaps) < 60 * (1 + cv**2):
                continue
            skew, kurtosis = shape_of_gaps(float(cv), family)
            error = cv * math.sqrt(((kurtosis - 1) / 4 - skew * cv + cv**2) / len(gaps))
            z.append((gaps.std() / gaps.mean() - cv) / error)
    return np.array(z)


def shape_of_gaps(cv: float, family: str) -> tuple[float, float]:
    """Skewness and kurtosis of gaps with this CV."""
    if family == "gamma":
        return 2 * cv, 3 + 6 * cv**2
    k = float(weibull_shape(cv))
    m1, m2, m3, m4 = (gamma_function(1 + i / k) for i in (1, 2, 3, 4))
    sd = math.sqrt(m2 - m1**2)
    skew = (m3 - 3 * m1 * m2 + 2 * m1**3) / sd**3
    return skew, (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / sd**4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("windows", type=Path)
    parser.add_argument("lengths", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    population = read_population(options.windows, options.lengths)
    variances, pmfs = count_variances(population), source_pmfs(population)
    expected = population.expected_requests().sum()
    workload = PopulationWorkload(
        windows_path=str(options.windows), lengths_path=str(options.lengths)
    )
    totals, hours, gaps = [], [], []
    misses: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for seed in range(options.seeds):
        day = workload.generate(seed)
        totals.append(len(day) / expected - 1.0)
        hours.append(hour_z(population, variances, day))
        gaps.append(cv_z(population, day))
        for kind in KINDS:
            misses[kind].append(quantile_misses(pmfs[kind], getattr(day, f"{kind}_tokens")))
    z = np.abs(np.concatenate(hours))
    print(f"requests of the day   {min(totals):+.2%} to {max(totals):+.2%}")
    print(f"requests of an hour   {(z < 3).sum()} of {len(z)} within 3 sd, worst {z.max():.2f}")
    for kind in KINDS:
        worst = np.abs(misses[kind]).max(axis=0)
        print(f"{kind:9} p50 p90 p99  " + ", ".join(f"{miss:.2%}" for miss in worst) + " at worst")
    means, sds = [each.mean() for each in gaps], [each.std() for each in gaps]
    print(f"CV of a window, z     mean {min(means):+.2f} to {max(means):+.2f}, "
          f"sd {min(sds):.2f} to {max(sds):.2f}, {len(gaps[0])} windows")  # fmt: skip


if __name__ == "__main__":
    main()
