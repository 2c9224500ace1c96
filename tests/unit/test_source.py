from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.config.source import dotted, parse_yaml, read_yaml, undotted
from simulator.core_yaml import dump_yaml
from simulator.errors import InputError


def test_every_value_knows_its_line() -> None:
    source = parse_yaml("a: 1\nb:\n  c: [1,\n    2]\n  d: {e: 5}\n", "x.yaml")
    assert source.data == {"a": 1, "b": {"c": [1, 2], "d": {"e": 5}}}
    lines = {path: place.line for path, place in source.places.items()}
    assert lines[("a",)] == 1
    assert lines[("b",)] == 2
    assert lines[("b", "c", 1)] == 4
    assert lines[("b", "d", "e")] == 5
    # A key that is missing is reported at the mapping that lacks it.
    assert source.place(("b", "d", "nowhere")).line == 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e4", 10_000),
        ("32_768", 32768),
        ("0x10", 16),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("true", True),
        ("on", "on"),
        ("no", "no"),
        ("10:30", "10:30"),
        ("2024-01-01", "2024-01-01"),
        ("010", "010"),
        (".inf", ".inf"),
        ("~", None),
        ("", None),
        ('"1"', "1"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    got = parse_yaml(f"a: {text}\n", "x.yaml").data["a"]
    assert got == value
    assert type(got) is type(value)


def test_merge_keys_and_aliases() -> None:
    text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nagain: *b\n"
    source = parse_yaml(text, "x.yaml")
    assert source.data["use"] == {"x": 1, "y": 3}
    assert source.data["again"] == {"x": 1, "y": 2}
    assert not source.problems


def test_duplicate_key_names_both_lines() -> None:
    source = parse_yaml("a: 1\nb: 2\na: 3\n", "x.yaml")
    [problem] = source.problems
    assert str(problem) == "x.yaml:3: a: duplicate key, first given on line 1"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\nb: 3\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\nb: *nowhere\n", 2),
        ("a: 1\nb: !python/object:os.system x\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: \x07\n", 2),
    ],
)
def test_syntax_errors_name_the_line(text: str, line: int) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "x.yaml")
    [problem] = caught.value.problems
    assert problem.file == "x.yaml"
    assert problem.line == line
    assert "YAML" in problem.message


def test_recursive_alias_is_a_problem() -> None:
    source = parse_yaml("a: &a\n  b: *a\n", "x.yaml")
    [problem] = source.problems
    assert "alias" in problem.message


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"- 1\n", "mapping"), (b"a: 1\nb: \xff\n", "UTF-8")],
)
def test_files_that_hold_no_experiment(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_yaml(path)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["1e3", "on", "010", ".inf", "~", "<<", "0x1", "1_0", "null", "True", "-"])
)
data = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(data)
def test_dumped_data_reads_back_equal(value: object) -> None:
    source = parse_yaml(dump_yaml({"value": value}), "x.yaml")
    assert not source.problems
    assert source.data["value"] == value


@given(st.lists(st.from_regex(r"\A[a-z_]+\Z") | st.integers(0, 99), min_size=1))
def test_dotted_and_back(path: list[str | int]) -> None:
    assert undotted(dotted(tuple(path))) == tuple(path)


def test_an_alias_bomb_is_refused() -> None:
    levels = [f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]" for i in range(1, 12)]
    text = "\n".join(["a0: &a0 [x]", *levels])
    with pytest.raises(InputError, match=r"x.yaml:1: holds more than 100,000 values"):
        parse_yaml(text, "x.yaml")
