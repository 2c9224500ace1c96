import json

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.errors import InputError
from simulator.quality import majority
from simulator.quality.presets import BenchmarkPreset, QualityPreset, find_preset, presets
from simulator.quality.reproduction import FITTED_TO, check_votes, vote_errors

ALL = [(p.name, name, each) for p in presets().values() for name, each in p.benchmarks.items()]
FIGURES = ("curve", "accuracy", "pass_at_1", "reference_tokens", "rho", "dominant_share")


def test_the_models_asked_for_are_there():
    wanted = {"s1-32b", "deepseek-r1", "qwq-32b-preview", "o1", "o3-mini", "deepseek-v3", "gpt-4o"}
    wanted |= {f"r1-distill-{size}" for size in ("qwen-1.5b", "qwen-7b", "qwen-14b", "qwen-32b")}
    wanted |= {"r1-distill-llama-8b", "r1-distill-llama-70b"}
    assert wanted <= set(presets())
    for name in ("s1-32b", "deepseek-r1", "r1-distill-qwen-32b", "gpt-4o"):
        assert {"aime24", "math500", "gpqa-diamond"} <= set(presets()[name].benchmarks)


@pytest.mark.parametrize(("model", "name", "each"), ALL, ids=[f"{m}/{n}" for m, n, _ in ALL])
def test_a_preset_is_whole(model, name, each):
    given = [figure for figure in FIGURES if getattr(each, figure) is not None]
    missing = set(given) - set(each.sources) - ({"pass_at_1"} if each.accuracy else set())
    assert not missing
    built = each.build()
    if each.pass_at_1 is not None:
        at = each.reference_tokens or 0
        assert built.accuracy(at) == pytest.approx(each.pass_at_1, abs=1e-3)
    if each.points == 1:
        assert not each.identified
        assert "shape of s1-32b" in each.sources["curve"]
        lender = find_preset(f"s1-32b/{'aime24' if name.startswith('aime') else name}").curve
        assert each.curve.steepness == lender.steepness
    assert np.all(np.diff(built.accuracy(np.geomspace(10, 1e6, 99))) >= 0)


def test_votes_of_the_five_larger_distills():
    """One rho and one dominant share for all five: within 9 points, and 6 on average."""
    rows = [row for row in check_votes() if row["preset"] in FITTED_TO]
    assert len(rows) == 5
    assert (
        len({(find_preset(r["preset"]).rho, find_preset(r["preset"]).dominant_share) for r in rows})
        == 1
    )
    errors = vote_errors(check_votes())
    fitted, others = errors["fitted to (5)"], errors["not fitted to (7)"]
    assert fitted["largest"] <= 9
    assert fitted["mean"] <= 6
    assert others["mean"] <= 7
    assert fitted["independent_mean"] > 15


def test_how_wrong_independent_votes_are():
    by_name = {row["preset"]: row for row in check_votes()}
    seven, fourteen = (by_name[f"r1-distill-qwen-{size}/aime24"] for size in ("7b", "14b"))
    assert (seven["independent"], seven["measured"]) == (77.7, 83.3)
    assert (fourteen["independent"], fourteen["measured"]) == (99.9, 80.0)


def test_overthinking_is_in_the_preset_that_measured_it():
    model = find_preset("r1-distill-ghosal").build()
    assert model.accuracy(15_980, forced=True) == pytest.approx(0.703, abs=1e-3)
    assert model.accuracy(15_980) > 0.92
    s1 = find_preset("s1-32b/aime24").build()
    assert s1.accuracy(1e6, forced=True) == s1.accuracy(1e6)


def test_found_by_name():
    assert find_preset("o3-mini") is presets()["o3-mini"].benchmarks["aime25-i"]
    with pytest.raises(InputError, match=r"unknown quality preset 'gpt-9'; known: deepseek-r1, "):
        find_preset("gpt-9")
    with pytest.raises(InputError, match=r"no benchmark 'aime23'; choose s1-32b/\{aime24,"):
        find_preset("s1-32b/aime23")
    with pytest.raises(InputError, match="several benchmarks"):
        find_preset("s1-32b")


@pytest.mark.parametrize(
    "change",
    [
        {"curve": {"floor": 0.5, "ceiling": 0.4, "half_tokens": 100}},
        {"curve": {"ceiling": 1.4, "half_tokens": 100}},
        {"curve": {"ceiling": 0.4, "half_tokens": 0}},
        {"curve": {"ceiling": 0.4, "half_tokens": 10, "steepness": 0}},
        {"accuracy": 0.5, "curve": {"ceiling": 0.4, "half_tokens": 10}},
        {},
        {"accuracy": 0.5, "rho": 1.0},
        {"accuracy": 0.5, "dominant_share": -0.1},
        {"accuracy": float("nan")},
        {"accuracy": 0.5, "shape": 3},
    ],
)
def test_bad_presets(change):
    with pytest.raises(ValidationError):
        BenchmarkPreset.model_validate({"identified": True, "sources": {}} | change)


def test_a_preset_needs_a_benchmark():
    with pytest.raises(ValidationError):
        QualityPreset.model_validate_json(json.dumps({"name": "x", "model": "x", "benchmarks": {}}))


def test_unfitted_accuracy_is_the_preset_s_own():
    model = find_preset("gpt-4o/aime24").build()
    assert model.accuracy([0, 10_000]).tolist() == [0.093, 0.093]
    assert 0.093 < majority(64, 0.093, model.rho, model.dominant_share) < 0.25
