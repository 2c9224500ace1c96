import pytest

from simulator.config.overrides import apply_override, parse_override
from simulator.config.source import Source, parse_yaml
from simulator.errors import InputError

TEXT = """\
name: x
pools:
  main: {model: m, gpu: g, engine: {max_num_seqs: 8}}
router: round_robin
workload:
  kind: synthetic
  prompt_tokens: {kind: lognormal_mixture, weights: [0.5, 0.5], mu: [1, 2], sigma: [1, 1]}
slo: null
"""


def _applied(*texts: str) -> Source:
    source = parse_yaml(TEXT, "x.yaml")
    for text in texts:
        assert apply_override(source, parse_override(text)) is None
    return source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=3", 3),
        ("seed=1e-3", 0.001),
        ("seed=null", None),
        ("seed=", None),
        ("seed=[1, 2]", [1, 2]),
        ("seed={kind: poisson, rate_rps: 2}", {"kind": "poisson", "rate_rps": 2}),
        ("seed=a=b", "a=b"),
        ("seed=../x.csv", "../x.csv"),
    ],
)
def test_values_are_yaml(text: str, value: object) -> None:
    override = parse_override(text)
    assert override.path == ("seed",)
    assert override.value == value


@pytest.mark.parametrize("text", ["seed", "=3", "a..b=3", ".a=3", "a=[1", "a={b: 1, b: 2}"])
def test_malformed(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_override(text)
    assert all(problem.file == f"--set {text}" for problem in caught.value.problems)


def test_changes_a_value_and_its_place() -> None:
    source = _applied("pools.main.engine.max_num_seqs=4", "workload.prompt_tokens.mu.1=3")
    assert source.data["pools"]["main"]["engine"] == {"max_num_seqs": 4}
    assert source.data["workload"]["prompt_tokens"]["mu"] == [1, 3]
    place = source.place(("pools", "main", "engine", "max_num_seqs"))
    assert (place.file, place.line) == ("--set pools.main.engine.max_num_seqs=4", None)
    assert source.place(("pools", "main", "engine")).line == 3


def test_creates_mappings_on_the_way() -> None:
    source = _applied("slo.ttft_s=2", "measure.window_s=60", "slo.tpot_s=0.1")
    assert source.data["slo"] == {"ttft_s": 2, "tpot_s": 0.1}
    assert source.data["measure"] == {"window_s": 60}
    # What the new mapping lacks is the option's doing too.
    assert source.place(("measure", "warmup_s")).file == "--set measure.window_s=60"


def test_the_last_of_two_wins_and_owns_the_place() -> None:
    source = _applied("workload.prompt_tokens.mu=[1, 1]", "workload.prompt_tokens={kind: constant}")
    assert source.data["workload"]["prompt_tokens"] == {"kind": "constant"}
    place = source.place(("workload", "prompt_tokens", "tokens"))
    assert place.file == "--set workload.prompt_tokens={kind: constant}"


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("slow.ttft_s=2", "slow", "no such path; did you mean 'slo'?"),
        ("pools.mian.replicas=2", "pools.mian", "no such path; did you mean 'main'?"),
        ("name.first=x", "name", "is the single value 'x'"),
        ("router.kind=round_robin", "router", "is the single value 'round_robin'"),
        ("workload.prompt_tokens.mu.7=1", "workload.prompt_tokens.mu", "has 2 items"),
        ("workload.prompt_tokens.mu.x=1", "workload.prompt_tokens.mu", "has 2 items"),
        ("workload.thinkin_tokens.max=9", "workload.thinkin_tokens", "'thinking_tokens'"),
    ],
)
def test_paths_that_lead_nowhere(text: str, field: str, message: str) -> None:
    source = parse_yaml(TEXT, "x.yaml")
    problem = apply_override(source, parse_override(text))
    assert problem is not None
    assert (problem.file, problem.line, problem.field) == (f"--set {text}", None, field)
    assert message in problem.message
