"""What holds for every length law of an experiment, whatever its parameters.

A law that is added to the union without a strategy here fails `test_every_law_is_tested`.
"""

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from simulator.rng import uniforms
from workloads.lengths import LengthLaw
from workloads.presets import length_presets

ADAPTER = TypeAdapter(LengthLaw)
KINDS = [law.model_fields["kind"].default for law in get_args(get_args(LengthLaw)[0])]
DRAWS = 20_000
# One wrong alarm in 1e9 examples: ln(2 / 1e-9).
RARE = math.log(2e9)

seeds = st.integers(-(2**63), 2**63)
mus = st.floats(-2, 12)
sigmas = st.floats(0.01, 3)
shapes = st.floats(0.05, 50)
scales = st.floats(0.1, 1e5)
xis = st.sampled_from([0.0]) | st.floats(-2, 3)


def shares(numbers):
    return [number / sum(numbers) for number in numbers]


@st.composite
def bounds(draw):
    low = draw(st.integers(0, 3000))
    return {"min": low, "max": low + draw(st.integers(0, 40_000))}


def family(**parameters):
    """Mappings of a law with these parameters and bounds."""
    both = st.tuples(st.fixed_dictionaries(parameters), bounds())
    return both.map(lambda pair: pair[0] | pair[1])


@st.composite
def mixtures(draw):
    weights = draw(st.lists(st.integers(1, 100), min_size=1, max_size=4))
    return {
        "weights": shares(weights),
        "mu": [draw(mus) for _ in weights],
        "sigma": [draw(sigmas) for _ in weights],
        **draw(bounds()),
    }


@st.composite
def spliced(draw):
    mu, sigma = draw(mus), draw(sigmas)
    bodies = [
        {"kind": "lognormal", "mu": mu, "sigma": sigma},
        {"kind": "gamma", "shape": 1 / sigma**2, "scale": math.exp(mu) * sigma**2},
        {"kind": "weibull", "shape": 1 / sigma, "scale": math.exp(mu)},
        {"kind": "burr", "c": 2 / sigma, "d": draw(st.floats(0.5, 2)), "scale": math.exp(mu)},
    ]
    return {
        "body": draw(st.sampled_from(bodies)),
        "threshold": math.exp(mu + draw(st.floats(-1.5, 2)) * sigma),
        "tail_probability": draw(st.none() | st.floats(0.001, 0.9)),
        "xi": draw(xis),
        "scale": draw(scales),
        **draw(bounds()),
    }


@st.composite
def histograms(draw):
    bins = draw(st.integers(1, 8))
    widths = draw(st.lists(st.floats(0.3, 9000), min_size=bins, max_size=bins))
    first = draw(st.floats(0, 2000))
    counts = draw(st.lists(st.integers(0, 50), min_size=bins, max_size=bins).filter(any))
    edges = np.concatenate([[first], first + np.cumsum(widths)]).tolist()
    return {"edges": edges, "counts": counts, **draw(bounds())}


@st.composite
def quantiles(draw):
    tokens = sorted(draw(st.lists(st.floats(0, 45_000), min_size=2, max_size=8)))
    repeated = draw(st.booleans())
    if repeated:  # a lump
        tokens[0] = tokens[1]
    steps = draw(st.lists(st.integers(1, 50), min_size=len(tokens) - 1, max_size=len(tokens) - 1))
    below = (np.cumsum([0, *steps]) / sum(steps)).tolist()
    return {"probabilities": below, "tokens": tokens, **draw(bounds())}


@st.composite
def counted(draw):
    tokens = draw(st.lists(st.integers(0, 45_000), min_size=1, max_size=20))
    weight = st.integers(0, 9) | st.floats(0.001, 1)
    weights = st.lists(weight, min_size=len(tokens), max_size=len(tokens)).filter(any)
    return {"tokens": tokens, "weights": draw(st.none() | weights), **draw(bounds())}


STRATEGIES = {
    "constant": st.fixed_dictionaries({"tokens": st.integers(0, 40_000)}),
    "uniform": bounds(),
    "lognormal": family(mu=mus, sigma=sigmas),
    "lognormal_mixture": mixtures(),
    "gamma": family(shape=shapes, scale=scales),
    "weibull": family(shape=shapes, scale=scales),
    "pareto": family(xi=xis, scale=scales, location=st.floats(0, 5000)),
    "burr": family(c=shapes, d=shapes, scale=scales),
    "spliced": spliced(),
    "histogram": histograms(),
    "quantiles": quantiles(),
    "empirical": counted(),
    "preset": st.fixed_dictionaries(
        {"name": st.sampled_from(sorted(length_presets())), "max": st.integers(1, 40_000)}
    ),
}


def test_every_law_is_tested():
    assert set(STRATEGIES) == set(KINDS)


def law_of(data, kind):
    content = {"kind": kind, **data.draw(STRATEGIES[kind])}
    try:
        return ADAPTER.validate_python(content)
    except ValidationError:
        # only a body that lies on one side of the threshold is left to chance
        assert kind == "spliced"
        assume(False)


