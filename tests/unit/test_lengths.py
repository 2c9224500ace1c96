import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from simulator.rng import uniforms
from workloads.lengths import (
    ConstantLength,
    LengthLaw,
    LognormalLength,
    LognormalMixtureLength,
    PresetLength,
    UniformLength,
)
from workloads.presets import length_presets
from workloads.synthetic import draw_lengths

ADAPTER = TypeAdapter(LengthLaw)
SHARED = Path(__file__).parents[2] / "../shared/data/workloads"


def grid(n):
    """Quantiles (i + 1/2)/n: averages over them miss the mean by at most (max - min)/(2 n)."""
    return (np.arange(n) + 0.5) / n


def test_constant():
    law = ConstantLength(tokens=7)
    assert law.quantile(uniforms(0, "prompt", "", 3)[:, 0]).tolist() == [7, 7, 7]
    assert law.mean() == 7
    assert law.survival([6, 7, 8]).tolist() == [1, 0, 0]


def test_uniform_includes_both_ends_equally():
    law = UniformLength(min=3, max=6)
    drawn = law.quantile(grid(4000))
    assert np.bincount(drawn).tolist() == [0, 0, 0, 1000, 1000, 1000, 1000]
    assert law.mean() == 4.5
    assert law.survival([2, 3, 5, 6]).tolist() == [1, 0.75, 0.25, 0]
    edges = np.array([2.0**-53, 1 - 2.0**-53])
    assert law.quantile(edges).tolist() == [3, 6]


@pytest.mark.parametrize("bounds", [(1, 32768), (200, 4000), (1, 70_000), (100, 100)])
@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 0.5), (6.0, 0.8), (8.0, 1.5), (11.0, 0.5)])
def test_lognormal_mean_is_that_of_the_draws(bounds, mu, sigma):
    low, high = bounds
    law = LognormalLength(mu=mu, sigma=sigma, min=low, max=high)
    n = 400_000
    drawn = law.quantile(grid(n))
    assert drawn.min() >= low
    assert drawn.max() <= high
    assert abs(drawn.mean() - law.mean()) <= (high - low) / (2 * n) + 1e-9


def test_lognormal_is_rounded_to_the_nearest_token():
    law = LognormalLength(mu=np.log(10.0), sigma=1e-6)
    assert law.quantile(grid(100)).tolist() == [10] * 100
    law = LognormalLength(mu=np.log(10.5), sigma=1e-9)
    assert law.survival([9, 10, 11]) == pytest.approx([1, 0.5, 0])


def test_lognormal_without_a_cap_has_the_textbook_mean():
    mu, sigma = 9.0, 0.9
    assert LognormalLength(mu=mu, sigma=sigma).mean() == pytest.approx(
        np.exp(mu + sigma**2 / 2), rel=1e-6
    )


def test_the_closed_form_above_65536_tokens_continues_the_sum():
    law = LognormalLength(mu=10.5, sigma=1.0, max=300_000)
    token_by_token = law.min + law.survival(np.arange(law.min, law.max)).sum()
    assert law.mean() == pytest.approx(token_by_token, abs=1e-5)
    beyond = LognormalLength(mu=12.0, sigma=0.1, min=100_000, max=300_000)
    token_by_token = beyond.min + beyond.survival(np.arange(beyond.min, beyond.max)).sum()
    assert beyond.mean() == pytest.approx(token_by_token, abs=1e-5)


def test_the_widest_laws_neither_overflow_nor_leave_the_limit():
    law = LognormalLength(mu=30.0, sigma=10.0)
    drawn = law.quantile(grid(1000))
    assert drawn.max() == 2**31 - 1
    assert np.isfinite(law.mean())
    narrow = LognormalLength(mu=-20.0, sigma=0.1, min=0)
    assert narrow.quantile(grid(10)).max() == 0
    assert narrow.mean() == 0


def test_a_mixture_of_one_is_a_lognormal():
    u = uniforms(0, "answer", "default", 1000)[:, 0]
    alone = LognormalLength(mu=5.0, sigma=1.0, max=900)
    mixed = LognormalMixtureLength(weights=[1.0], mu=[5.0], sigma=[1.0], max=900)
    assert np.array_equal(alone.quantile(u), mixed.quantile(u))
    assert alone.mean() == mixed.mean()


def test_mixture_components_come_up_by_their_weights():
    law = LognormalMixtureLength(weights=[0.2, 0.5, 0.3], mu=[2, 5, 8], sigma=[0.1, 0.1, 0.1])
    drawn = law.quantile(grid(10_000))
    near = [np.abs(np.log(drawn) - mu) < 0.7 for mu in (2, 5, 8)]
    assert [part.sum() for part in near] == [2000, 5000, 3000]


