"""ServeGen files as traces."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from population_files import write_chunks, write_table

from simulator.errors import InputError
from workloads.population import PopulationWorkload
from workloads.traces import read_trace

SHARED = Path(__file__).parents[2] / "../shared/data/workloads"


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_is_recognised_and_read_as_a_day(tmp_path, packed):
    path = write_table(tmp_path)
    if packed:
        plain, path = path, tmp_path / "x_windows.csv.gz"
        path.write_bytes(gzip.compress(plain.read_bytes()))
    rows, reader = read_trace(path)
    day = PopulationWorkload(windows_path=str(path)).generate(0)
    assert "ServeGen" in reader.title
    assert np.array_equal(rows.arrival_s, day.arrival_s)
    assert np.array_equal(rows.thinking_tokens, day.thinking_tokens)
    assert rows.client_names == ("0", "7")
    assert rows.estimated == ("arrival_s", "prompt_tokens", "thinking_tokens", "answer_tokens")


def test_a_directory_and_each_of_its_chunks_are_the_population(tmp_path):
    table, _ = read_trace(write_table(tmp_path))
    directory = write_chunks(tmp_path)
    for path in (directory, *directory.glob("*-trace.csv")):
        rows, _ = read_trace(path)
        assert np.array_equal(rows.arrival_s, table.arrival_s)
        assert np.array_equal(rows.client_id, table.client_id)


def test_a_chunk_may_begin_with_an_empty_window(tmp_path):
    path = write_chunks(tmp_path) / "chunk-7-trace.csv"
    assert path.read_text().startswith("0,0,0,,0,0\n")
    assert len(read_trace(path, "servegen")[0]) > 0


def test_another_directory_is_no_trace(tmp_path):
    with pytest.raises(InputError, match=r"can't be read: Is a directory"):
        read_trace(tmp_path)


def test_missing_distributions_are_asked_for(tmp_path):
    path = write_table(tmp_path)
    (tmp_path / "x_pdfs.jsonl.gz").unlink()
    with pytest.raises(InputError, match="the lengths of these clients are missing"):
        read_trace(path)


@pytest.mark.skipif(not SHARED.exists(), reason="the ServeGen data are not here")
def test_the_published_day_is_read():
    rows, _ = read_trace(SHARED / "servegen_r1_windows.csv.gz")
    assert len(rows) == pytest.approx(1_383_669, rel=0.01)
    assert len(rows.client_names) == 73
    assert 86_000 < rows.arrival_s[-1] < 86_400
