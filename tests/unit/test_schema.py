import json

import pytest

from simulator.config.schema import elsewhere, experiment_schema, known_keys, nearest


def test_schema_is_json_and_closed() -> None:
    schema = json.loads(json.dumps(experiment_schema()))
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["required"] == ["name", "pools", "workload"]
    for name, part in {"Experiment": schema, **schema["$defs"]}.items():
        if part.get("type") == "object" and "properties" in part:
            assert part["additionalProperties"] is False, name


@pytest.mark.parametrize("model", ["PoolSettings", "EngineSettings", "Measure", "Slo"])
def test_every_own_field_is_described(model: str) -> None:
    for name, field in experiment_schema()["$defs"][model]["properties"].items():
        assert field.get("description"), f"{model}.{name}"


def test_router_may_be_a_word_in_the_schema() -> None:
    word, file, *mappings = experiment_schema()["$defs"]["RouterSettings"]["anyOf"]
    assert "round_robin" in word["enum"]
    assert file["type"] == "string"
    assert {mapping["type"] for mapping in mappings} == {"object"}


def test_known_keys_follow_the_kind() -> None:
    synthetic = {"workload": {"kind": "synthetic"}}
    trace = {"workload": {"kind": "trace"}}
    assert "arrivals" in (known_keys(synthetic, ("workload",)) or [])
    assert "path" not in (known_keys(synthetic, ("workload",)) or [])
    assert "path" in (known_keys(trace, ("workload",)) or [])
    # Without a kind both readings are possible.
    both = known_keys({"workload": {}}, ("workload",)) or []
    assert {"arrivals", "path"} <= set(both)


def test_names_of_pools_are_free() -> None:
    assert known_keys({}, ("pools",)) is None
    assert "replicas" in (known_keys({"pools": {"a": {}}}, ("pools", "a")) or [])


def test_elsewhere_finds_a_misplaced_key() -> None:
    data = {"pools": {"a": {}}, "workload": {"kind": "trace"}}
    assert elsewhere(data, ("pools", "a"), "max_num_seqs") == (
        "pools",
        "a",
        "engine",
        "max_num_seqs",
    )
    assert elsewhere(data, (), "window_s") == ("measure", "window_s")
    assert elsewhere(data, ("pools", "a", "engine"), "replicas") == ("pools", "a", "replicas")
    assert elsewhere(data, (), "no_such_key_anywhere") is None


def test_nearest() -> None:
    assert nearest("replica", ["replicas", "model"]) == "replicas"
    assert nearest("zzz", ["replicas", "model"]) is None
