"""How a kernel is timed: a CUDA graph of many launches, CUDA events, a median of samples."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Call = Callable[[], object]
CACHE_FACTOR = 4  # rotated data is at least this many times the L2 cache
MAX_NODES = 256  # launches in one graph
AHEAD_CYCLES = 4_000_000  # about two milliseconds of GPU clock


@dataclass(frozen=True)
class Timing:
    """Median, 10th and 90th percentile (ms) of one call over `samples` samples."""

    latency_ms: float
    p10_ms: float
    p90_ms: float
    samples: int


def summarise(samples_ms: Sequence[float]) -> Timing:
    """Median and outer deciles (linear interpolation) of at least two samples in ms."""
    deciles = statistics.quantiles(samples_ms, n=10, method="inclusive")
    return Timing(statistics.median(samples_ms), deciles[0], deciles[-1], len(samples_ms))


def copies_for(bytes_read: int, cache_bytes: int, limit: int = MAX_NODES) -> int:
    """How many copies of the data to rotate among so that a call finds none of it in L2."""
    return max(1, min(limit, math.ceil(CACHE_FACTOR * cache_bytes / max(1, bytes_read))))


def time_on_host(work: Call, per: int = 1, samples: int = 7) -> Timing:
    """Wall-clock time of `work`, divided by `per`, after one warm-up."""
    work()
    taken = []
    for _ in range(samples):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1e3 / per)
    return summarise(taken)


class CpuTimer:
    """Times calls on the CPU, one after the other; for trying the code path, not for profiles."""

    cache_bytes = 0

    def __init__(self, samples: int = 5) -> None:
        self.samples = samples

    def time(self, calls: Sequence[Call], *, repeats: int | None = None) -> Timing:
        """Time per call; `calls` are equivalent and all of them run in every sample."""
        count = (repeats or 1) * len(calls)

        def work() -> None:
            for i in range(count):
                calls[i % len(calls)]()

        return time_on_host(work, count, self.samples)

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def release(self) -> None:
        """Nothing to give back."""


class CudaTimer:
    """Times calls by replaying a CUDA graph of them.

    A graph holds every call of the rotation at least once and about `target_ms` of work (at most
    `MAX_NODES` launches). Replays follow each other without a pause, each sample between two CUDA
    events, while the host has run ahead, so neither the host nor an idle GPU is in the numbers. The
    GPU's clocks are left alone.
    """

    def __init__(self, torch: Any, *, target_ms: float = 2.0, samples: int = 9) -> None:
        self.torch = torch
        self.target_ms = target_ms
        self.samples = samples
        device = torch.cuda.current_device()
        properties = torch.cuda.get_device_properties(device)
        self.cache_bytes = int(getattr(properties, "L2_cache_size", 0)) or 64 * 2**20
        self._stream = torch.cuda.Stream()
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(64)]
        # All graphs share one memory pool, kept alive by a graph that is never replayed.
        self._pool = torch.cuda.graph_pool_handle()
        self._scratch = torch.zeros(1, device="cuda")
        self._keeper = self.capture([lambda: self._scratch.add_(1)])

    def capture(self, calls: Sequence[Call]) -> Any:
        """A CUDA graph that launches `calls` in order; the calls ran eagerly before."""
        torch = self.torch
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                for call in calls:
                    call()
            finally:
                graph.capture_end()
        return graph

    def time(self, calls: Sequence[Call], *, repeats: int | None = None) -> Timing:
        """Time per call in ms; `calls` are equivalent launches on different data.

        `repeats` fixes how often the rotation runs in a graph (collectives: every rank must agree
        on it); by default a first eager run decides.
        """
        with self.torch.no_grad():
            estimate = self._eager(calls)
            if repeats is None:
                wanted = min(MAX_NODES, math.ceil(self.target_ms / estimate))
                repeats = max(1, wanted // len(calls))
            nodes = list(calls) * repeats
            graph = self.capture(nodes)
            timing = self._replay(graph, len(nodes))
            graph.reset()
        return timing

    def time_graph(self, graph: Any) -> Timing:
        """Device time of one replay of a captured graph, however short.

        The GPU is kept busy first, for the host to have queued every sample by the time it is run.
        """
        return self._replay(graph, 1, ahead=True)

    def synchronize(self) -> None:
        """Wait for the GPU."""
        self.torch.cuda.synchronize()

    def release(self) -> None:
        """Give cached GPU memory back, between families of operations."""
        self.torch.cuda.synchronize()
        self.torch.cuda.empty_cache()

    def _eager(self, calls: Sequence[Call]) -> float:
        calls[0]()
        start, end = self._events[:2]
        self.torch.cuda.synchronize()
        start.record()
        calls[-1]()
        end.record()
        end.synchronize()
        return max(1e-3, float(start.elapsed_time(end)))

    def _replay(self, graph: Any, nodes: int, ahead: bool = False) -> Timing:
        graph.replay()  # the first replay uploads the graph
        graph.replay()
        if ahead:
            self.torch.cuda._sleep(AHEAD_CYCLES)
        for i in range(self.samples):
            self._events[2 * i].record()
            graph.replay()
            self._events[2 * i + 1].record()
        self.torch.cuda.synchronize()
        pairs = [(self._events[2 * i], self._events[2 * i + 1]) for i in range(self.samples)]
        return summarise([start.elapsed_time(end) / nodes for start, end in pairs])