@pytest.mark.parametrize("name", sorted(length_presets()))
def test_presets_draw_their_mean_and_stay_below_the_cap(name):
    law = PresetLength(name=name)
    n = 200_000
    drawn = law.quantile(uniforms(11, "thinking", "default", n)[:, 0])
    assert drawn.min() >= 1
    assert drawn.max() <= 32768
    assert abs(drawn.mean() - law.mean()) < 4 * drawn.std() / np.sqrt(n)


@pytest.mark.parametrize(
    ("column", "fit"),
    [
        ("thinking", "servegen_r1_thinking"),
        ("answer", "servegen_r1_answer"),
        ("prompt", "servegen_r1_input"),
    ],
)
def test_presets_are_the_published_fits(column, fit):
    if not (SHARED / "fits.json").is_file():
        pytest.skip("needs ../shared/data/workloads/fits.json, which is absent")
    published = json.loads((SHARED / "fits.json").read_text())[fit]["mix3"]
    preset = length_presets()[f"deepseek_r1_api.{column}"]
    assert preset["weights"] == published["w"]
    assert preset["mu"] == published["mu"]
    assert preset["sigma"] == published["sigma"]


def test_a_preset_can_be_capped_lower():
    law = PresetLength(name="deepseek_r1_api.thinking", max=1000)
    assert law.support() == (1, 1000)
    u = uniforms(0, "thinking", "default", 5000)[:, 0]
    drawn = law.quantile(u)
    whole = PresetLength(name="deepseek_r1_api.thinking").quantile(u)
    assert np.array_equal(drawn, np.minimum(whole, 1000))
    assert law.mean() < PresetLength(name="deepseek_r1_api.thinking").mean()


MIXTURE = {"kind": "lognormal_mixture", "weights": [0.5, 0.5], "mu": [1, 2], "sigma": [1, 1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**MIXTURE, "weights": [0.5, 0.4]}, "sum to 0.9"),
        ({**MIXTURE, "weights": [1.5, -0.5]}, "greater than 0"),
        ({**MIXTURE, "mu": [1]}, "2, 1 and 2"),
        ({**MIXTURE, "sigma": [1, 0]}, "greater than 0"),
        ({**MIXTURE, "sigma": [1, "1"]}, "valid number"),
        ({**MIXTURE, "weights": []}, "sum to 0"),
        ({**MIXTURE, "min": 10, "max": 9}, "below min"),
        ({**MIXTURE, "cap": 9}, "Extra inputs"),
        ({"kind": "lognormal", "mu": float("nan"), "sigma": 1}, "finite number"),
        ({"kind": "uniform", "min": 5, "max": 4}, "below min"),
        ({"kind": "constant", "tokens": -1}, "greater than or equal to 0"),
        ({"kind": "constant", "tokens": 1.5}, "valid integer"),
        ({"kind": "constant", "tokens": True}, "valid integer"),
        ({"kind": "preset", "name": "r1"}, "known: deepseek_r1_api.answer"),
        ({"kind": "preset", "name": "deepseek_r1_api.answer", "max": 0}, "below min"),
        ({"kind": "zipf"}, "lognormal_mixture"),
    ],
)
def test_bad_laws_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(content)


def test_the_schema_lists_the_presets():
    names = ADAPTER.json_schema()["$defs"]["PresetLength"]["properties"]["name"]["enum"]
    assert sorted(names) == sorted(length_presets())


def test_draws_are_the_same_however_they_are_asked_for(monkeypatch):
    law = LognormalLength(mu=6.0, sigma=1.0, max=9000)
    whole = draw_lengths(law, 3, "thinking", "chat", 500)
    assert np.array_equal(whole[:77], draw_lengths(law, 3, "thinking", "chat", 77))
    again = draw_lengths(law, 3, "thinking", "chat", 500, sample=1)
    assert abs(np.corrcoef(np.log(whole), np.log(again))[0, 1]) < 5 / np.sqrt(500)
    assert not np.array_equal(whole, draw_lengths(law, 3, "thinking", "code", 500))
    monkeypatch.setattr("simulator.rng._ROWS_AT_ONCE", 33)  # however it is cut in pieces
    assert np.array_equal(whole, draw_lengths(law, 3, "thinking", "chat", 500))
    assert np.array_equal(again, draw_lengths(law, 3, "thinking", "chat", 500, sample=1))
