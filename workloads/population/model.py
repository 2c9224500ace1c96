"""What is known of a population: each client's traffic by window, and its lengths."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workloads.population.pmf import RatioPmf, TokenPmf
from workloads.processes.gaps import Family

WINDOW_S = 600
"""A client's rate and CV hold for ten minutes, as ServeGen publishes them."""

DAY_S = 86_400

MAX_T_S = 366 * DAY_S
"""Times beyond a year are taken for a mistake, such as dates."""


@dataclass(frozen=True, eq=False)
class ClientLengths:
    """The lengths of one client's requests between `start_s` and `end_s` (seconds of the data).

    `output` is thinking and answer together, `ratio` thinking's share of it; None where the data
    know no thinking.
    """

    start_s: int
    end_s: int
    prompt: TokenPmf
    output: TokenPmf
    ratio: RatioPmf | None


@dataclass(frozen=True, eq=False)
class Client:
    """One client. `window`: int64[m], its windows with traffic, ascending, window w lasting from
    w * WINDOW_S to (w + 1) * WINDOW_S. `rate_rps`, `cv`: float64[m], requests per second and
    coefficient of variation of the gaps there; `family`: the law of the gaps there.
    `lengths`: one or more, ascending in time, not overlapping.
    """

    name: str
    window: NDArray[np.int64]
    rate_rps: NDArray[np.float64]
    cv: NDArray[np.float64]
    family: tuple[Family, ...]
    lengths: tuple[ClientLengths, ...]

    def lengths_at(self, window: int) -> tuple[ClientLengths, bool]:
        """The lengths of a window, and whether published for it: otherwise the nearest in time."""
        time_s = window * WINDOW_S
        after = bisect_right(self.lengths, time_s, key=lambda lengths: lengths.start_s)
        if after and time_s < self.lengths[after - 1].end_s:
            return self.lengths[after - 1], True
        near = self.lengths[max(after - 1, 0) : after + 1]
        return min(near, key=lambda one: max(time_s - one.end_s, one.start_s - time_s)), False


@dataclass(frozen=True, eq=False)
class Population:
    """Clients, over a period of whole days, after which they begin anew.

    `windows_source`, `lengths_source`: the files' names, for provenance. `other_shapes`: windows
    whose published shape parameter does not give their published CV, of which the CV is used.
    """

    clients: tuple[Client, ...]
    windows_source: str
    lengths_source: str
    other_shapes: int = 0
    period_s: int = field(init=False)

    def __post_init__(self) -> None:
        last = max(int(client.window[-1]) for client in self.clients)
        days = -(-(last + 1) * WINDOW_S // DAY_S)
        object.__setattr__(self, "period_s", days * DAY_S)

    @property
    def windows(self) -> int:
        """How many windows the period has."""
        return self.period_s // WINDOW_S

    def expected_requests(self) -> NDArray[np.float64]:
        """Requests expected in each window of the period, float64[windows]."""
        expected = np.zeros(self.windows)
        for client in self.clients:
            expected[client.window] += client.rate_rps * WINDOW_S
        return expected

    def borrowed_lengths(self) -> int:
        """Windows with traffic whose lengths are those of another time."""
        return sum(
            not client.lengths_at(int(window))[1]
            for client in self.clients
            for window in client.window
        )
