"""Measure a GPU, to calibrate a profile: `python -m hardware_profiles.measure --out FILE.csv`.

Needs PyTorch with CUDA on the GPU to be measured (tried with 2.11). Attention is measured with the
best back end installed (vLLM's FlashAttention, flash-attn, else a Triton kernel that comes with
ponder and torch's own prefill) and the table says which. Clocks and power limits stay as they are.
On one H100 a full run takes about two minutes, `--quick` ten seconds. Runs on an H100 and an H200
are in `hardware_profiles/measurements/`.

The CSV starts with `# key: value` lines (GPU, driver, versions, date, clocks); lines of the same
form between the rows name back ends, clocks seen under load and, as `# skipped:`, what could not be
measured and why. Then one header line and one row per point; cells that don't apply are empty:

    op              gemm, decode_attention, prefill_attention, all_reduce, launch_eager,
                    launch_graph, launch_graph_host, launch_graph_sync, copy_d2d, copy_h2d,
                    copy_d2h, copy_d2h_sync, hbm_read
    gpu             as the driver names it
    backend         library and version, or kernel, that ran
    dtype           bf16 or fp8 (e4m3): inputs of a GEMM, message of an all-reduce, queries and
                    output of attention (FlashAttention 3 rounds queries to fp8 for an fp8 cache)
    kv_dtype        bf16 or fp8: the KV cache of attention
    m, n, k         gemm: Y[m,n] = X[m,k] W[n,k]^T, Y in bf16; launch_*: n kernels
    batch           attention: sequences
    q_heads, kv_heads, head_dim   attention: of one rank
    context_tokens  attention: keys of all sequences together (new tokens included)
    isl             prefill_attention: new tokens of each sequence
    ragged          attention: 0 for equal lengths, else the sigma of the log-normal lengths, which
                    `measuring.shapes.ragged_lengths(batch, context_tokens, ragged)` gives again,
                    in that order (the order matters: kernels start the first sequences first)
    tp              all_reduce: ranks
    bytes           all_reduce: message of one rank; copies and hbm_read: bytes copied or read
    latency_ms      median time of one call (launch_eager: of one launch; launch_graph*: of one
                    replay of the whole graph) in milliseconds
    p10_ms, p90_ms  10th and 90th percentile of the samples
    samples         how many; each is the mean over a CUDA graph of launches

How it is timed: a CUDA graph with about two milliseconds of launches (256 at most) is replayed
twice to warm up and then nine times back to back between CUDA events. Weights and KV pages rotate
among copies that together hold four times the L2 cache, since a served model finds neither there;
random data, since zeros multiply faster. launch_eager, launch_graph_host and the *_sync rows are
times of the host's clock.

What is not in a row: rounding X to fp8 before an fp8 GEMM, writing new keys and values to the cache
before attention, choosing the split of a decode batch (once per step, not per layer).
"""

from __future__ import annotations

import datetime
import importlib
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import click

from hardware_profiles.measuring import attention, collectives, gemm, launch
from hardware_profiles.measuring.attention_backends import KEYS
from hardware_profiles.measuring.clocks import ClockWatch, ask
from hardware_profiles.measuring.session import Session
from hardware_profiles.measuring.shapes import Size, make_plan
from hardware_profiles.measuring.table import TableWriter
from hardware_profiles.measuring.timing import CpuTimer, CudaTimer
from simulator.errors import InputError, PonderError, Problem

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

FAMILIES: dict[str, Callable[[Session], None]] = {
    "launch": launch.measure,
    "decode_attention": attention.measure_decode,
    "gemm": gemm.measure,
    "prefill_attention": attention.measure_prefill,
    "all_reduce": collectives.measure,
}
LIBRARIES = ("vllm", "flash_attn", "flash-attn-3", "triton")


def _ops(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    wanted = [op.strip() for op in text.split(",") if op.strip()]
    unknown = [op for op in wanted if op not in FAMILIES]
    if unknown or not wanted:
        raise click.BadParameter(f"{', '.join(unknown) or 'nothing'}; known: {', '.join(FAMILIES)}")
    return tuple(op for op in FAMILIES if op in wanted)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="CSV to write (new).")
