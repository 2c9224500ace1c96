"""What every kind of workload can be asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.rng import luck
from workloads.batch import MAX_REQUESTS, MAX_TOKENS, RequestBatch
from workloads.queries import WITHIN_PROBLEM_SIGMA
from workloads.schema import Section
from workloads.slo import Slo


class Workload(Section):
    """Base of the workload kinds: a mapping of the experiment file that requests come from.

    `limit_field` is the field that bounds the number of requests.
    """

    @property
    def limit_field(self) -> str:
        """Name of the field that bounds how many requests come."""
        return "num_requests"

    @property
    @abstractmethod
    def has_own_end(self) -> bool:
        """Whether the workload itself says how many requests come, or for how long."""

    @property
    def is_closed_loop(self) -> bool:
        """Whether clients wait for answers, so that nobody knows beforehand when requests come."""
        return False

    @property
    def needs_an_end(self) -> bool:
        """Whether requests would come for ever if nothing bounded them."""
        return False

    @abstractmethod
    def generate(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> RequestBatch:
        """The requests of `seed`.

        `duration_s` ends the arrivals if the workload itself sets no end; relative paths start at
        `base_dir` (or the current directory). Raises InputError for files that are missing or
        malformed, or if no request arrives.
        """

    def attempt(
        self, seed: int, batch: RequestBatch, number: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Thinking and answer tokens of attempt `number` at each query of `batch`, int64[n] each.

        `batch` comes from `generate` with this seed, and holds attempt 0. Where no law says how
        attempts at one problem spread, their thinking does by `WITHIN_PROBLEM_SIGMA`.
        """
        if number == 0:
            return batch.thinking_tokens, batch.answer_tokens
        from scipy.special import ndtri

        drawn = luck(seed, "within_problem", "", len(batch), sample=number)
        sigma = WITHIN_PROBLEM_SIGMA
        factor = np.exp(sigma * ndtri(drawn) - 0.5 * sigma**2)  # 1 in the mean
        thinking = np.minimum(np.rint(batch.thinking_tokens * factor), MAX_TOKENS)
        return thinking.astype(np.int64), batch.answer_tokens

    def difficulty_law(self, class_name: str) -> tuple[float, float] | None:
        """Shapes of the beta law that a class draws difficulties from; None where there is none."""
        return None

    def batches(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> Iterator[RequestBatch]:
        """As `generate`, in pieces in order of arrival, where a kind need not hold everything."""
        yield self.generate(seed, duration_s=duration_s, base_dir=base_dir)

    def limited(self, count: int) -> Workload:
        """The same workload, ending after `count` requests."""
        return self.model_copy(update={self.limit_field: count})

    def inputs(self, base_dir: Path | None = None) -> list[Path]:
        """The files that requests are read from."""
        return []

    @property
    def slos(self) -> list[Slo]:
        """The latency targets that some of its classes have, instead of the experiment's."""
        return []

    @property
    def priorities(self) -> list[int]:
        """The priorities of its classes, smaller more urgent."""
        return [0]

    def check(self, base_dir: Path | None = None) -> list[Problem]:
        """What is wrong with `inputs` without reading them: none is there, or no file."""
        return []


def path_problem(path: Path, field: str) -> list[Problem]:
    """What is wrong with a path, without opening the file: missing, no file, not to be entered."""
    try:
        if path.is_file():
            return []
        wrong = "is not a file" if path.exists() else "no such file"
    except OSError as error:  # a name that is too long, a directory that may not be entered
        return [Problem(f"can't be read: {error.strerror}", field=field)]
    return [Problem(f"{wrong}: {path}", field=field)]


class FileWorkload(Workload):
    """Base of the kinds that read files, which end by themselves: `limit` and `duration_s` cut."""

    limit: int | None = Field(None, ge=1, le=MAX_REQUESTS)
    duration_s: float | None = Field(None, gt=0, le=1e9)

    @property
    def limit_field(self) -> str:
        """Name of the field that bounds how many requests come."""
        return "limit"

    @property
    def has_own_end(self) -> bool:
        """Whether the workload itself says how many requests come, or for how long."""
        return self.limit is not None or self.duration_s is not None


class DrawnWorkload(Workload):
    """Base of the kinds whose requests are drawn from laws, without end unless one is given.

    Queries, or sessions, begin before `duration_s`, or with one of the first `num_requests`
    requests; sessions that have begun go on.
    """

    num_requests: int | None = Field(None, ge=1, le=MAX_REQUESTS)
    duration_s: float | None = Field(None, gt=0)

    @property
    def has_own_end(self) -> bool:
        """Whether the workload itself says how many requests come, or for how long."""
        return self.num_requests is not None or self.duration_s is not None

    @property
    def needs_an_end(self) -> bool:
        """Whether requests would come for ever if nothing bounded them."""
        return not self.has_own_end

    def bounded(self, batch: RequestBatch, duration_s: float | None) -> RequestBatch:
        """The first `num_requests` of `batch`, and the rest of the sessions that they begin.

        `duration_s` is what ended it before. Raises InputError if there is none.
        """
        if not len(batch):
            within = "" if duration_s is None else f" in {duration_s:g} s"
            why = "".join(f"; {count:,} left out: {why}" for why, count in batch.dropped.items())
            raise InputError(Problem(f"no request arrives{within}{why}", field="workload.arrivals"))
        return batch if self.num_requests is None else batch.first(self.num_requests)
