"""A JSON array read item by item, however long it is."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

from simulator.errors import InputError, Problem
from workloads.traces.parsing.json_rows import DECODER
from workloads.traces.parsing.source import Source

MAX_ITEM_CHARS = 1 << 26
_SPACE = " \t\n\r"


def array_items(source: Source) -> Iterator[tuple[int, Any]]:
    """The items of the array that the file holds, each with the number of the line it begins on.

    Raises InputError where the file is not UTF-8, not JSON, not one array, or cut short, and for an
    item of more than 64 Mi characters.
    """
    text = _Text(source)
    if text.peek() != "[":
        raise text.wrong("must hold a JSON array")
    text.skip()
    mark = text.peek()
    if mark == "]":
        text.skip()
    while mark != "]":
        text.peek()
        line = text.line
        yield line, text.value()
        mark = text.peek()
        if mark not in (",", "]"):
            raise text.wrong("expected , or ] after an item" if mark else "ends within the array")
        text.skip()
    if text.peek():
        raise text.wrong("goes on after the array")


class _Text:
    """The part of the text that is being looked at."""

    def __init__(self, source: Source) -> None:
        self._file = source.file
        self._blocks = source.blocks()
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self.line = 1

    def wrong(self, message: str) -> InputError:
        return InputError(Problem(message, file=self._file, line=self.line))

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            rest = self._at
            while rest < len(self._text) and self._text[rest] in _SPACE:
                rest += 1
            self._go_to(rest)
            if rest < len(self._text):
                return self._text[rest]
            if not self._more(1):
                return ""

    def skip(self) -> None:
        self._at += 1

    def value(self) -> Any:
        """The JSON value here; reads on as far as it takes, twice as much each time."""
        while True:
            try:
                made, end = DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise self.wrong("is nested too deep") from None
            except json.JSONDecodeError as error:
                held = len(self._text) - self._at
                if held > MAX_ITEM_CHARS:
                    message = f"no complete item in {MAX_ITEM_CHARS >> 20} Mi characters"
                    raise self.wrong(message) from None
                if not self._more(held):
                    self._go_to(min(error.pos, len(self._text)))
                    raise self.wrong(f"is not JSON: {error.msg}") from None
            except ValueError as error:
                raise self.wrong(f"is not usable JSON: {str(error)[:60]}") from None
            else:
                self._go_to(end)
                return made

    def _go_to(self, place: int) -> None:
        self.line += self._text.count("\n", self._at, place)
        self._at = place

    def _more(self, wanted: int) -> bool:
        """Adds at least `wanted` characters, if there are; whether there were any."""
        parts = [self._text[self._at :]]
        got = 0
        while got < wanted:
            block = next(self._blocks, b"")
            try:
                part = self._decode.decode(block, final=not block)
            except UnicodeDecodeError:
                raise self.wrong("is not UTF-8") from None
            parts.append(part)
            got += len(part)
            if not block:
                break
        self._text, self._at = "".join(parts), 0
        return got > 0
