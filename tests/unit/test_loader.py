from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simulator.config.experiment import Experiment
from simulator.config.loader import load_experiment, load_with_source, located
from simulator.config.resolve import resolved
from simulator.config.source import parse_yaml
from simulator.errors import InputError, Problem

TEXT = """\
name: small
seed: 5
pools:
  main: {model: llama-3.1-8b, gpu: h100-sxm}
router: round_robin
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate_rps: 4}
  prompt_tokens: {kind: lognormal_mixture, weights: [0.5, 0.5], mu: [5, 6], sigma: [1, 1], max: 99}
  answer_tokens: {kind: constant, tokens: 100}
measure: {warmup_s: 10, window_s: 1e2}
slo: {ttft_s: 2.0}
"""

TRACE = """\
name: replay
pools: {main: {model: llama-3.1-8b, gpu: h100-sxm}}
workload: {kind: trace, path: trace.csv}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    return path


def test_what_a_file_says(file: Path) -> None:
    experiment = load_experiment(file)
    assert (experiment.name, experiment.seed, list(experiment.pools)) == ("small", 5, ["main"])
    assert experiment.router.kind == "round_robin"
    assert experiment.arrivals_duration_s == 110
    assert experiment.slo.targets() == {"ttft_s": 2.0}
    assert experiment.pools["main"].num_gpus == 1


def test_seed_and_overrides(file: Path) -> None:
    experiment = load_experiment(
        str(file), ["pools.main.replicas=3", "measure.warmup_s=0", "seed=1", "seed=2"], seed=9
    )
    assert experiment.seed == 9
    assert experiment.pools["main"].replicas == 3
    assert experiment.arrivals_duration_s == 100
    assert load_experiment(file, ["seed=1", "seed=2"]).seed == 2


def test_resolved_dict_loads_to_the_same_experiment(file: Path, tmp_path: Path) -> None:
    experiment = load_experiment(file, ["pools.main.engine.preset=vllm-0.11"])
    plain = experiment.to_dict()
    assert load_experiment(plain) == experiment
    for text in (experiment.to_yaml(), yaml.safe_dump(plain)):
        again = tmp_path / "again.yaml"
        again.write_text(text)
        assert load_experiment(again) == experiment
    # Resolved: nothing that a preset decides is left open.
    engine = plain["pools"]["main"]["engine"]
    assert engine["gpu_memory_utilization"] == 0.90
    assert engine["max_num_batched_tokens"] == 8192
    assert engine["max_num_seqs"] == 1024
    assert engine["max_model_len"] == 131072
    assert engine["num_gpu_blocks"] is None
    assert plain["pools"]["main"]["price_usd_per_gpu_hour"] > 0


def test_resolving_twice_changes_nothing(file: Path) -> None:
    experiment = load_experiment(file, ["pools.main.engine.enable_chunked_prefill=false"])
    assert resolved(experiment) == experiment


def test_an_experiment_built_in_python_resolves_like_its_file(file: Path) -> None:
    data: dict[str, Any] = parse_yaml(TEXT, "x.yaml").data
    assert resolved(Experiment.model_validate(data)) == load_experiment(file)
    assert load_experiment(data) == load_experiment(file)


def test_a_window_in_requests_leaves_the_workload_open(file: Path) -> None:
    change = "measure={warmup_requests: 10, window_requests: 50}"
    workload = load_experiment(file, [change]).workload
    assert workload.kind == "synthetic"
    assert workload.num_requests is None


def test_paths_of_the_file_are_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("files", "cwd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trace.csv").write_text(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
        )
    (tmp_path / "files" / "x.yaml").write_text(TRACE)
    monkeypatch.chdir(tmp_path / "cwd")
    inside = load_experiment("../files/x.yaml").workload
    assert inside.kind == "trace"
    assert Path(inside.path).resolve() == tmp_path / "files" / "trace.csv"
    assert Path(inside.path).is_absolute()
    override = load_experiment("../files/x.yaml", ["workload.path=trace.csv"]).workload
    assert override.kind == "trace"
    assert Path(override.path).resolve() == tmp_path / "cwd" / "trace.csv"


def test_catalogue_names_are_not_taken_for_paths(file: Path) -> None:
    change = "pools.main.model=meta-llama/Llama-3.1-8B-Instruct"
    assert load_experiment(file, [change]).pools["main"].model == "meta-llama/Llama-3.1-8B-Instruct"


def test_problems_of_a_mapping_name_the_field() -> None:
    data = parse_yaml(TEXT, "x.yaml").data
    data["seed"] = -1
    with pytest.raises(InputError) as caught:
        load_experiment(data)
    assert [str(p) for p in caught.value.problems] == ["seed: must be at least 0, not -1"]


def test_a_seed_option_out_of_range_names_the_option(file: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_experiment(file, seed=-1)
    assert [str(p) for p in caught.value.problems] == [
        "--seed -1: seed: must be at least 0, not -1"
    ]


def test_problems_found_later_get_their_line(file: Path) -> None:
    _, source = load_with_source(file, ["slo.ttft_s=3"])
    found = located(
        [
            Problem("a", field="workload.num_requests"),
            Problem("b", field="slo.ttft_s"),
            Problem("c", file="trace.csv", line=3),
            Problem("d"),
        ],
        source,
    )
    assert found == [
        Problem("a", str(file), 6, "workload.num_requests"),
        Problem("b", "--set slo.ttft_s=3", None, "slo.ttft_s"),
        Problem("c", file="trace.csv", line=3),
        Problem("d"),
    ]


def test_experiments_are_frozen(file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_experiment(file).seed = 3  # type: ignore[misc]


def test_there_must_be_a_pool(file: Path) -> None:
    with pytest.raises(InputError, match="pools: must have at least 1 item, not 0"):
        load_experiment(file, ["pools={}"])


@pytest.mark.parametrize("name", ["1", "007", "a.b", ""])
def test_a_pool_of_any_name_may_be_wrong(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT.replace("main: {", f'"{name}":\n    {{replicas: -1, '))
    with pytest.raises(InputError) as caught:
        load_experiment(path)
    problem = next(p for p in caught.value.problems if p.field == f"pools.{name}.replicas")
    assert (problem.message, problem.line) == ("must be at least 1, not -1", 5)


def test_problems_in_a_numbered_pool_get_their_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT.replace("main: {", '"1":\n    {').replace("h100-sxm", "h9"))
    with pytest.raises(InputError) as caught:
        load_experiment(path)
    assert [(p.field, p.line) for p in caught.value.problems] == [("pools.1.gpu", 5)]


def test_half_a_character_is_refused(file: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_experiment(file, r'workload.class_name="\ud800"')
    [problem] = caught.value.problems
    assert problem.field == "workload.class_name"
    assert "half a character" in problem.message


@pytest.mark.parametrize(
    "field",
    [
        "seed",
        "pools.main.replicas",
        *(
            f"pools.main.engine.{name}"
            for name in (
                "max_model_len",
                "num_gpu_blocks",
                "block_size",
                "long_prefill_token_threshold",
                "max_num_active_seqs",
                "prefill_schedule_interval",
            )
        ),
        "measure.warmup_requests",
        "measure.window_requests",
    ],
)
@pytest.mark.parametrize("value", ["1e30", "0x1" + 4000 * "0"])
def test_integers_have_an_upper_bound(file: Path, field: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        load_experiment(file, f"{field}={value}")
    assert any(p.field == field and "must be at most" in p.message for p in caught.value.problems)


def test_a_name_too_long_or_of_nobodys_home_is_a_problem_of_the_field(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(TRACE)
    long = 5000 * "x"
    for field, value in (
        ("workload.path", long),
        ("workload.path", "~nosuch/x"),
        ("pools.main.model", long),
        ("pools.main.model", f"./{long}"),
        ("pools.main.model", "~nosuch/x"),
        ("pools.main.gpu", f"{long}.yaml"),
    ):
        with pytest.raises(InputError) as caught:
            load_experiment(path, f"{field}={value}")
        assert field in [problem.field for problem in caught.value.problems]
    for name in (long, "a\0b"):
        with pytest.raises(InputError, match="cannot be read"):
            load_experiment(name)


def test_one_override_needs_no_list(file: Path) -> None:
    assert load_experiment(file, "seed=3").seed == 3
    with pytest.raises(InputError, match="an override must be text"):
        load_experiment(file, [3])  # type: ignore[list-item]


def test_data_built_with_numpy_or_pathlib(tmp_path: Path) -> None:
    data = parse_yaml(TEXT, "x.yaml").data
    data["pools"]["main"]["replicas"] = np.int64(2)
    data["workload"]["prompt_tokens"]["mu"] = np.array([5.0, 6.0])
    data["slo"]["ttft_s"] = np.float32(0.5)
    experiment = load_experiment(data, seed=np.int64(3))  # type: ignore[arg-type]
    assert (experiment.seed, experiment.pools["main"].replicas) == (3, 2)
    assert experiment.slo.targets() == {"ttft_s": 0.5}
    data["workload"] = {"kind": "trace", "path": tmp_path / "absent.csv"}
    with pytest.raises(InputError, match=r"workload.path: no such file: .*absent.csv"):
        load_experiment(data)


def test_mappings_that_no_file_could_hold() -> None:
    data: dict[Any, Any] = parse_yaml(TEXT, "x.yaml").data
    data["pools"][1] = {}
    with pytest.raises(InputError, match="pools: a key must be text, not 1"):
        load_experiment(data)
    data["pools"] = data
    with pytest.raises(InputError, match="nested too deeply"):
        load_experiment(data)


def _children(node: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(node, dict):
        return node.items()
    return enumerate(node) if isinstance(node, list) else ()


def _paths(node: Any) -> list[tuple[Any, ...]]:
    below = [(key, *path) for key, child in _children(node) for path in _paths(child)]
    return [(), *below]


def _put(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = {
        key: _put(child, path[1:], value) if key == path[0] else child
        for key, child in _children(node)
    }
    if isinstance(node, dict):
        return changed
    return list(changed.values()) if isinstance(node, list) else node


FULL: dict[str, Any] = load_experiment(parse_yaml(TEXT, "x.yaml").data).to_dict()
junk = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**9)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([[], {}, {"kind": "trace"}, {"a": 1}, [1, "x"], "trace", "./x.json", "~"])
)


@given(st.lists(st.tuples(st.sampled_from(_paths(FULL)[1:]), junk), min_size=1, max_size=3))
def test_junk_anywhere_is_said_as_bad_input(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever stands in place of a value: no other exception, and no problem without a place."""
    data = FULL
    for path, value in changes:
        data = _put(data, path, value)
    problems: list[Problem] = []
    try:
        load_experiment(data)
    except InputError as error:
        problems = error.problems or [Problem("")]
    assert all(problem.message and (problem.field or problem.file) for problem in problems)
