"""Schedulers that each lack one property, most of them by a back door."""

import itertools

import numpy as np

from simulator.schedulers import Scheduler


class ByPrompt(Scheduler):
    """Nothing is wrong with this one; the others go wrong somewhere else than it does."""

    def rank(self, view, now_s):
        return view.prompt_tokens


class Thrashes(ByPrompt):
    """Whoever has got furthest makes way for whoever waits, so that no long prompt gets done."""

    rank_changes = "running"

    def rank(self, view, now_s):
        return view.queued_since_s

    def displace(self, candidate, running, now_s):
        return int(np.argmax(running.kv_tokens))


class Asks(ByPrompt):
    """Asks for what cannot be known."""

    def rank(self, view, now_s):
        return view.output_tokens


class Peeks(ByPrompt):
    """Reads true lengths behind the view."""

    def rank(self, view, now_s):
        return view._table["output_tokens"][view.ids]


class PeeksAtThinking(ByPrompt):
    """The same of the length of thinking."""

    def rank(self, view, now_s):
        return view._table["thinking_tokens"][view.ids]


class Expects(ByPrompt):
    """Knows how long prompts will be on the whole, those yet to come included."""

    def start(self, facts, config):
        self._mean = facts.prompt_tokens.mean()

    def rank(self, view, now_s):
        return abs(view.prompt_tokens - self._mean)


class Dices(ByPrompt):
    """Draws from the generator of the process."""

    def rank(self, view, now_s):
        return np.random.random(len(view))  # noqa: NPY002


class Remembers(ByPrompt):
    """Does not begin anew with a run."""

    def __init__(self):
        self._count = itertools.count()

    def rank(self, view, now_s):
        return [-next(self._count) for _ in view.ids]


class RemembersInTheClass(ByPrompt):
    """The same, by what all instances share."""

    count = itertools.count()

    def rank(self, view, now_s):
        return [-next(self.count) for _ in view.ids]


class TellsTheTime(ByPrompt):
    """Prefers the even minutes of the clock on the wall."""

    def rank(self, view, now_s):
        return view.arrival_s // 10.0 % 2.0


class SeesStaleColumns(ByPrompt):
    """Reads what the engine writes down only where a span ends."""

    def rank(self, view, now_s):
        answering = np.count_nonzero(view._table["first_answer_s"] <= now_s)
        return view.ids * (-1.0) ** answering


class ReservesAll(ByPrompt):
    """Lets a request in only if everything that is there is free."""

    def reserve_tokens(self, view):
        return np.full(len(view), 10_000)


class CutsShort(ByPrompt):
    """Ends requests after three tokens."""

    def on_arrival(self, view, now_s):
        view._table["output_tokens"][view.ids] = 3


class CooksTheBooks(ByPrompt):
    """Makes the engine believe that requests hold more than they do."""

    def on_finish(self, view, now_s):
        table = view._table
        table["offset"][(table["status"] == 2) & (table["decoding"] == 1)] += 8


class ChangesFacts(ByPrompt):
    """Rewrites what is known of requests."""

    def start(self, facts, config):
        facts.priority[:] = 0


class Raises(ByPrompt):
    """Fails on the tenth request."""

    def on_arrival(self, view, now_s):
        return 1 / (9 - int(view.ids[0]))
