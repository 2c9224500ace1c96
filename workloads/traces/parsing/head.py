"""What a file begins with: enough to tell its format."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?|[\[\]{}]')
MAX_SHOWN = 80


@dataclass(frozen=True)
class Head:
    """The beginning of a trace file.

    first_line: without line end; bad bytes as U+FFFD. columns: its comma-separated cells, as of a
    CSV header. keys: of the first JSON object of the file, "" where it begins with none, and
    `array` whether a "[" is before it. parquet: whether it begins like a Parquet file. whole:
    whether this is all of the file.
    """

    first_line: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    array: bool
    parquet: bool
    whole: bool

    @classmethod
    def of(cls, start: bytes, *, whole: bool) -> Head:
        """The head of a file that begins with `start`."""
        if start.startswith(b"PAR1"):
            return cls("PAR1", (), (), False, True, whole)
        text = start.decode("utf-8", errors="replace")
        body = text.lstrip()
        if body[:1] in ("{", "["):
            text = body
        first = re.split(r"[\r\n]", text, maxsplit=1)[0].strip()
        array, keys = first_keys(body)
        columns = tuple(cell.strip().strip('"') for cell in first.split(","))
        return cls(first, columns, keys, array, False, whole)

    def shown(self) -> str:
        """The first line, shortened, for messages."""
        line = self.first_line
        return repr(line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 3] + "...")


def first_keys(text: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a JSON text is an array, and the keys of its first object, which may be cut off.

    Nothing is checked: a text that is no JSON has some keys or none.
    """
    array = text.startswith("[")
    body = text[1:].lstrip() if array else text
    keys: list[str] = []
    if not body.startswith("{"):
        return array, ()
    depth = 0
    for token in _TOKEN.finditer(body):
        mark = token[0]
        if mark in ("{", "["):
            depth += 1
        elif mark in ("}", "]"):
            depth -= 1
            if depth == 0:
                break
        elif depth == 1 and token[1] is not None:
            keys.append(mark[1 : mark.rindex('"')])
    return array, tuple(keys)