@click.option(
    "--ops",
    default=",".join(FAMILIES),
    show_default=True,
    callback=_ops,
    help="Families of operations, separated by commas.",
)
@click.option("--quick", is_flag=True, help="A tenth of the points, in seconds.")
@click.option("--toy", is_flag=True, help="Tiny sizes in seconds, only to try the code.")
@click.option(
    "--device",
    default="cuda",
    show_default=True,
    type=click.Choice(["cuda", "cpu"]),
    help="cpu goes with --toy only: its times say nothing about a GPU.",
)
@click.option(
    "--attention",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *KEYS]),
    help="The attention back end to use; auto: the best that is installed and computes right.",
)
def command(
    out: str, ops: tuple[str, ...], quick: bool, toy: bool, device: str, attention: str
) -> None:
    """Measure the kernels of this machine's GPU and write them to a CSV file."""
    if device == "cpu" and not toy:
        raise InputError("--device cpu only tries the code: give --toy with it")
    if quick and toy:
        raise InputError("--quick and --toy exclude each other")
    size: Size = "toy" if toy else "quick" if quick else "full"
    measure(out, ops, size, device, attention)


def measure(
    out: str | Path, ops: tuple[str, ...], size: Size, device: str, attention: str = "auto"
) -> int:
    """Run the families `ops` of `FAMILIES` and write `out`; returns the number of rows.

    Raises InputError without torch, without a GPU (`device` "cuda"), or if `out` exists. When it is
    interrupted, `out` holds every row measured so far.
    """
    torch = import_torch(device)
    timer = CudaTimer(torch) if device == "cuda" else CpuTimer()
    watched = gpu_id(torch) if device == "cuda" else None
    gpu = torch.cuda.get_device_name() if device == "cuda" else f"cpu ({platform.machine()})"
    with TableWriter(out, _metadata(torch, device, gpu, size)) as table:
        session = Session(torch, device, gpu, timer, make_plan(size), table, attention)
        for op in ops:
            with ClockWatch(watched if op != "launch" else None) as clocks:
                try:
                    FAMILIES[op](session)
                except RuntimeError as error:
                    why = str(error).partition("\n")[0]
                    raise PonderError(
                        f"the GPU failed while measuring {op} ({why}); {out} keeps"
                        f" {table.written} rows"
                    ) from error
            if clocks.seen:
                table.note(f"clocks during {op}", clocks.summary())
        table.note("finished", f"{table.written} rows")
        session.say(f"{table.written} rows in {out}")
        return table.written


def import_torch(device: str) -> Any:
    """The torch module, able to use `device`; InputError says what to install or why not."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(
            Problem(
                "measuring needs PyTorch (pip install torch; a CUDA build for GPUs),"
                f" which cannot be imported here: {error}"
            )
        ) from None
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"PyTorch {torch.__version__} sees no CUDA GPU here; to try the code without one, give"
            " --toy --device cpu"
        )
    return torch


def gpu_id(torch: Any) -> str:
    """What nvidia-smi calls the GPU that torch uses first."""
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return "0" if uuid is None else f"GPU-{uuid}"


def _metadata(torch: Any, device: str, gpu: str, size: Size) -> dict[str, object]:
    ponder = _version("ponder", missing="(a source tree)")
    metadata: dict[str, object] = {
        "made by": f"python -m hardware_profiles.measure of ponder {ponder}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "size": size,
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    metadata |= {name: _version(name) for name in LIBRARIES}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        metadata |= {
            "gpus": torch.cuda.device_count(),
            "cuda": torch.version.cuda,
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
            "compute capability": ".".join(map(str, torch.cuda.get_device_capability())),
            "multiprocessors": properties.multi_processor_count,
            "memory bytes": properties.total_memory,
            "L2 bytes": getattr(properties, "L2_cache_size", "unknown"),
            "limits": ask(
                gpu_id(torch), "driver_version", "clocks.max.sm", "clocks.max.mem", "power.limit"
            ),
        }
    return metadata


def _version(package: str, missing: str = "not installed") -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return missing


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 fine, 1 failed, 2 bad input, 130 interrupted."""
    try:
        command.main(args, prog_name="python -m hardware_profiles.measure", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PonderError as error:
        for line in error.problems if isinstance(error, InputError) else [error]:
            click.echo(f"error: {line}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: the rows measured so far are kept", err=True)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


if __name__ == "__main__":
    main()
