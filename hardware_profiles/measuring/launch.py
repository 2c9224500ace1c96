"""What the host and the memory cost: launches, graph replays, copies, reading memory."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from hardware_profiles.measuring.session import Session
from hardware_profiles.measuring.timing import (
    CudaTimer,
    Timing,
    copies_for,
    summarise,
    time_on_host,
)

EAGER_LAUNCHES = 1000
READ_ROW = 16384  # int32 per row whose maximum is taken: the shape that reads fastest on an H100
READ_BYTES = 2**26  # smaller matrices have too few rows to fill a GPU


def measure(session: Session) -> None:
    """Rows launch_*, copy_* and hbm_read; on a CPU trial only those that exist there."""
    backend = f"torch {session.torch.__version__}"
    session.attempt("launch_eager", partial(_eager, session, backend))
    timer = session.timer
    if isinstance(timer, CudaTimer):
        for nodes in session.plan.graph_nodes:
            session.attempt("launch_graph", partial(_graph, session, timer, backend, nodes))
    for size in session.plan.copy_bytes:
        session.attempt("copies", partial(_copies, session, backend, size))
    session.timer.release()
    session.say("launches and copies")


def _eager(session: Session, backend: str) -> None:
    """Host time per launch of a one-element kernel: 1000 of them, then one synchronisation."""
    x = session.torch.zeros(1, device=session.device)

    def work() -> None:
        for _ in range(EAGER_LAUNCHES):
            x.add_(1)
        session.timer.synchronize()

    timing = time_on_host(work, EAGER_LAUNCHES)
    session.record("launch_eager", timing, backend=backend, n=EAGER_LAUNCHES)


def _graph(session: Session, timer: CudaTimer, backend: str, nodes: int) -> None:
    """A graph of `nodes` one-element kernels, each waiting for the one before.

    launch_graph: time on the GPU. launch_graph_host: until replay() returns, GPU idle before.
    launch_graph_sync: until the host knows that it is done.
    """
    x = session.torch.zeros(1, device=session.device)
    graph = timer.capture([partial(x.add_, 1)] * nodes)
    session.record("launch_graph", timer.time_graph(graph), backend=backend, n=nodes)

    def replay_and_wait() -> None:
        graph.replay()
        timer.synchronize()

    session.record(
        "launch_graph_sync", time_on_host(replay_and_wait, 1, 21), backend=backend, n=nodes
    )
    timer.synchronize()
    session.record("launch_graph_host", _return_time(graph, timer), backend=backend, n=nodes)
    graph.reset()


def _return_time(graph: Any, timer: CudaTimer) -> Timing:
    taken = []
    for _ in range(21):
        timer.synchronize()
        start = time.perf_counter()
        graph.replay()
        taken.append((time.perf_counter() - start) * 1e3)
    timer.synchronize()
    return summarise(taken)


def _copies(session: Session, backend: str, size: int) -> None:
    """Copies of `size` bytes, each of data that is not in L2, and a maximum that only reads.

    copy_d2d reads and writes `bytes` each. copy_h2d and copy_d2h use pinned host memory;
    copy_d2h_sync is one of them with the synchronisation a sampled token waits for.
    """
    torch, device = session.torch, session.device
    count = copies_for(size, session.timer.cache_bytes, limit=64)
    source = [
        torch.randint(0, 100, (size,), device=device, dtype=torch.uint8) for _ in range(count)
    ]
    target = [torch.empty_like(x) for x in source]

    def record(op: str, timing: Timing) -> None:
        session.record(op, timing, backend=backend, bytes=size)

    calls = [partial(b.copy_, a) for a, b in zip(source, target, strict=True)]
    record("copy_d2d", session.timer.time(calls))
    if size >= READ_BYTES:
        rows = [x.view(torch.int32).view(-1, READ_ROW) for x in source]
        out = torch.empty(rows[0].shape[0], device=device, dtype=torch.int32)
        record("hbm_read", session.timer.time([partial(torch.amax, x, 1, out=out) for x in rows]))
    if session.on_gpu:
        host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        up = [partial(x.copy_, host, non_blocking=True) for x in source]
        down = [partial(host.copy_, x, non_blocking=True) for x in source]
        record("copy_h2d", session.timer.time(up))
        record("copy_d2h", session.timer.time(down))

        def wait_for_copy() -> None:
            down[0]()
            session.timer.synchronize()

        record("copy_d2h_sync", time_on_host(wait_for_copy, 1, 21))
