"""The requests of one client in one window, each draw at an address of its own.

Row w * 2^32 + j of a client's streams belongs to request j of its window w. So neither another
client, nor another copy, nor which windows are asked for changes what is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.rng import uniforms
from workloads.laws.ratio import split_output
from workloads.population.model import WINDOW_S, Client, ClientLengths, Population
from workloads.processes.gaps import Family, equilibrium_gap, gamma_gaps, weibull_gaps

_GAPS = {"gamma": gamma_gaps, "weibull": weibull_gaps}


@dataclass(frozen=True, eq=False)
class Sender:
    """A client, or one of several copies of it: `entity` is where its draws are found, its rates
    are those of the client times `factor`.
    """

    client: Client
    name: str
    factor: float

    @property
    def entity(self) -> str:
        """What its streams of random numbers belong to."""
        return f"client/{self.name}"


def senders(clients: tuple[Client, ...], scale: float) -> list[Sender]:
    """`scale` times the clients: that many whole copies, and one of the rest of the rate."""
    copies = math.ceil(scale)
    return [
        Sender(
            client=client,
            name=client.name if copy == 0 else f"{client.name}#{copy + 1}",
            factor=min(1.0, scale - copy),
        )
        for copy in range(copies)
        for client in clients
    ]


def arrival_offsets(
    seed: int, entity: str, window: int, rate_rps: float, cv: float, family: Family
) -> NDArray[np.float64]:
    """Arrivals in one window, seconds from its start, float64[n], ascending.

    A stationary renewal process: the first gap is that which an observer finds under way, so that
    rate * WINDOW_S requests are expected, whatever the CV. (One that begins with a whole gap
    would send (cv^2 - 1) / 2 more: 22 at a CV of 6.7.)
    """
    row = window << 32
    luck = uniforms(seed, "arrivals", entity, 1, row)
    # Positions in mean gaps, summed in order: more rows drawn at once give the same numbers.
    span = rate_rps * WINDOW_S
    last = float(equilibrium_gap(luck[:, 0], luck[:, 1], cv, family)[0])
    pieces = [np.array([last])]
    row += 1
    while last < span:
        expected = span - last
        count = math.ceil(expected + 3.0 * max(cv, 1.0) * math.sqrt(expected)) + 8
        gaps = _GAPS[family](uniforms(seed, "arrivals", entity, count, row)[:, 0], cv)
        gaps[0] += last
        positions = np.cumsum(gaps)
        pieces.append(positions)
        row, last = row + count, float(positions[-1])
    position = np.concatenate(pieces)
    offsets: NDArray[np.float64] = position[: np.searchsorted(position, span, side="left")]
    return offsets / rate_rps


def token_counts(
    seed: int, entity: str, window: int, lengths: ClientLengths, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Prompt, thinking and answer tokens of the window's first `count` requests, int64 each.

    Output and thinking's share of it are drawn independently. An answer has at least 1 token.
    """

    def luck(stream: str) -> NDArray[np.float64]:
        return uniforms(seed, stream, entity, count, window << 32)[:, 0]

    prompt = lengths.prompt.quantile(luck("prompt"))
    output = lengths.output.quantile(luck("output"))
    if lengths.ratio is None:
        return prompt, np.zeros_like(output), output
    return prompt, *split_output(output, lengths.ratio.quantile(luck("ratio")))


class Requests(NamedTuple):
    """Requests in order of arrival, columns of equal length.

    time_s: float64, from the start of the data's first day. sender: int32, a row of the senders.
    The rest: int64.
    """

    time_s: NDArray[np.float64]
    sender: NDArray[np.int32]
    prompt_tokens: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]

    def take(self, which: slice | NDArray[np.intp]) -> Requests:
        """Some of them, or all in another order."""
        return Requests(
            self.time_s[which],
            self.sender[which],
            self.prompt_tokens[which],
            self.thinking_tokens[which],
            self.answer_tokens[which],
        )


class Draws:
    """What the senders send under one seed, a window at a time, in any order."""

    def __init__(self, seed: int, population: Population, senders: list[Sender]) -> None:
        self._seed = seed
        self._windows = population.windows
        # Who is active in a window of the period: (sender, position in its client's columns).
        self._active: list[list[tuple[int, int]]] = [[] for _ in range(population.windows)]
        self._senders = senders
        for number, sender in enumerate(senders):
            for position, window in enumerate(sender.client.window):
                self._active[window].append((number, position))

    def window(self, window: int) -> Requests:
        """All requests of one window; those after the period's last are of a further period."""
        pieces = [
            self._of(number, position, window)
            for number, position in self._active[window % self._windows]
        ]
        if not pieces:
            none = np.empty(0, dtype=np.int64)
            return Requests(np.empty(0), np.empty(0, dtype=np.int32), none, none, none)
        together = Requests(*(np.concatenate(column) for column in zip(*pieces, strict=True)))
        return together.take(np.argsort(together.time_s, kind="stable"))

    def _of(self, number: int, position: int, window: int) -> Requests:
        sender = self._senders[number]
        client, entity = sender.client, sender.entity
        offset_s = arrival_offsets(
            self._seed,
            entity,
            window,
            float(client.rate_rps[position]) * sender.factor,
            float(client.cv[position]),
            client.family[position],
        )
        lengths, _ = client.lengths_at(int(client.window[position]))
        tokens = token_counts(self._seed, entity, window, lengths, len(offset_s))
        of_sender = np.full(len(offset_s), number, dtype=np.int32)
        return Requests(window * WINDOW_S + offset_s, of_sender, *tokens)
