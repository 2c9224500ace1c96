"""The continuous families against scipy.stats, their means, and what is refused."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import integrate, stats

from workloads.laws.families import BurrLength, GammaLength, ParetoLength, WeibullLength
from workloads.laws.lognormal import LognormalLength
from workloads.laws.spliced import SplicedLength
from workloads.lengths import LengthLaw

ADAPTER = TypeAdapter(LengthLaw)
SHARED = Path(__file__).parents[2] / "../shared/data/workloads"
LONGEST = 2**31 - 1

FAMILIES = [
    (LognormalLength(mu=6.0, sigma=0.8, min=0), stats.lognorm(0.8, scale=np.exp(6.0))),
    (GammaLength(shape=2.274, scale=3103, min=0), stats.gamma(2.274, scale=3103)),
    (GammaLength(shape=0.3, scale=900, min=0), stats.gamma(0.3, scale=900)),
    (WeibullLength(shape=1.931, scale=12849, min=0), stats.weibull_min(1.931, scale=12849)),
    (WeibullLength(shape=0.5, scale=300, min=0), stats.weibull_min(0.5, scale=300)),
    (ParetoLength(xi=0.387, scale=677.8, min=0), stats.genpareto(0.387, scale=677.8)),
    (
        ParetoLength(xi=0.2, scale=50, location=4000, min=0),
        stats.genpareto(0.2, loc=4000, scale=50),
    ),
    (ParetoLength(xi=0.0, scale=5e4, min=0), stats.expon(scale=5e4)),
    (ParetoLength(xi=-0.5, scale=1e5, min=0), stats.genpareto(-0.5, scale=1e5)),
    (BurrLength(c=3.0, d=1.1, scale=267.7, min=0), stats.burr12(3.0, 1.1, scale=267.7)),
]
each_family = pytest.mark.parametrize(
    ("law", "exact"), FAMILIES, ids=[law.parameters() for law, _ in FAMILIES]
)


@each_family
def test_the_survival_function_is_scipys_half_a_token_on(law, exact):
    k = np.unique(np.geomspace(1, 3e6, 500).astype(np.int64))
    np.testing.assert_allclose(law.survival(k), exact.sf(k + 0.5), rtol=1e-9, atol=1e-300)


@each_family
def test_quantiles_are_scipys_rounded(law, exact):
    u = np.concatenate([(np.arange(3000) + 0.5) / 3000, 1 - np.geomspace(1e-7, 1e-3, 50)])
    value = exact.ppf(u)
    assert np.abs(law.quantile(u) - value).max() <= 0.5 + 1e-6 * value.max()


@each_family
def test_without_bounds_the_mean_is_scipys(law, exact):
    # rounding to the nearest token shifts a mean only where the density is steep
    assert law.mean() == pytest.approx(exact.mean(), rel=1e-5, abs=0.02)


@pytest.mark.parametrize(
    ("law", "exact"),
    [
        (ParetoLength(xi=0.9, scale=600), stats.genpareto(0.9, scale=600)),
        (ParetoLength(xi=2.0, scale=600, max=LONGEST), stats.genpareto(2.0, scale=600)),
        (BurrLength(c=3.0948, d=0.3523, scale=267.72), stats.burr12(3.0948, 0.3523, scale=267.72)),
        (GammaLength(shape=400, scale=1000), stats.gamma(400, scale=1000)),
        (WeibullLength(shape=60, scale=3e6, min=70_000), stats.weibull_min(60, scale=3e6)),
    ],
)
def test_far_above_the_table_the_mean_is_the_integral(law, exact):
    low, high = law.support()
    edges = [0.0, *np.geomspace(low, high, 200)]
    whole = sum(
        integrate.quad(lambda x: max(exact.sf(x), float(x < low)), a, b, epsabs=1e-9)[0]
        for a, b in itertools.pairwise(edges)
    )
    assert law.mean() == pytest.approx(whole, rel=1e-5, abs=0.02)


def test_a_coarse_table_gives_the_same_quantiles_as_a_search():
    """Above 65,536 tokens a length lies between points of a table; the law decides which it is."""
    law = LognormalLength(mu=13.0, sigma=2.0)
    u = (np.arange(2000) + 0.5) / 2000
    lengths = law.quantile(u)
    assert (lengths > 1e6).sum() > 500
    exact = np.exp(stats.norm.ppf(u) * 2.0 + 13.0)
    assert np.abs(lengths - exact).max() <= 0.5 + 1e-9 * exact.max()


def test_a_spliced_law_is_its_body_and_its_tail():
    body = LognormalLength(mu=6.3572, sigma=1.0258)
    law = SplicedLength(
        body=body, threshold=2685.5, tail_probability=0.1, xi=0.131, scale=2872, min=0
    )
    k = np.arange(1, 2685)
    inside = body.exceedance(np.array([2685.5]))[0]
    scaled = 1 - 0.9 * (1 - body.survival(k)) / (1 - inside)
    np.testing.assert_allclose(law.survival(k), scaled, rtol=1e-12)
    assert law.survival(2685) == pytest.approx(0.1, abs=1e-12)  # at the threshold, from the body
    beyond = np.arange(2685, 60_000)
    tail = stats.genpareto(0.131, scale=2872).sf(beyond + 0.5 - 2685.5)
    np.testing.assert_allclose(law.survival(beyond), 0.1 * tail, rtol=1e-9)


def test_the_tail_of_a_spliced_law_is_by_default_as_likely_as_its_body_says():
    body = GammaLength(shape=2.0, scale=500)
    law = SplicedLength(body=body, threshold=1500, xi=0.1, scale=500)
    k = np.arange(1, 1500)
    np.testing.assert_allclose(law.survival(k), body.survival(k), rtol=1e-9)
    assert SplicedLength(body=body, threshold=1500, xi=0.0, scale=1e-3, max=9000).mean() < 1500


def test_tails_fitted_to_deepseek_r1_continue_the_mixture():
    """The published tail above the 90 % quantile, put on the published log-normal mixture."""
    if not (SHARED / "fits.json").is_file():
        pytest.skip("needs ../shared/data/workloads/fits.json, which is absent")
    fits = json.loads((SHARED / "fits.json").read_text())["servegen_r1_thinking"]
    [tail] = [fit for fit in fits["gpd_tail"] if fit["q"] == 0.9]
    mixture = fits["mix3"]
    body = {"weights": mixture["w"], "mu": mixture["mu"], "sigma": mixture["sigma"]}
    spliced = SplicedLength.model_validate(
        {
            "body": {"kind": "lognormal_mixture", **body},
            "threshold": tail["u"],
            "tail_probability": 0.1,
            "xi": tail["xi"],
            "scale": tail["beta"],
            "max": fits["cap"],
        }
    )
    whole = ADAPTER.validate_python({"kind": "lognormal_mixture", **body, "max": fits["cap"]})
    u = np.array([0.5, 0.9, 0.95, 0.99])
    assert spliced.quantile(u) == pytest.approx(whole.quantile(u), rel=0.12)
    assert spliced.mean() == pytest.approx(whole.mean(), rel=0.05)


GAMMA = {"kind": "gamma", "shape": 2.0, "scale": 100.0}
SPLICED = {"kind": "spliced", "body": GAMMA, "threshold": 300, "xi": 0.2, "scale": 80}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**GAMMA, "shape": 0}, "greater than 0"),
        ({**GAMMA, "scale": float("inf")}, "finite"),
        ({**GAMMA, "min": 5, "max": 4}, "below min"),
        ({**GAMMA, "mean": 4}, "Extra inputs"),
        ({"kind": "weibull", "shape": 1.0}, "Field required"),
        ({"kind": "pareto", "xi": 1.0, "scale": 100}, "no finite mean: give it a max"),
        ({"kind": "pareto", "xi": 9.0, "scale": 100, "max": 9}, "less than or equal to 5"),
        ({"kind": "burr", "c": 2.0, "d": 0.5, "scale": 100}, "no finite mean: give it a max"),
        ({**SPLICED, "xi": 1.5}, "no finite mean: give it a max"),
        ({**SPLICED, "body": {**GAMMA, "max": 1000}}, "belong to the spliced law"),
        ({**SPLICED, "body": {**GAMMA, "min": 0}}, "belong to the spliced law"),
        ({**SPLICED, "body": {"kind": "pareto", "xi": 0, "scale": 1}}, "lognormal_mixture"),
        ({**SPLICED, "tail_probability": 1.0}, "less than 1"),
        ({**SPLICED, "threshold": 1e-9}, "never lies below the threshold"),
        ({**SPLICED, "threshold": 1e6}, "never exceeds the threshold of 1e.06: give tail_prob"),
    ],
)
def test_bad_laws_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(content)


def test_a_cap_gives_every_law_a_mean():
    law = ADAPTER.validate_python({"kind": "pareto", "xi": 3.0, "scale": 100, "max": 32768})
    assert law.mean() == pytest.approx(1 + law.survival(np.arange(1, 32768)).sum())
    assert law.survival(32767) > 0.1
