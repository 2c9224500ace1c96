"""What a router remembers of the prompts it has sent where: an approximate tree of prefixes.

Routers have no view into caches. They note which replica got which prompt, and take it that its
tokens are still there until so many others followed that the oldest must have gone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from simulator.facts import RequestFacts


class _Node:
    """One segment at one place: the tokens of it that each replica has been sent there."""

    __slots__ = ("children", "held", "key", "parent")

    def __init__(self, parent: _Node | None, key: tuple[int, int]) -> None:
        self.parent = parent
        self.key = key  # tokens of the parent's segment before it, and its own segment
        self.children: dict[tuple[int, int], _Node] = {}
        self.held: dict[int, int] = {}


class SentPrefixes:
    """A radix tree over the segments of prompts, exact to the token, that all replicas share.

    Each replica's part of it holds `limit_tokens` (int64[R]) at most; beyond, whole segments of the
    prompts least recently sent there go, the last segment of a prompt first. Prompts are sent: what
    is generated is not known before it stands in a later prompt.
    """

    def __init__(self, facts: RequestFacts, limit_tokens: NDArray[np.int64]) -> None:
        self._replicas = len(limit_tokens)
        self._limit: list[int] = limit_tokens.tolist()
        self._size = [0] * self._replicas
        self._recent: list[OrderedDict[_Node | int, int]] = [
            OrderedDict() for _ in range(self._replicas)
        ]
        self._root = _Node(None, (0, -1))
        self._prompt_tokens: list[int] = facts.prompt_tokens.tolist()
        segments = facts.segments
        self._start: list[int] = [0] * (len(facts) + 1)
        if segments is not None:
            self._start = segments.start.tolist()
            self._segment: list[int] = segments.segment_id.tolist()
            self._tokens: list[int] = segments.tokens.tolist()
            ids, which = np.unique(segments.segment_id, return_inverse=True)
            request = np.repeat(np.arange(len(facts)), np.diff(segments.start))
            users = np.unique(np.stack((which, request)), axis=1)[0]
            self._shared: list[bool] = (np.bincount(users, minlength=len(ids)) > 1)[which].tolist()

    def sizes(self) -> list[int]:
        """Tokens in each replica's part of the tree."""
        return self._size

    def matched(self, request: int) -> NDArray[np.int64]:
        """Leading tokens of the prompt of `request` that each replica has been sent, int64[R]."""
        found = np.zeros(self._replicas, dtype=np.int64)
        for node, before, tokens in self._path(request):
            for replica, held in node.held.items():
                found[replica] = before + min(held, tokens)
        return found

    def _path(self, request: int) -> Iterator[tuple[_Node, int, int]]:
        """Its nodes that exist, the tokens before each, and its own."""
        node, before, last = self._root, 0, 0
        for j in range(self._start[request], self._start[request + 1]):
            child = node.children.get((last, self._segment[j]))
            if child is None:
                return
            node, last = child, self._tokens[j]
            yield node, before, last
            before += last

    def add(self, request: int, replica: int) -> None:
        """`request` goes to `replica`, which will have its prompt."""
        recent = self._recent[replica]
        node, before, last = self._root, 0, 0
        path: list[_Node] = []
        for j in range(self._start[request], self._start[request + 1]):
            if not self._shared[j]:  # nobody else will ask for what follows
                break
            key = (last, self._segment[j])
            child = node.children.get(key)
            if child is None:
                child = node.children[key] = _Node(node, key)
            node, last = child, self._tokens[j]
            more = last - node.held.get(replica, 0)
            if more > 0:
                node.held[replica] = recent[node] = last
                self._size[replica] += more
            path.append(node)
            before += last
        rest = self._prompt_tokens[request] - before
        if rest > 0:
            recent[-1 - request] = rest
            self._size[replica] += rest
        for node in reversed(path):  # a segment outlives those that follow it
            recent.move_to_end(node)
        while self._size[replica] > self._limit[replica]:
            self._forget_oldest(replica)

    def _forget_oldest(self, replica: int) -> None:
        node, tokens = self._recent[replica].popitem(last=False)
        self._size[replica] -= tokens
        if isinstance(node, int):
            return
        del node.held[replica]
        if not node.held and node.parent is not None:
            del node.parent.children[node.key]
