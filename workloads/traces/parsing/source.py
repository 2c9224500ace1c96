"""A trace file as it is read: opened once, decompressed on the way, never whole in memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from simulator.errors import InputError, Problem
from workloads.traces.parsing.arrow import arrow
from workloads.traces.parsing.head import Head

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PARQUET_MAGIC = b"PAR1"
BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 1 << 20
BLOCK_BYTES = 1 << 22
MAX_LINE_BYTES = 1 << 26


class Source:
    """One trace file, read forward once; a context manager that closes it.

    `file` is its name for messages, `head` what it begins with. gzip and zstd are recognised by
    their first bytes, whatever the name. Raises InputError, here and while reading, if the file is
    missing, empty, unreadable, damaged or cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = str(path)
        self._packed: str | None = None
        try:
            self._raw: IO[bytes] = path.open("rb")
        except FileNotFoundError:
            raise InputError(Problem("no such file", file=self.file)) from None
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL
            raise self._unreadable(error) from None
        try:
            self._stream = self._decompressed()
            self._start = self._read(HEAD_BYTES).removeprefix(BOM)
            if not self._start.strip():
                raise InputError(Problem("the file is empty", file=self.file))
        except BaseException:
            self._raw.close()
            raise
        self.parquet = self._start.startswith(PARQUET_MAGIC)
        self.head = Head.of(self._start, whole=len(self._start) < HEAD_BYTES - len(BOM))

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raw.close()

    def blocks(self) -> Iterator[bytes]:
        """The decompressed content, some megabytes at a time, without byte-order mark."""
        block = self._start
        while block:
            yield block
            block = self._read(BLOCK_BYTES)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        r"""Whole lines, some megabytes at a time, each piece with the number of its first line.

        Line ends (\n, \r\n, \r) become \n; the last line may lack one. Raises InputError for a
        line above 64 MiB, which is none.
        """
        number = 1
        rest: list[bytes] = []
        length = 0
        for block in self._with_newlines():
            cut = block.rfind(b"\n") + 1
            if cut:
                piece = b"".join([*rest, block[:cut]])
                yield number, piece
                number += piece.count(b"\n")
                rest, length = [], 0
            rest.append(block[cut:])
            length += len(block) - cut
            if length > MAX_LINE_BYTES:
                message = f"a line of more than {MAX_LINE_BYTES >> 20} MiB"
                raise InputError(Problem(message, file=self.file, line=number))
        if length:
            yield number, b"".join(rest)

    def seekable(self) -> IO[bytes]:
        """The open file itself, at its start, for formats that are not read forward.

        Raises InputError if it is compressed or a pipe.
        """
        if self._packed is not None:
            message = f"a Parquet file within {self._packed}: unpack it first"
            raise InputError(Problem(message, file=self.file))
        try:
            self._raw.seek(0)
        except OSError as error:
            raise self._unreadable(error) from None
        return self._raw

    def _with_newlines(self) -> Iterator[bytes]:
        held = b""  # a \r at the end of a block may be half of a line end
        for block in self.blocks():
            if held or b"\r" in block:
                block = held + block
                held = b"\r" if block.endswith(b"\r") else b""
                block = block.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            yield block
        if held:
            yield b"\n"

    def _decompressed(self) -> Any:
        try:
            magic = self._raw.peek(4)[:4]  # type: ignore[attr-defined]
        except OSError as error:  # a folder, for one
            raise self._unreadable(error) from None
        if magic.startswith(GZIP_MAGIC):
            self._packed = "gzip"
            return gzip.GzipFile(fileobj=self._raw)
        if magic == ZSTD_MAGIC:
            pa = arrow()
            self._packed = "zstd"
            return pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), "zstd")
        return self._raw

    def _read(self, size: int) -> bytes:
        try:
            block: bytes = self._stream.read(size)
        except (EOFError, OSError, ValueError, zlib.error) as error:  # ValueError: Arrow's errors
            if self._packed is None:
                raise self._unreadable(error) from None
            message = f"damaged or truncated {self._packed} file: {error}"
            raise InputError(Problem(message, file=self.file)) from None
        return block

    def _unreadable(self, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or str(error)
        return InputError(Problem(f"can't be read: {reason}", file=self.file))


def read_bytes(path: Path) -> bytes:
    """The whole content of a file, decompressed; raises InputError as `Source` does."""
    with Source(path) as source:
        return b"".join(source.blocks())
