"""All-reduce of bf16 among the GPUs of this machine, one process each (NCCL; gloo on CPUs)."""

from __future__ import annotations

import queue
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from hardware_profiles.measuring.session import Session
from hardware_profiles.measuring.timing import CpuTimer, CudaTimer, Timing

REPEATS = 20  # collectives in one graph: the same on every rank
PATIENCE_S = 120


def measure(session: Session) -> None:
    """Every message size at 2, 4, 8 ... GPUs; skipped, and said so, with a single GPU.

    An engine's own small-message kernel (vLLM's custom all-reduce) is faster than NCCL below about
    a megabyte; it is not measured here.
    """
    ranks = session.torch.cuda.device_count() if session.on_gpu else 2
    if ranks < 2:
        session.table.skip("all_reduce", "this machine has one GPU")
        session.say("all_reduce: skipped, this machine has one GPU")
        return
    session.timer.release()
    tp = 2
    while tp <= ranks:
        session.attempt(f"all_reduce tp={tp}", partial(_group, session, tp))
        tp *= 2


def _group(session: Session, tp: int) -> None:
    context = session.torch.multiprocessing.get_context("spawn")
    results = context.Queue()
    library = "nccl" if session.on_gpu else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        arguments = (tp, library, meeting, session.plan.all_reduce_bytes, results)
        workers = [
            context.Process(target=run_rank, args=(rank, *arguments), daemon=True)
            for rank in range(tp)
        ]
        for worker in workers:
            worker.start()
        try:
            while (answer := _next(results, workers)) is not None:
                size, backend, timing = answer
                session.record(
                    "all_reduce", Timing(*timing), backend=backend, dtype="bf16", tp=tp, bytes=size
                )
            for worker in workers:
                worker.join(PATIENCE_S)
        finally:
            for worker in workers:
                if worker.is_alive():
                    worker.terminate()
    session.say(f"all_reduce: {tp} ranks")


def _next(results: Any, workers: list[Any]) -> Any:
    """The next answer of rank 0, None at the end; RuntimeError if a rank died or hangs."""
    for _ in range(PATIENCE_S):
        try:
            return results.get(timeout=1)
        except queue.Empty:
            failed = [worker.exitcode for worker in workers if worker.exitcode]
            if failed:
                raise RuntimeError(f"a rank ended with exit code {failed[0]}") from None
    raise RuntimeError(f"no answer within {PATIENCE_S} s")


def run_rank(
    rank: int, tp: int, library: str, meeting: str, sizes: tuple[int, ...], results: Any
) -> None:
    """One rank's process: all-reduce `sizes` (bytes of bf16); rank 0 reports the times."""
    import torch  # type: ignore[import-not-found,unused-ignore]
    import torch.distributed as dist  # type: ignore[import-not-found,unused-ignore]

    device = "cpu"
    timer: CpuTimer | CudaTimer = CpuTimer()
    if library == "nccl":
        torch.cuda.set_device(rank)
        device = "cuda"
        timer = CudaTimer(torch)
    dist.init_process_group(library, init_method=meeting, rank=rank, world_size=tp)
    version = ".".join(map(str, torch.cuda.nccl.version())) if library == "nccl" else ""
    for size in sizes:
        # Zeros stay zeros however often they are summed; their values don't matter to a link.
        message = torch.zeros(size // 2, device=device, dtype=torch.bfloat16)
        dist.barrier()
        timing = timer.time([partial(dist.all_reduce, message)], repeats=REPEATS)
        if rank == 0:
            values = (timing.latency_ms, timing.p10_ms, timing.p90_ms, timing.samples)
            results.put((size, f"{library} {version}".strip(), values))
    if rank == 0:
        results.put(None)
    dist.barrier()
    dist.destroy_process_group()
