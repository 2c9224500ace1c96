"""Schedulers that each lack one property, most of them by a back door."""

import itertools

import numpy as np

from simulator.schedulers import Action, Scheduler


class ByPrompt(Scheduler):
    """Nothing is wrong with this one; the others go wrong somewhere else than it does."""

    def rank(self, view, now_s):
        return view.prompt_tokens


class HalfPrompts(ByPrompt):
    """Takes turns so short that a long prompt is never computed to its end."""

    rank_changes = "running"

    def rank(self, view, now_s):
        return view.queued_since_s

    def review_at(self, view, now_s):
        return np.full(len(view), now_s + 0.01)

    def on_review(self, view, now_s):
        return Action.RECOMPUTE


class Asks(ByPrompt):
    """Asks for what cannot be known."""

    def rank(self, view, now_s):
        return view.output_tokens


class Peeks(ByPrompt):
    """Reads true lengths behind the view."""

    def rank(self, view, now_s):
        return view._table["output_tokens"][view.ids]


class PeeksAtThinking(ByPrompt):
    """The same of the length of thinking, and only of who has begun."""

    def rank(self, view, now_s):
        thinking = view._table["thinking_tokens"][view.ids]
        return np.where(view.generated_tokens > 0, thinking, view.prompt_tokens)

    rank_changes = "always"


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
    """Reads progress where the engine leaves it only now and then."""

    rank_changes = "always"

    def rank(self, view, now_s):
        running = view._table["status"] == 2
        return view.ids * (-1.0) ** view._table["generated_tokens"][running].sum()


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
