"""Requests of a population of clients: the `population` workload."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.errors import InputError, Problem
from workloads.batch import MAX_REQUESTS, MAX_TOKENS, RequestBatch
from workloads.population.draw import Draws, senders
from workloads.population.model import WINDOW_S, Population
from workloads.population.read import chunk_files, companion, read_population
from workloads.workload import FileWorkload, path_problem


class PopulationWorkload(FileWorkload):
    """Clients with rates, burstiness and lengths of their own in every ten minutes of a day.

    `windows_path` and `lengths_path` are read by `read_population`; a directory of ServeGen's
    chunks needs no `lengths_path`. `scale` 2.5 means two and a half times the traffic with the
    same statistics: each client twice, independently, and once more at half its rates.
    The run starts at `start_s` of the data and ends after `limit` requests or before `duration_s`,
    whichever comes first; `duration_s` is the data's day (or days) if nothing sets it. Past their
    end the data begin anew, with other draws.
    """

    kind: Literal["population"] = "population"
    class_name: str = Field("default", min_length=1)
    windows_path: str = Field(min_length=1)
    lengths_path: str | None = Field(None, min_length=1)
    scale: float = Field(1.0, gt=0, le=1e4, description="How many times the traffic of the data.")
    start_s: float = Field(0.0, ge=0, le=1e9, description="Time of day at which the run starts.")
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)

    def inputs(self, base_dir: Path | None = None) -> list[Path]:
        """The files that rates and lengths are read from."""
        windows, lengths = self._paths(base_dir)
        try:
            if os.path.isdir(windows):
                return [path for pair in chunk_files(windows).values() for path in pair]
            return [windows, companion(windows) if lengths is None else lengths]
        except InputError:
            return [windows]

    def check(self, base_dir: Path | None = None) -> list[Problem]:
        """What is wrong with the paths, without reading the files."""
        windows, lengths = self._paths(base_dir)
        try:
            if os.path.isdir(windows):
                chunk_files(windows)
                if lengths is not None:
                    message = "a directory of windows_path holds its own lengths: leave this out"
                    return [Problem(message, field="workload.lengths_path")]
                return []
            problems = path_problem(windows, "workload.windows_path")
            if lengths is not None:
                problems += path_problem(lengths, "workload.lengths_path")
            elif not problems:
                companion(windows)
        except InputError as error:
            return error.problems
        return problems

    def generate(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> RequestBatch:
        """Draws the requests of `seed`.

        `duration_s` ends the arrivals if the workload itself sets no end. Raises InputError for
        files that are missing or malformed, or if no request arrives.
        """
        batches = list(self.batches(seed, duration_s=duration_s, base_dir=base_dir))
        if not sum(map(len, batches)):
            message = "no request arrives in this time"
            raise InputError(Problem(message, field="workload.duration_s"))

        def column(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(batch, name) for batch in batches])

        first = batches[0]
        return RequestBatch(
            arrival_s=column("arrival_s"),
            prompt_tokens=column("prompt_tokens"),
            thinking_tokens=column("thinking_tokens"),
            answer_tokens=column("answer_tokens"),
            max_tokens=column("max_tokens"),
            class_id=column("class_id"),
            class_names=first.class_names,
            client_id=column("client_id"),
            client_names=first.client_names,
            provenance=first.provenance,
        )

    def batches(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> Iterator[RequestBatch]:
        """The requests of `seed` window by window, so that memory is that of ten minutes.

        Times ascend within a batch and from one to the next. Every window gives a batch, an empty
        one if nobody sends. Raises InputError as `generate` does, but for an empty workload.
        """
        population = read_population(*self._paths(base_dir))
        if self.has_own_end:
            duration_s = self.duration_s
        end_s = self.start_s + (population.period_s if duration_s is None else duration_s)
        _require_plausible(population, self.scale, self.start_s, end_s, self.limit)
        sending = senders(population.clients, self.scale)
        draws = Draws(seed, population, sending)
        names = tuple(sender.name for sender in sending)
        provenance = self._provenance(population)
        left = MAX_REQUESTS if self.limit is None else self.limit
        for window in range(int(self.start_s // WINDOW_S), math.ceil(end_s / WINDOW_S)):
            requests = draws.window(window)
            first, stop = np.searchsorted(requests.time_s, [self.start_s, end_s], side="left")
            stop = min(int(stop), int(first) + left)
            taken = requests.take(slice(int(first), stop))
            n = len(taken.time_s)
            left -= n
            yield RequestBatch(
                arrival_s=taken.time_s - self.start_s,
                prompt_tokens=taken.prompt_tokens,
                thinking_tokens=taken.thinking_tokens,
                answer_tokens=taken.answer_tokens,
                max_tokens=np.full(n, self.max_tokens or 0, dtype=np.int64),
                class_id=np.zeros(n, dtype=np.int32),
                class_names=(self.class_name,),
                client_id=taken.sender,
                client_names=names,
                provenance=provenance,
            )
            if left == 0:
                return

    def _paths(self, base_dir: Path | None) -> tuple[Path, Path | None]:
        base = base_dir or Path()
        windows = base / os.path.expanduser(self.windows_path)
        if self.lengths_path is None:
            return windows, None
        return windows, base / os.path.expanduser(self.lengths_path)

    def _provenance(self, population: Population) -> dict[str, str]:
        scaled = f", traffic x {self.scale:g}" if self.scale != 1 else ""
        started = f", from {self.start_s:g} s" if self.start_s else ""
        shapes = ""
        if population.other_shapes:
            shapes = (
                f"; {population.other_shapes:,} windows' shape is at odds with their CV, not used"
            )
        borrowed = population.borrowed_lengths()
        lengths = f"PDFs by client and time of {population.lengths_source}"
        if borrowed:
            lengths += f"; {borrowed:,} windows have none and take the nearest in time"
        thinking = "round(output x thinking's share), drawn independently as no joint is published"
        if all(one.ratio is None for client in population.clients for one in client.lengths):
            thinking = "none: the PDFs know no thinking"
        return {
            "arrival_s": (
                f"drawn: {len(population.clients)} clients of {population.windows_source}, each a "
                f"stationary renewal process at its rate and CV in every {WINDOW_S} s"
                f"{scaled}{started}{shapes}"
            ),
            "prompt_tokens": f"drawn: {lengths}",
            "thinking_tokens": f"drawn: {thinking}"
            if not thinking.startswith("none")
            else thinking,
            "answer_tokens": "drawn: output less thinking, at least 1",
        }


def _require_plausible(
    population: Population, scale: float, start_s: float, end_s: float, limit: int | None
) -> None:
    """Raises InputError if more requests are expected than fit into a batch."""
    expected = population.expected_requests()
    periods, rest = divmod(end_s - start_s, population.period_s)
    windows = int(start_s // WINDOW_S) + np.arange(math.ceil(rest / WINDOW_S) + 1)
    total = scale * (periods * expected.sum() + expected[windows % len(expected)].sum())
    if min(total, limit or math.inf) > MAX_REQUESTS:
        message = f"{total:.3g} requests would arrive; {MAX_REQUESTS:,} is the most"
        raise InputError(Problem(message, field="workload.scale"))
