"""The micro-benchmark: its table is read as it was written, and without torch it says so."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest

from hardware_profiles import load_gpu
from hardware_profiles.measure import FAMILIES, main
from hardware_profiles.measuring.session import Session
from hardware_profiles.measuring.shapes import (
    LLAMA_8B,
    LLAMA_70B,
    MODELS,
    Decode,
    make_plan,
    ragged_lengths,
)
from hardware_profiles.measuring.table import (
    COLUMNS,
    Measurement,
    TableWriter,
    read_measurements,
)
from hardware_profiles.measuring.timing import CpuTimer, copies_for, summarise
from simulator.cost.catalogue import load_architecture
from simulator.errors import InputError

ROWS = [
    Measurement(
        op="gemm",
        gpu="NVIDIA H100 80GB HBM3",
        backend='torch 2.11, "mm"',
        dtype="bf16",
        m=1,
        n=4096,
        k=14336,
        latency_ms=0.0421875,
        p10_ms=0.042,
        p90_ms=0.0425,
        samples=9,
    ),
    Measurement(
        op="decode_attention",
        dtype="bf16",
        kv_dtype="fp8",
        batch=64,
        q_heads=32,
        kv_heads=8,
        head_dim=128,
        context_tokens=262144,
        ragged=0.8,
        latency_ms=0.2935,
        samples=9,
    ),
    Measurement(op="all_reduce", dtype="bf16", tp=8, bytes=2**28, latency_ms=1.5, samples=9),
]
COMMITTED = sorted(Path(str(files("hardware_profiles"))).glob("measurements/*.csv"))


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    with TableWriter(path, {"gpu": "NVIDIA H100", "note": "two\nlines"}) as table:
        table.write(ROWS[0])
        assert table.skip("fp8 gemm", "no fp8: here")
        assert not table.skip("fp8 gemm", "no fp8: here")
        for row in ROWS[1:]:
            table.write(row)
        table.note("finished", 3)
        assert table.written == 3
    measured = read_measurements(path)
    assert measured.rows == ROWS
    assert measured.metadata == {"gpu": "NVIDIA H100", "note": "two lines", "finished": "3"}
    assert measured.skipped == ["fp8 gemm: no fp8: here"]
    header = next(line for line in path.read_text().splitlines() if not line.startswith("#"))
    assert header == ",".join(COLUMNS)


def test_a_cut_run_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    table = TableWriter(path, {"gpu": "x"})
    table.write(ROWS[0])
    assert read_measurements(path).rows == ROWS[:1]  # not closed yet
    table.write(ROWS[1])
    table.close()
    whole = path.read_text()
    path.write_text(whole[:-4])
    assert read_measurements(path).rows == ROWS[:1]


def test_measurements_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("precious\n")
    with pytest.raises(InputError, match=r"m\.csv: exists already"):
        TableWriter(path, {})
    assert path.read_text() == "precious\n"
    with pytest.raises(InputError, match="cannot be written"):
        TableWriter(tmp_path / "no" / "m.csv", {})


def test_a_table_by_hand_may_leave_columns_out(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("latency_ms, op,samples,m\n\n0.5,gemm, 5,\n")
    assert read_measurements(path).rows == [Measurement(op="gemm", latency_ms=0.5, samples=5)]


def test_everything_wrong_in_a_table_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "# gpu: x\nop,m,latency_ms,samples\ngemm,1.5,0.1,5\ngemm,1,-1,5\ngemm,1,0.1\n,1,nan,0\n"
    )
    with pytest.raises(InputError) as caught:
        read_measurements(path)
    found = [(problem.line, problem.field) for problem in caught.value.problems]
    assert found == [
        (3, "m"),
        (4, "latency_ms"),
        (5, None),
        (6, "latency_ms"),
        (6, "op"),
        (6, "samples"),
    ]
    path.write_text("op,latency,latency_ms,op\n")
    with pytest.raises(InputError) as caught:
        read_measurements(path)
    assert [problem.message for problem in caught.value.problems] == [
        "unknown column 'latency'",
        "no column 'samples'",
        "column 'op' twice",
    ]
    for text in ("", "# gpu: x\n"):
        path.write_text(text)
        with pytest.raises(InputError, match="no header line"):
            read_measurements(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_measurements(tmp_path / "missing.csv")


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "m.csv"
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(out)])
    assert caught.value.code == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: measuring needs PyTorch")
    assert "pip install torch" in stderr
    assert stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cpu"], "--toy"),
        (["--quick", "--toy"], "exclude each other"),
        (["--ops", "gemm,conv"], "conv; known: launch, decode_attention"),
        (["--ops", ","], "nothing; known"),
        (["--attention", "magic"], "triton_splitkv"),
    ],
)
def test_bad_arguments(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(tmp_path / "m.csv"), *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_ragged_lengths_are_the_same_everywhere_and_keep_the_total() -> None:
    lengths = ragged_lengths(64, 64 * 4096)
    assert sum(lengths) == 64 * 4096
    assert min(lengths) >= 1
    assert lengths[:4] == [3113, 14386, 6056, 2535]
    assert max(lengths) == 15442
    assert 0.5 < statistics.stdev(lengths) / 4096 < 1.5
    assert ragged_lengths(3, 3) == [1, 1, 1]
    assert Decode(4, 40).lengths() == [10] * 4
    assert sum(Decode(4, 41, 0.8).lengths()) == 41
    with pytest.raises(ValueError, match="one each"):
        ragged_lengths(3, 2)


def test_the_plan_covers_the_catalogue() -> None:
    for name, dense in (("llama-3.1-8b", LLAMA_8B), ("llama-3.3-70b", LLAMA_70B)):
        model = load_architecture(name)
        assert (dense.hidden, dense.intermediate) == (model.hidden_size, model.intermediate_size)
        assert (dense.q_heads, dense.kv_heads) == (
            model.num_attention_heads,
            model.num_key_value_heads,
        )
        assert dense.vocab == model.vocab_size
    assert LLAMA_70B.gemms(8) == [
        (1280, 8192),
        (8192, 1024),
        (7168, 8192),
        (8192, 3584),
        (16032, 8192),
    ]
    full = make_plan("full")
    for model in MODELS:
        assert set(model.gemms(1)) <= set(full.gemm_nk)
    assert all(n % 16 == 0 and k % 16 == 0 for n, k in full.gemm_nk)  # what fp8 kernels ask for
    assert len(set(full.gemm_nk)) == len(full.gemm_nk)
    assert {(heads.q, heads.kv) for heads in full.heads} >= {(32, 8), (64, 8), (8, 1), (28, 4)}
    assert any(point.ragged for point in full.decode)
    assert make_plan("quick").decode != full.decode


def test_samples_become_a_median_and_deciles() -> None:
    timing = summarise([float(i) for i in range(11)])
    assert (timing.p10_ms, timing.latency_ms, timing.p90_ms) == (1.0, 5.0, 9.0)
    assert timing.samples == 11


def test_rotated_data_is_four_times_the_cache() -> None:
    assert copies_for(2**20, 50 * 2**20) == 200
    assert copies_for(2**30, 50 * 2**20) == 1
    assert copies_for(1, 50 * 2**20) == 256
    assert copies_for(2**20, 0) == 1


def test_a_point_that_fails_is_noted_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_gpu = SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: 1))
    path = tmp_path / "m.csv"

    def fail() -> None:
        raise RuntimeError("out of\nmemory")

    with TableWriter(path, {}) as table:
        session = Session(one_gpu, "cuda", "a GPU", CpuTimer(), make_plan("toy"), table)
        assert not session.attempt("gemm m=1", fail)
        assert session.attempt("gemm m=2", lambda: None)
        session.record("gemm", summarise([1.0, 2.0]), m=2, n=3, k=4)
        FAMILIES["all_reduce"](session)
    measured = read_measurements(path)
    assert measured.skipped == ["gemm m=1: out of memory", "all_reduce: this machine has one GPU"]
    assert [(row.op, row.gpu, row.m, row.latency_ms) for row in measured.rows] == [
        ("gemm", "a GPU", 2, 1.5)
    ]
    assert "skipped gemm m=1: out of" in capsys.readouterr().err


def test_a_gpu_that_stopped_working_ends_the_run(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("illegal memory access")

    timer = CpuTimer()
    timer.release = fail  # type: ignore[method-assign]
    with TableWriter(tmp_path / "m.csv", {}) as table:
        session = Session(None, "cpu", "", timer, make_plan("toy"), table)
        with pytest.raises(RuntimeError, match="illegal"):
            session.attempt("gemm", fail)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_measurements_are_complete_and_possible(path: Path) -> None:
    measured = read_measurements(path)
    assert measured.metadata["finished"] == f"{len(measured.rows)} rows"
    assert {"limits", "cuda", "torch", "date"} <= measured.metadata.keys()
    hardware = load_gpu("h100-sxm").hardware
    peaks = {"bf16": hardware.peak_bf16, "fp8": hardware.peak_fp8}
    bandwidth = 4.8e12 if "h200" in path.stem else hardware.memory_bandwidth.si
    for row in measured.rows:
        assert row.samples >= 5
        assert row.p10_ms is not None
        assert row.p90_ms is not None
        assert row.p10_ms <= row.latency_ms <= row.p90_ms
        seconds = row.latency_ms * 1e-3
        if row.op == "gemm":
            assert row.m
            assert row.n
            assert row.k
            peak = peaks[row.dtype]
            assert peak is not None
            assert 2 * row.m * row.n * row.k / seconds < peak.si
        if row.op == "decode_attention":
            assert row.context_tokens
            assert row.kv_heads
            width = 2 if row.kv_dtype == "bf16" else 1
            read = 2 * width * row.context_tokens * row.kv_heads * 128
            assert read / seconds < bandwidth
    assert {row.op for row in measured.rows} >= {"gemm", "decode_attention", "launch_graph"}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_toy_run_on_the_cpu_fills_a_table(tmp_path: Path) -> None:
    out = tmp_path / "toy.csv"
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(out), "--toy", "--device", "cpu"])
    assert caught.value.code == 0
    measured = read_measurements(out)
    ops = {row.op for row in measured.rows}
    assert ops == {*FAMILIES, "launch_eager", "copy_d2d"} - {"launch"}
    assert {row.ragged for row in measured.rows if row.op == "decode_attention"} == {0.0, 0.8}
    assert {row.dtype for row in measured.rows if row.op == "gemm"} == {"bf16", "fp8"}
    assert all(row.latency_ms > 0 for row in measured.rows)
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(out), "--toy", "--device", "cpu"])
    assert caught.value.code == 2
