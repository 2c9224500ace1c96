"""A file that appears under its name when it is complete."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from simulator.errors import InputError, Problem


@contextmanager
def output(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, gzip if its name ends in .gz; renamed to `path` at the end.

    If anything goes wrong, what was at `path` before stays. Something that is no regular file, such
    as /dev/stdout, is written to as it is. Raises InputError if the file can't be written.
    """
    part = path if path.exists() and not path.is_file() else _beside(path)
    try:
        with part.open("wb") as raw:
            if path.name.endswith(".gz"):
                # Without name and time: the same rows are the same bytes.
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield raw
        if part != path:
            os.replace(part, path)
    except OSError as error:
        _remove(part, path)
        reason = error.strerror or str(error)
        raise InputError(Problem(f"can't be written: {reason}", file=str(path))) from None
    except BaseException:
        _remove(part, path)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _remove(part: Path, path: Path) -> None:
    if part != path:
        with suppress(OSError):
            part.unlink()
