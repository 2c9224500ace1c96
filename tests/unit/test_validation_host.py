"""Host constants: set for a run, and found again from runs made with known ones."""

from dataclasses import replace

import pytest
import yaml

from hardware_profiles.profile import load_gpu, read_profile
from simulator import InputError, load_experiment, run
from simulator.exports.vllm_json import vllm_bench_result, write_json
from simulator.studies.validation import predict
from simulator.studies.validation.bench import read_bench
from simulator.studies.validation.fit_host import (
    evenly,
    fit_all,
    fit_host,
    fit_host_to_bench,
    group_rows,
)
from simulator.studies.validation.host import (
    CONSTANTS,
    Run,
    constants_of,
    fit_constants,
    with_constants,
)
from tests.cli.support import GOOD
from tests.validation_rows import ML_ENERGY, POINT

NAMES = ("iteration", "request")
METRICS = ("itl_median_ms", "output_tps")
TRUE = {"iteration": 2.5, "request": 40.0}


@pytest.fixture(scope="module")
def h100():
    return load_gpu("h100-sxm")


def rows():
    """Rows as an engine with the constants `TRUE` would have made them."""
    profile = with_constants(load_gpu("h100-sxm"), "vllm-0.11", False, TRUE)
    made = []
    for number, seats in enumerate((8, 32, 64, 128)):
        point = replace(POINT, id=f"r{number}", max_num_seqs=seats, num_prompts=3 * seats)
        values = predict(point, METRICS, gpus={"h100-sxm": profile}).values
        made.append(replace(point, measured={name: values[name] for name in METRICS}))
    return made


def test_constants_are_read_and_set_in_their_units(h100):
    changed = with_constants(h100, "vllm-0.11", True, {"iteration": 3.0, "kv_reserve": 2.0})
    engine = changed.engines["vllm-0.11"]
    assert engine.async_.iteration.si == pytest.approx(3e-3)
    assert engine.kv_reserve.si == 2.0 * 2**30
    assert engine.async_.request == h100.engines["vllm-0.11"].async_.request
    assert engine.sync == h100.engines["vllm-0.11"].sync
    assert changed.engines["vllm-0.33"] == h100.engines["vllm-0.33"]
    names = ["iteration", "kv_reserve"]
    assert constants_of(changed, "vllm-0.11", True, names) == pytest.approx(
        {"iteration": 3.0, "kv_reserve": 2.0}
    )


def test_every_constant_exists_in_the_profiles(h100):
    assert set(constants_of(h100, "vllm-0.11", True, list(CONSTANTS))) == set(CONSTANTS)
    with pytest.raises(InputError, match=r"no overlapped_iteration for vllm-0\.11, sync"):
        constants_of(h100, "vllm-0.11", False, ["overlapped_iteration"])
    with pytest.raises(InputError, match=r"no constants of vllm-9; it has vllm-0\.11"):
        constants_of(h100, "vllm-9", False, ["iteration"])


def test_slower_hosts_predict_slower_runs(h100):
    slow = with_constants(h100, "vllm-0.11", False, {"iteration": 20.0})
    columns = ["itl_median_ms"]
    base = predict(POINT, columns).values["itl_median_ms"]
    changed = predict(POINT, columns, gpus={"h100-sxm": slow}).values["itl_median_ms"]
    own = 1e3 * h100.engines["vllm-0.11"].sync.iteration.si
    assert changed - base == pytest.approx(20.0 - own, rel=0.01)


def test_known_constants_are_found_again():
    fit = fit_host(
        rows(),
        gpu="h100-sxm",
        generation="vllm-0.11",
        asynchronous=False,
        metrics=METRICS,
        constants=NAMES,
    )
    assert fit.runs == 4
    assert fit.after["iteration"] == pytest.approx(TRUE["iteration"], rel=0.03)
    assert fit.after["request"] == pytest.approx(TRUE["request"], rel=0.05)
    assert max(fit.errors_after.values()) < 0.005
    assert max(fit.errors_before.values()) > 0.02
    again = constants_of(fit.profile, "vllm-0.11", False, NAMES)
    assert again == pytest.approx(fit.after)


def test_what_is_printed_and_written_is_a_profile(h100):
    fit = fit_constants(
        [Run({"output_tps": 1.0}, lambda profile: {"output_tps": 1.0})],
        h100,
        "vllm-0.33",
        asynchronous=True,
        constants=("iteration", "kv_reserve"),
        evaluations=5,
    )
    block = yaml.safe_load(fit.snippet())["engines"]["vllm-0.33"]
    assert set(block) == {"async", "kv_reserve"}
    assert block["async"]["iteration"]["unit"] == "ms"
    assert read_profile(fit.profile_yaml(), "fitted.yaml") == fit.profile


