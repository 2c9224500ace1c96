"""Policies in an experiment file: a kind, its parameters, and errors that say where."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.config import schema
from simulator.config.experiment import RouterSettings
from simulator.config.loader import load_experiment
from simulator.config.messages import explain
from simulator.config.policies import PolicySettings, names_a_class
from simulator.config.schema import experiment_schema, known_keys
from simulator.config.source import parse_yaml
from simulator.errors import InputError, Problem
from simulator.policy import Policy
from simulator.registry import Registry


class Brewer(Policy):
    """What the family has in common."""


BREWERS: Registry[type[Brewer]] = Registry("brewer")


@BREWERS.register("plain")
@dataclass(eq=False)
class Plain(Brewer):
    """Just hot water."""


@BREWERS.register("steep")
@dataclass(eq=False)
class Steep(Brewer):
    """Leaves that are left to stand."""

    minutes: Annotated[float, Field(gt=0)] = 3.0
    """How long."""
    leaves: int = 2
    """How many."""
    cups: tuple[int, ...] = (1, 2)
    """For whom."""


@BREWERS.register("strict")
@dataclass(eq=False)
class Strict(Brewer):
    """One that cannot do without."""

    temperature: int
    """Degrees."""


class BrewerSettings(PolicySettings):
    """How tea is made."""

    registry = BREWERS
    base = Brewer
    default = "plain"


class ChoosySettings(PolicySettings):
    """As before, but it has to be said."""

    registry = BREWERS
    base = Brewer


class Tea(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    brewer: BrewerSettings = BrewerSettings(kind="plain")
    other: ChoosySettings | None = None


def read(text: str) -> Tea:
    return Tea.model_validate_json(json.dumps(parse_yaml(text, "tea.yaml").data))


def problems(text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a user is told of a bad file."""
    source = parse_yaml(text, "tea.yaml")
    monkeypatch.setattr(schema, "experiment_schema", Tea.model_json_schema)
    with pytest.raises(ValidationError) as caught:
        Tea.model_validate_json(json.dumps(source.data))
    return [str(problem) for problem in explain(caught.value, source)]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file with a policy of one's own; its base is any policy's."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from typing import Annotated, Any\n"
        "from pydantic import AfterValidator, Field\n"
        "from pydantic_core import PydanticCustomError\n"
        "from simulator.policy import Policy\n"
        "def green(blend):\n"
        "    if blend != 'green':\n"
        "        raise PydanticCustomError('taste', 'only green')\n"
        "    return blend\n"
        "@dataclass(eq=False)\n"
        "class Mine(Policy):\n"
        '    """Mine."""\n'
        "    strength: Annotated[int, Field(ge=1)] = 5\n"
        "    blend: Annotated[str, AfterValidator(green)] = 'green'\n"
        "class Odd:\n"
        "    pass\n"
        "class Bare(Policy):\n"
        "    pass\n"
        "@dataclass(eq=False)\n"
        "class Opaque(Policy):\n"
        "    kettle: Odd = None\n"
    )
    return path


@pytest.fixture
def any_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrewerSettings, "base", Policy)


def test_a_word_is_a_kind_with_its_defaults() -> None:
    settings = read("brewer: steep").brewer
    assert settings == read("brewer: {kind: steep}").brewer
    assert settings.kind == "steep"
    assert settings.parameters == {"minutes": 3.0, "leaves": 2, "cups": (1, 2)}


def test_nothing_said_is_the_default() -> None:
    assert read("{}").brewer == read("brewer: {}").brewer == read("brewer: plain").brewer


def test_parameters_come_through_and_are_written_out() -> None:
    tea = read("brewer: {kind: steep, minutes: 4, cups: [3]}")
    written = tea.model_dump(mode="json")["brewer"]
    assert written == {"kind": "steep", "minutes": 4.0, "leaves": 2, "cups": [3]}
    assert Tea.model_validate_json(tea.model_dump_json()) == tea
    assert Tea.model_validate(tea.model_dump()) == tea