def column(seed, count, start=0):
    return uniforms(seed, "answer", "default", count, start)[:, 0]


every_law = pytest.mark.parametrize("kind", KINDS)


@every_law
@settings(deadline=None, max_examples=50)
@given(data=st.data(), seed=seeds)
def test_draws_follow_the_law(kind, data, seed):
    law = law_of(data, kind)
    low, high = law.support()
    drawn = law.quantile(column(seed, DRAWS))
    assert drawn.dtype == np.int64
    assert drawn.min() >= low
    assert drawn.max() <= high

    tokens = np.arange(low - 1, high + 1)
    survival = law.survival(tokens)
    assert survival.shape == tokens.shape
    assert survival[0] == 1
    assert survival[-1] == 0
    assert (np.diff(survival) <= 1e-15).all()
    # Dvoretzky-Kiefer-Wolfowitz: the largest gap between the law and what was drawn.
    at_or_below = np.searchsorted(np.sort(drawn), tokens, side="right")
    assert np.abs(1 - at_or_below / DRAWS - survival).max() <= math.sqrt(RARE / (2 * DRAWS))

    # The mean is the sum of the survival function ...
    assert law.mean() == pytest.approx(low + survival[1:].sum(), rel=1e-12, abs=1e-9)
    # ... and that of the draws within its standard error, by Bernstein's bound (which is valid
    # however skewed the law is).
    above_low = np.arange(high - low)
    second_moment = float(((2 * above_low + 1) * survival[1:-1]).sum())
    variance = max(second_moment - (law.mean() - low) ** 2, 0.0)
    tolerance = math.sqrt(2 * variance * RARE / DRAWS) + 2 * (high - low) * RARE / (3 * DRAWS)
    assert abs(drawn.mean() - law.mean()) <= tolerance + 1e-6


@every_law
@settings(deadline=None, max_examples=50)
@given(data=st.data(), seed=seeds)
def test_quantile_and_survival_are_inverse(kind, data, seed):
    """The quantile of u is at most k exactly where P(length <= k) is at least u."""
    check_inverse(law_of(data, kind), seed)


@every_law
@settings(deadline=None, max_examples=15)
@given(data=st.data(), seed=seeds, cap=st.sampled_from([70_000, 10**6, 2**31 - 1]))
def test_they_are_inverse_beyond_the_table_too(kind, data, seed, cap):
    """Above 65,536 tokens quantiles are found by a search, and means by an integral."""
    law = law_of(data, kind)
    if kind == "constant":
        return
    law = ADAPTER.validate_python(law.model_dump(mode="json") | {"max": cap})
    check_inverse(law, seed)
    low, high = law.support()
    if high <= 10**6:
        assert law.mean() == pytest.approx(low + law.survival(np.arange(low, high)).sum(), rel=1e-4)


def check_inverse(law, seed):
    low, high = law.support()
    u = np.sort(np.append(column(seed, 300), [2.0**-53, 1 - 2.0**-53]))
    lengths = law.quantile(u)
    assert (np.diff(lengths) >= 0).all()
    assert (1 - law.survival(lengths) >= u).all()
    shorter = lengths[lengths > low] - 1
    assert (1 - law.survival(shorter) < u[lengths > low]).all()

    k = np.linspace(low, high, 50).astype(np.int64)
    reached = 1 - law.survival(k)
    inside = (reached > 0) & (reached < 1)
    assert (law.quantile(reached[inside]) <= k[inside]).all()
    just_above = np.nextafter(reached[inside], 1)
    at_most_k = law.quantile(just_above) <= k[inside]
    assert not at_most_k.any()


@every_law
@settings(deadline=None, max_examples=30)
@given(data=st.data(), seed=seeds, start=st.integers(0, 2**40), count=st.integers(1, 50))
def test_a_length_depends_only_on_its_own_uniform(kind, data, seed, start, count):
    law = law_of(data, kind)
    whole = law.quantile(column(seed, 60, start))
    assert np.array_equal(law.quantile(column(seed, count, start)), whole[:count])
    assert law.quantile(column(seed, 1, start + 59))[0] == whole[59]


@every_law
@settings(deadline=None, max_examples=30)
@given(data=st.data(), seed=seeds, part=st.floats(0, 1))
def test_a_lower_cap_cuts_and_moves_nothing_else(kind, data, seed, part):
    if kind in ("constant", "uniform"):  # their numbers are not caps
        return
    law = law_of(data, kind)
    low, high = law.support()
    floor = getattr(law, "min", low)
    cap = max(floor, int(low + part * (high - low)))
    capped = ADAPTER.validate_python(law.model_dump(mode="json") | {"max": cap})
    u = column(seed, 500)
    assert np.array_equal(capped.quantile(u), np.minimum(law.quantile(u), cap))
    assert capped.mean() <= law.mean() * (1 + 1e-12)


@every_law
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_law_survives_being_written_down(kind, data):
    law = law_of(data, kind)
    again = ADAPTER.validate_python(law.model_dump(mode="json"))
    assert again == law
    assert hash(again) == hash(law)
    assert "token" in law.describe()