def test_constants_never_become_negative_and_odd_runs_do_not_decide(h100):
    def itl_ms(profile):
        constants = constants_of(profile, "vllm-0.11", False, NAMES)
        return {"itl_median_ms": 10.0 + constants["iteration"] + 0.01 * constants["request"]}

    fast = [Run({"itl_median_ms": 5.0}, itl_ms)]
    options = {"asynchronous": False, "constants": NAMES, "metrics": ("itl_median_ms",)}
    fit = fit_constants(fast, h100, "vllm-0.11", **options)
    assert min(fit.after.values()) >= 0
    assert sum(fit.after.values()) < 0.1
    runs = [Run({"itl_median_ms": 13.0}, itl_ms)] * 5 + [Run({"itl_median_ms": 90.0}, itl_ms)]
    fit = fit_constants(runs, h100, "vllm-0.11", **options)
    assert 10.0 + fit.after["iteration"] + 0.01 * fit.after["request"] == pytest.approx(13, rel=0.1)


def test_nothing_to_fit_to(h100):
    with pytest.raises(InputError, match="no row has itl_median_ms or output_tps"):
        fit_constants(
            [Run({}, lambda _: {})], h100, "vllm-0.11", asynchronous=False, metrics=METRICS
        )
    with pytest.raises(InputError, match=r"1 rows of vllm-0.11 \(sync\) on h100-sxm"):
        fit_host([POINT], gpu="h100-sxm", generation="vllm-0.11", asynchronous=False)
    with pytest.raises(InputError, match="nothing to fit to"):
        fit_all([POINT])


def test_rows_are_grouped_by_the_constants_they_depend_on():
    points = [
        POINT,
        replace(POINT, id="new", engine_version="0.33.0"),
        replace(POINT, id="sglang", engine="SGLang"),
        replace(POINT, id="nobody", model="Nobody-7B"),
        replace(ML_ENERGY, id="async"),
    ]
    groups = group_rows(points)
    assert {key: [p.id for p in group] for key, group in groups.items()} == {
        ("h100-sxm", "vllm-0.11", False): ["p"],
        ("h100-sxm", "vllm-0.11", True): ["async"],
        ("h100-sxm", "vllm-0.33", True): ["new"],
    }


def test_a_subset_is_spread_over_batch_sizes():
    points = [replace(POINT, max_num_seqs=seats) for seats in range(100, 0, -1)]
    chosen = [point.max_num_seqs for point in evenly(points, 5)]
    assert chosen == [1, 26, 51, 75, 100]
    assert evenly(points, 200) == sorted(points, key=lambda p: p.max_num_seqs)


def test_fits_of_several_engines_end_in_one_profile():
    several = [
        *rows(),
        *(replace(p, id=f"a{p.id}", key_settings="--async-scheduling") for p in rows()),
    ]
    fits = fit_all(several, one_gpu=True, constants=("iteration",), metrics=METRICS, evaluations=8)
    assert [(fit.generation, fit.asynchronous) for fit in fits] == [
        ("vllm-0.11", False),
        ("vllm-0.11", True),
    ]
    last = fits[-1].profile
    for fit in fits:
        found = constants_of(last, fit.generation, fit.asynchronous, ["iteration"])
        assert found == pytest.approx(fit.after)


def test_one_run_of_ones_own_finds_the_constants(tmp_path, h100):
    profile = tmp_path / "slow.yaml"
    slow = with_constants(h100, "vllm-0.33", True, {"iteration": 4.0})
    text = yaml.safe_dump(slow.model_dump(mode="json", by_alias=True, exclude_unset=True))
    profile.write_text(text)
    (tmp_path / "good.yaml").write_text(GOOD)
    arrivals = "workload.arrivals={kind: closed_loop, concurrency: 16}"
    measured = run(
        load_experiment(tmp_path / "good.yaml", [arrivals, f"pools.reasoning.gpu={profile}"])
    )
    path = tmp_path / "bench.json"
    write_json(vllm_bench_result(measured, detailed=True), path)
    experiment = load_experiment(tmp_path / "good.yaml", [arrivals])
    fit = fit_host_to_bench(read_bench(path), experiment, constants=("iteration",))
    assert fit.after["iteration"] == pytest.approx(4.0, rel=0.03)
