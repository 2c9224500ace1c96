"""What a trace reader gives, and the errors all readers share."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from simulator.registry import Registry
from workloads.batch import Sessions
from workloads.prefix import PromptSegments

MAX_LISTED_ROWS = 20
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class TraceRows:
    """The usable rows of a trace, sorted by time; rows of equal times in the file's order.

    arrival_s: float64[n], seconds from the earliest row of the file. prompt_tokens,
    answer_tokens: int64[n], all at least 1. thinking_tokens: int64[n], at least 0, or None where
    the format does not record it. class_id, client_id: int32[n], indices into the names; None
    where the format has no such column. sessions, segments: as in `RequestBatch`; None likewise.
    estimated: names of columns that were not measured but guessed, such as tokens from characters.
    dropped: reason -> rows left out.
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64] | None = None
    class_id: NDArray[np.int32] | None = None
    class_names: tuple[str, ...] = ()
    client_id: NDArray[np.int32] | None = None
    client_names: tuple[str, ...] = ()
    sessions: Sessions | None = None
    segments: PromptSegments | None = None
    estimated: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrival_s)


class TraceReader(Protocol):
    """One trace format. `title` names it in results, `layout` describes it in messages."""

    title: str
    layout: str

    def matches(self, first_line: str) -> bool:
        """Whether a file that begins with this line (without line end) is of this format."""

    def read(self, content: bytes, file: str) -> TraceRows:
        """Parses a whole file, already decompressed; `file` is its name for messages.

        Raises InputError naming every malformed row (the first 20 in full).
        """


READERS: Registry[type[TraceReader]] = Registry("trace format")


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed if it begins like gzip, whatever its suffix.

    Raises InputError if there is no such file, or if it can't be read or decompressed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(Problem("no such file", file=str(path))) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(f"can't be read: {reason}", file=str(path))) from None
    if content.startswith(GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            message = f"damaged or truncated gzip file: {error}"
            raise InputError(Problem(message, file=str(path))) from None
    if not content.strip():
        raise InputError(Problem("the file is empty", file=str(path)))
    return content


def first_line(content: bytes) -> str:
    """The first line of a file, without line end or byte-order mark; bad bytes as U+FFFD."""
    line = content[:4096].splitlines()[0].removeprefix(b"\xef\xbb\xbf")
    return line.decode("utf-8", errors="replace").strip()


def malformed(rows: Iterable[list[Problem]], file: str) -> InputError:
    """One error for all malformed rows: the problems of the first 20, then how many more."""
    problems: list[Problem] = []
    unlisted = 0
    for count, row in enumerate(rows):
        if count < MAX_LISTED_ROWS:
            problems += row
        else:
            unlisted += 1
    if unlisted:
        problems.append(Problem(f"... and {unlisted:,} more malformed rows", file=file))
    return InputError(problems)
