import json

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from simulator.config.messages import explain
from simulator.config.quality import (
    PoolQuality,
    QualitySettings,
    check_quality,
    load_preset,
    preset_spots,
    read_preset,
)
from simulator.config.source import parse_yaml
from simulator.core_yaml import dump_yaml
from simulator.errors import InputError
from simulator.quality.presets import find_preset


class Pool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    quality: PoolQuality


def read(text):
    return Pool.model_validate_json(json.dumps(parse_yaml(text, "e.yaml").data)).quality


def problems(text):
    source = parse_yaml(text, "e.yaml")
    with pytest.raises(ValidationError) as caught:
        Pool.model_validate_json(json.dumps(source.data))
    return [(each.line, each.field, each.message) for each in explain(caught.value, source)]


def test_just_a_name():
    quality = read("quality: r1-distill-qwen-32b/aime24")
    model = quality.build(("math",))[0]
    assert model == find_preset("r1-distill-qwen-32b/aime24").build()


def test_a_preset_with_changes():
    model = read(
        "quality: {preset: s1-32b/math500, rho: 0.3, reference_tokens: 2500, retained: 0.98}"
    ).build(("a",))[0]
    base = find_preset("s1-32b/math500").build()
    assert (model.rho, model.reference_tokens) == (0.3, 2500)
    assert model.dominant_share == base.dominant_share
    assert model.accuracy(2000) == pytest.approx(0.98 * base.accuracy(2000))


def test_inline():
    flat = read("quality: {accuracy: 0.7}").build(("a",))[0]
    assert flat.accuracy([0, 9000]).tolist() == [0.7, 0.7]
    assert (flat.rho, flat.dominant_share) == (0.0, 1.0)
    curve = read("quality: {curve: {ceiling: 0.8, half_tokens: 2000}, rho: 0.5}").build(("a",))[0]
    assert curve.accuracy(2000) == pytest.approx(0.4)


def test_by_class():
    quality = read(
        """
quality:
  classes: {math: s1-32b/aime24, chat: {accuracy: 0.95}}
"""
    )
    models = quality.build(("chat", "math"))
    assert models[0].accuracy(0) == 0.95
    assert models[1].curve.onset_tokens == 500
    assert quality.missing(("chat", "code")) == ["code"]
    with pytest.raises(InputError) as caught:
        quality.build(("chat", "code"))
    assert [problem.field for problem in caught.value.problems] == ["classes.code", "classes.math"]
    both = read("quality: {default: {accuracy: 0.5}, classes: {math: s1-32b/aime24}}")
    assert both.build(("x", "math"))[0].accuracy(0) == 0.5


def test_everything_wrong_at_once():
    found = problems(
        """quality:
  default:
    curve: {floor: -0.1, ceiling: 1.5, half_tokens: 0}
    rho: 1
    dominant_share: 2
  classes:
    math: s1-32b/aime42
    code: {retained: 1.5, accuracy: 0.4}
"""
    )
    assert {(line, field) for line, field, _ in found} == {
        (3, "quality.default.curve.floor"),
        (3, "quality.default.curve.ceiling"),
        (3, "quality.default.curve.half_tokens"),
        (4, "quality.default.rho"),
        (5, "quality.default.dominant_share"),
        (7, "quality.classes.math"),
        (8, "quality.classes.code.retained"),
    }
    messages = [message for _, _, message in found]
    assert any("did you mean 's1-32b/aime24'" in message for message in messages)
    assert "must be at most 1, not 1.5" in messages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quality: {rho: 0.5}", "give one of preset, curve and accuracy"),
        ("quality: {accuracy: 0.5, preset: s1-32b/aime24}", "not 2"),
        ("quality: {curve: {floor: 0.5, ceiling: 0.4, half_tokens: 9}}", "is below floor 0.5"),
        ("quality: gpt-9/aime24", "unknown quality preset 'gpt-9/aime24'"),
    ],
)
def test_one_thing_wrong(text, message):
    assert [message in said for _, _, said in problems(text)] == [True]


def own_preset(tmp_path, **change):
    data = {"accuracy": 0.4, "identified": True, "sources": {"accuracy": "us"}} | change
    path = tmp_path / "mine.yaml"
    path.write_text(dump_yaml({"name": "mine", "model": "m", "benchmarks": {"b": data}}))
    return path


def test_a_file_of_one_s_own(tmp_path):
    path = own_preset(tmp_path)
    assert load_preset(str(path)).accuracy == 0.4
    assert load_preset(f"{path}/b").accuracy == 0.4
    settings = QualitySettings.model_validate(str(path))
    assert settings.path == path
    assert settings.build().accuracy(0) == 0.4
    assert QualitySettings.model_validate("o3-mini").path is None
    with pytest.raises(InputError, match="no benchmark 'c'"):
        QualitySettings.model_validate(f"{path}/c").build()


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_preset(str(tmp_path / "none.yaml"))
    path = own_preset(tmp_path, accuracy=1.4, rho=2.0)
    with pytest.raises(InputError) as caught:
        read_preset(path)
    fields = {(problem.line, problem.field) for problem in caught.value.problems}
    assert fields == {(5, "benchmarks.b.accuracy"), (9, "benchmarks.b.rho")}


def test_checked_for_an_experiment(tmp_path):
    quality = read("quality: {classes: {math: s1-32b/aime24}}")
    assert check_quality(quality, ("math",), "pools.a.quality") == []
    found = check_quality(quality, ("math", "code"), "pools.a.quality")
    assert [problem.field for problem in found] == ["pools.a.quality.classes.code"]
    bad = PoolQuality.model_validate(str(own_preset(tmp_path, rho=2.0)))
    problem = check_quality(bad, ("math",), "pools.a.quality")[0]
    assert (problem.line, problem.field) == (9, "benchmarks.b.rho")


def test_where_files_are_named():
    data = parse_yaml(
        """
a: {quality: ./a.yaml/b}
b: {quality: s1-32b/aime24}
c: {quality: {preset: c.yaml, rho: 0.5}}
d: {quality: {default: d.yml, classes: {x: {preset: x.yaml}, y: {accuracy: 1}, z: z.yaml}}}
e: {quality: 3}
""",
        "e.yaml",
    ).data
    found = [spot for name in data for spot in preset_spots((name,), data[name])]
    assert [(".".join(map(str, path)), holder[path[-1]]) for path, holder in found] == [
        ("a.quality", "./a.yaml/b"),
        ("c.quality.preset", "c.yaml"),
        ("d.quality.default", "d.yml"),
        ("d.quality.classes.x.preset", "x.yaml"),
        ("d.quality.classes.z", "z.yaml"),
    ]


def test_the_json_schema_allows_every_way_to_write_it():
    schema = Pool.model_json_schema()
    whole = schema["properties"]["quality"]
    while "$ref" in whole:
        whole = schema["$defs"][whole["$ref"].rpartition("/")[2]]
    one, by_class = whole["anyOf"]
    assert set(by_class["properties"]) == {"default", "classes"}
    while "$ref" in one:
        one = schema["$defs"][one["$ref"].rpartition("/")[2]]
    word, mapping = one["anyOf"]
    assert word == {"type": "string"}
    assert {"preset", "curve", "accuracy", "rho"} <= set(mapping["properties"])
