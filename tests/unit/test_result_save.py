import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from fake_record import fake_record

from simulator.errors import InputError
from simulator.exports.directory import RESULT_FILES, check_output_directory
from simulator.exports.parquet import write_parquet
from simulator.exports.provenance import collect_provenance
from simulator.result import Result

EXPERIMENT = {"name": "quickstart", "seed": 0, "pools": {"main": {"model": "llama-3.1-8b"}}}


def make_result(**fields: object) -> Result:
    return Result(fake_record(150, **fields), EXPERIMENT, collect_provenance(seed=1, wall_s=0.1))


@pytest.fixture
def plain_plots(monkeypatch):
    """Plots are tested elsewhere; without them a save takes milliseconds."""
    monkeypatch.setattr("simulator.report.plots.render_plots", lambda _: {"stub": b"png"})


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_everything_is_written_and_readable(tmp_path):
    result = make_result()
    out = result.save(tmp_path / "deep" / "out")
    assert out == tmp_path / "deep" / "out"
    assert {path.name for path in out.iterdir()} == RESULT_FILES
    assert {path.stem for path in (out / "plots").iterdir()} == {
        "latency_cdf",
        "latency_parts",
        "lengths",
        "timeline",
    }
    assert yaml.safe_load((out / "experiment.yaml").read_text()) == EXPERIMENT
    assert json.loads((out / "summary.json").read_text(encoding="utf-8")) == result.summary
    assert json.loads((out / "provenance.json").read_text()) == result.provenance
    requests = pd.read_parquet(out / "requests.parquet")
    assert requests["e2el_s"].tolist() == result.requests["e2el_s"].tolist()
    assert requests["class"].tolist() == result.requests["class"].tolist()
    assert len(pd.read_parquet(out / "queries.parquet")) == 150
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "timeline.parquet"), result.timeline, check_dtype=True
    )


def test_equal_runs_write_equal_bytes_but_for_provenance(tmp_path):
    first = make_result()
    second = make_result(wall_s=7.0)
    second.provenance["wall_s"] = 7.0
    a, b = contents(first.save(tmp_path / "a")), contents(second.save(tmp_path / "b"))
    assert {name for name in a if a[name] != b[name]} == {"provenance.json"}
    assert len(a) == len(RESULT_FILES) - 1 + 4


def test_bytes_do_not_hang_on_the_hash_seed(tmp_path):
    script = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from fake_record import fake_record\n"
        "from simulator.result import Result\n"
        "from simulator.exports.parquet import write_parquet\n"
        "from simulator.exports.vllm_json import write_json\n"
        "result, out = Result(fake_record(80), {}), Path(sys.argv[2])\n"
        "write_parquet(result.requests, out / 'r'); write_json(result.summary, out / 's')\n"
        "print(hashlib.sha256((out / 'r').read_bytes() + (out / 's').read_bytes()).hexdigest())\n"
    )
    here = str(Path(__file__).parent)
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, here, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_text_columns_are_stored_alike_whatever_pandas_calls_them(tmp_path):
    values = ["chat", "maths", "chat"]
    for name, dtype in (("object", object), ("string", "string"), ("category", "category")):
        frame = pd.DataFrame({"class": pd.Series(values, dtype=dtype), "reason": ["", "", ""]})
        frame.index = [7, 8, 9]
        write_parquet(frame, tmp_path / name)
    assert len({(tmp_path / name).read_bytes() for name in ("object", "string", "category")}) == 1
    assert pd.read_parquet(tmp_path / "object")["class"].tolist() == values


def test_a_text_column_without_a_single_value_keeps_its_type(tmp_path):
    full = pd.DataFrame({"reason": pd.Series(["x"], dtype=object)})
    for name, frame in (("full", full), ("none", full.iloc[:0])):
        write_parquet(frame, tmp_path / name)
    kinds = [str(pd.read_parquet(tmp_path / name).dtypes["reason"]) for name in ("full", "none")]
    assert kinds[0] == kinds[1]


def test_a_save_that_dies_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("simulator.report.html.render_html", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_result().save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("plain_plots")
def test_until_the_end_only_a_hidden_sibling_exists(tmp_path, monkeypatch):
    """A kill cannot be caught: whatever it leaves must not bear the name of a result."""
    seen = []
    rename = os.rename

    def spy(source: Path, target: Path) -> None:
        seen.extend(path.name for path in tmp_path.iterdir())
        rename(source, target)

    monkeypatch.setattr("simulator.exports.directory.os.rename", spy)
    make_result().save(tmp_path / "out")
    assert len(seen) == 1
    assert seen[0].startswith(".out.")
    assert seen[0].endswith(".partial")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("plain_plots")
def test_an_earlier_result_is_replaced_whole(tmp_path):
    out = make_result().save(tmp_path / "out")
    (out / "report.html").unlink()  # as an older version may have left it
    make_result(name="second").save(out)
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["name"] == "second"
    assert (out / "report.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("plain_plots")
def test_an_earlier_result_survives_a_failed_replacement(tmp_path, monkeypatch):
    out = make_result().save(tmp_path / "out")
    before = contents(out)
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if str(source).endswith(".partial"):
            raise OSError("disk gone")
        rename(source, target)

    monkeypatch.setattr("simulator.exports.directory.os.rename", fail)
    with pytest.raises(OSError, match="disk gone"):
        make_result(name="second").save(out)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("plain_plots")
def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    make_result().save(tmp_path / "out")
    assert (tmp_path / "out" / "summary.json").exists()


def test_foreign_files_are_never_deleted(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not an earlier result"):
        make_result().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.usefixtures("plain_plots")
def test_notes_kept_beside_an_earlier_result_are_not_deleted(tmp_path):
    out = make_result().save(tmp_path / "out")
    (out / "my_notes.md").write_text("look at the tail")
    with pytest.raises(InputError, match=r"my_notes\.md"):
        make_result().save(out)
    assert (out / "my_notes.md").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    blocker = tmp_path / "out"
    blocker.write_text("")
    for path in (blocker, blocker / "below"):
        with pytest.raises(InputError) as caught:
            check_output_directory(path)
        assert caught.value.problems[0].file == str(path)


def test_tables_of_a_result():
    result = make_result()
    requests = result.requests
    expected = requests["first_answer_s"] - requests["arrival_s"]
    assert requests["ttfo_s"].tolist() == expected.tolist()
    assert result.queries["query_id"].is_unique
    assert result.summary is result.summary


def test_latencies_of_a_request_that_never_finished_are_not_made_up():
    record = fake_record(300, load=1.5, cut_at_s=60.0)
    result = Result(replace(record), {})
    lost = result.requests["status"] != "completed"
    assert lost.any()
    assert result.requests.loc[lost, ["e2el_s", "tpot_s"]].isna().all().all()
    assert result.queries.loc[lost, "tta_s"].isna().all()


def test_provenance_names_versions_and_inputs(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_bytes(b"abc")
    provenance = collect_provenance(seed=5, inputs=[trace], wall_s=1.5)
    assert provenance["inputs_sha256"] == {str(trace): hashlib.sha256(b"abc").hexdigest()}
    assert provenance["seed"] == 5
    assert {"ponder", "python", "numpy", "pyarrow"} <= set(provenance["versions"])
    with pytest.raises(OSError, match="missing"):
        collect_provenance(seed=5, inputs=[tmp_path / "missing"])
