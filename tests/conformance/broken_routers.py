"""Routers that each lack one property, most of them by a back door."""

import itertools
import sys

import numpy as np

from simulator.routers import Router


class Plain(Router):
    """Nothing is wrong with this one; the others go wrong somewhere else than it does."""

    def choose(self, request, replicas):
        return int(replicas.load.argmin())


def backstage():
    """What is behind the view: the one who asks."""
    return sys._getframe(2).f_locals["self"]._snapshots


class Overshoots(Plain):
    """Now and then goes to a replica that is not there."""

    def choose(self, request, replicas):
        return len(replicas) if request == 40 else 0


class Truncates(Plain):
    """Ends requests after three tokens."""

    def choose(self, request, replicas):
        backstage()._requests["output_tokens"][request] = 3
        return super().choose(request, replicas)


class Dices(Plain):
    """Draws from the generator of the process."""

    def choose(self, request, replicas):
        return int(np.random.random() * len(replicas))  # noqa: NPY002


class Remembers(Plain):
    """Does not begin anew with a run."""

    turns = itertools.count()

    def choose(self, request, replicas):
        return next(self.turns) % 7 % len(replicas)


class TellsTheTime(Plain):
    """Goes by the clock on the wall."""

    def choose(self, request, replicas):
        return int(replicas.taken_s // 3.0) % len(replicas)


class SeesStaleColumns(Plain):
    """Reads progress where the engine leaves it only now and then."""

    def choose(self, request, replicas):
        return int(backstage()._states["n"].sum()) % len(replicas)


class Peeks(Plain):
    """Reads true lengths behind the view."""

    def choose(self, request, replicas):
        return int(backstage()._requests["output_tokens"][request]) % len(replicas)


class PeeksAtAll(Plain):
    """Reads those of the requests that are there, to go where the least is left to do."""

    def choose(self, request, replicas):
        table = backstage()._requests
        there = np.isin(table["status"], (1, 2))
        left = np.bincount(
            table["replica"][there], table["output_tokens"][there], minlength=len(replicas)
        )
        return int(left.argmin())


class Expects(Plain):
    """Knows how long prompts will be on the whole, those yet to come included."""

    def choose(self, request, replicas):
        long = self.facts.prompt_tokens[request] > self.facts.prompt_tokens.mean()
        return len(replicas) - 1 if long else super().choose(request, replicas)
