"""A typed registry: policies, laws and readers are added by class and found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from simulator.errors import InputError

T = TypeVar("T")

_KINDS: dict[object, str] = {}


def kind_in_registry(item: object) -> str | None:
    """The kind under which a registry files `item`; None if none does."""
    return _KINDS.get(item)


class Registry(Generic[T]):
    """Maps a `kind` (the word used in YAML) to what implements it.

    `what` names the family in messages: `Registry("router")` says
    "unknown router 'x'; known: ...".
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._items: dict[str, T] = {}

    def register(self, kind: str) -> Callable[[T], T]:
        """Class decorator that files the decorated object under `kind`; a name is taken once."""

        def add(item: T) -> T:
            if kind in self._items:
                raise ValueError(f"{self.what} {kind!r} is registered twice")
            self._items[kind] = item
            _KINDS[item] = kind
            return item

        return add

    def __getitem__(self, kind: str) -> T:
        try:
            return self._items[kind]
        except KeyError:
            known = ", ".join(sorted(self._items))
            raise InputError(f"unknown {self.what} {kind!r}; known: {known}") from None

    def __contains__(self, kind: object) -> bool:
        return kind in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)