def test_each_build_is_a_fresh_policy_with_the_parameters() -> None:
    settings = read("brewer: {kind: steep, leaves: 7, cups: [4, 5]}").brewer
    one, other = settings.build(), settings.build()
    assert type(one) is Steep
    assert (one.minutes, one.leaves, one.cups) == (3.0, 7, (4, 5))
    assert one is not other


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read("brewer: steep").brewer.kind = "plain"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "brewer: stepe",
            ["tea.yaml:1: brewer: unknown brewer 'stepe'; known: plain, steep, strict; did you"
             " mean 'steep'?"],
        ),
        (
            "brewer:\n  kind: juice",
            ["tea.yaml:2: brewer.kind: unknown brewer 'juice'; known: plain, steep, strict"],
        ),
        (
            "brewer:\n  kind: steep\n  minutes: -1\n  leaves: many",
            ["tea.yaml:3: brewer.minutes: must be greater than 0, not -1",
             "tea.yaml:4: brewer.leaves: must be a whole number, not 'many'"],
        ),
        (
            "brewer:\n  kind: steep\n  cups: [1, x]",
            ["tea.yaml:3: brewer.cups.1: must be a whole number, not 'x'"],
        ),
        (
            "brewer:\n  kind: steep\n  minuets: 3",
            ["tea.yaml:3: brewer.minuets: unknown key; did you mean 'minutes'?"],
        ),
        (
            "brewer:\n  kind: plain\n  x: 3",
            ["tea.yaml:3: brewer.x: unknown key; known: kind"],
        ),
        ("brewer:\n  kind: strict", ["tea.yaml:1: brewer.temperature: is required"]),
        ("brewer: strict", ["tea.yaml:1: brewer.temperature: is required"]),
        ("brewer: 3", ["tea.yaml:1: brewer: must be a mapping, not 3"]),
        ("brewer: [steep]", ["tea.yaml:1: brewer: must be a mapping, not a list"]),
        ("brewer:\n  kind: 3", ["tea.yaml:2: brewer.kind: must be text, not 3"]),
        ("brewer:\n  kind:", ["tea.yaml:2: brewer.kind: must be text, not empty"]),
        (
            "brewer: tea/mine.py",
            ["tea.yaml:1: brewer: unknown brewer 'tea/mine.py'; known: plain, steep, strict; a file"
             " needs the name of a class in it: tea/mine.py:ClassName"],
        ),
        ("other: {minutes: 3}", ["tea.yaml:1: other.kind: is required"]),
        (
            "brewer: {kind: steep, minutes: 0}\nother: juice",
            ["tea.yaml:1: brewer.minutes: must be greater than 0, not 0",
             "tea.yaml:2: other: unknown brewer 'juice'; known: plain, steep, strict"],
        ),
    ],
)  # fmt: skip
def test_bad_settings_say_where_and_what(
    text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems(text, monkeypatch) == expected


@pytest.mark.usefixtures("any_policy")
def test_a_class_in_a_file_is_checked_as_any_other(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read(f"brewer: {mine}:Mine").brewer
    assert settings.parameters == {"strength": 5, "blend": "green"}
    assert settings.path == mine
    assert read(f"brewer: {{kind: '{mine}:Mine', strength: 6}}").brewer.build().strength == 6
    bad = f"brewer:\n  kind: {mine}:Mine\n  "
    assert problems(f"{bad}strength: x", monkeypatch) == [
        "tea.yaml:3: brewer.strength: must be a whole number, not 'x'"
    ]
    assert problems(f"{bad}strenght: 3", monkeypatch) == [
        "tea.yaml:3: brewer.strenght: unknown key; did you mean 'strength'?"
    ]
    assert problems(f"{bad}minutes: 3\n  strength: 0\n  blend: x", monkeypatch) == [
        "tea.yaml:4: brewer.strength: must be at least 1, not 0",
        "tea.yaml:5: brewer.blend: only green",
        "tea.yaml:3: brewer.minutes: unknown key; known: kind, strength, blend",
    ]


@pytest.mark.usefixtures("any_policy")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("mine.py:Yours", "mine.py has no class 'Yours'"),
        ("mine.py:Odd", "mine.py is not a Policy"),
        ("none.py:Mine", "no such file"),
        ("mine.py:Bare", "Bare must be a dataclass"),
        ("mine.py:Opaque", "mine.py:Opaque has fields that cannot be parameters"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_at_the_kind(
    mine: Path, kind: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [problem] = problems(f"brewer:\n  kind: {mine.parent}/{kind}", monkeypatch)
    assert problem.startswith("tea.yaml:2: brewer.kind: ")
    assert message in problem


def test_a_registered_kind_has_no_file() -> None:
    assert read("brewer: steep").brewer.path is None
    assert [names_a_class(kind) for kind in ("a", "a.py", "a.py:B", "C:/a.py:B", "a:b")] == [
        *(False, False, True, True, False)
    ]


def test_the_schema_has_an_alternative_for_each_kind() -> None:
    whole = Tea.model_json_schema()
    shape = whole["$defs"]["BrewerSettings"]
    word, file_word, plain, steep, strict, file = shape["anyOf"]
    assert shape["description"] == "How tea is made."
    assert word["enum"] == ["plain", "steep", "strict"]
    assert file_word["pattern"] == file["properties"]["kind"]["pattern"]
    assert steep["properties"]["kind"] == {"type": "string", "const": "steep"}
    assert steep["description"] == "Leaves that are left to stand."
    assert steep["properties"]["minutes"]["default"] == 3.0
    assert steep["properties"]["minutes"]["exclusiveMinimum"] == 0
    assert steep["properties"]["leaves"]["description"] == "How many."
    assert steep["additionalProperties"] is False
    assert (steep["required"], strict["required"]) == (["kind"], ["kind", "temperature"])
    assert "required" not in plain  # the default kind may be left out
    assert set(whole["$defs"]) == {"BrewerSettings", "ChoosySettings"}


def test_keys_are_those_of_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "experiment_schema", Tea.model_json_schema)
    assert known_keys({"brewer": {"kind": "strict"}}, ("brewer",)) == ["kind", "temperature"]
    every = known_keys({"brewer": {}}, ("brewer",)) or []
    assert {"kind", "minutes", "leaves", "cups", "temperature"} == set(every)


EXPERIMENT = """\
name: small
pools: {main: {model: llama-3.1-8b, gpu: h100-sxm}}
ROUTER
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate_rps: 1.0}
  num_requests: 5
  prompt_tokens: {kind: constant, tokens: 20}
  thinking_tokens: {kind: constant, tokens: 10}
  answer_tokens: {kind: constant, tokens: 5}
"""


@pytest.mark.parametrize("router", ["router: KIND", "router: {kind: 'KIND', strength: 8}"])
def test_files_of_policies_are_found_beside_the_experiment(
    mine: Path,
    router: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.setattr(RouterSettings, "base", Policy)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    file = mine.parent / "x.yaml"
    file.write_text(EXPERIMENT.replace("ROUTER", router.replace("KIND", "./mine.py:Mine")))
    loaded = load_experiment(file)
    assert loaded.router.kind == f"{mine}:Mine"
    assert loaded.policy_files == [mine]
    again = elsewhere / "again.yaml"
    again.write_text(loaded.to_yaml())
    assert load_experiment(again) == loaded
    # A path in an option is relative to where the option was typed.
    with pytest.raises(InputError) as caught:
        load_experiment(file, "router=mine.py:Mine")
    [problem] = caught.value.problems
    assert problem == Problem(
        f"no such file: {elsewhere}/mine.py", "--set router=mine.py:Mine", field="router"
    )


def test_router_settings_in_an_experiment_file(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(EXPERIMENT.replace("ROUTER", "router:\n  kind: round_robbin"))
    with pytest.raises(InputError) as caught:
        load_experiment(file)
    [problem] = caught.value.problems
    assert (problem.file, problem.line, problem.field) == (str(file), 4, "router.kind")
    assert problem.message.startswith("unknown router 'round_robbin'; known: ")
    assert problem.message.endswith("did you mean 'round_robin'?")
    file.write_text(EXPERIMENT.replace("ROUTER", "router: {kind: round_robin, weight: 2}"))
    with pytest.raises(InputError, match=r"x\.yaml:3: router\.weight: unknown key"):
        load_experiment(file)
    assert experiment_schema()["properties"]["router"]["default"]["kind"] == "round_robin"
