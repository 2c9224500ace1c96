"""Where a result may be written, and how it gets its name only when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from simulator.errors import InputError, Problem

# What a result directory holds; a directory with all of RESULT_MARKS and nothing foreign is one.
RESULT_FILES = frozenset(
    {
        "experiment.yaml",
        "summary.json",
        "requests.parquet",
        "queries.parquet",
        "timeline.parquet",
        "provenance.json",
        "report.html",
        "plots",
    }
)
# Most file systems allow 255 bytes; a result is written under its name and 18 characters more.
LONGEST_NAME = 237
RESULT_MARKS = frozenset({"experiment.yaml", "summary.json", "provenance.json"})


def check_output_directory(directory: str | Path) -> Path:
    """The absolute path of `directory` if a result may be written there.

    It may if nothing is there, or an empty directory, or an earlier result and nothing else.
    Raises InputError otherwise, naming what stands in the way. Call it before a long run.
    """
    target = Path(directory).resolve()
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        message = f"the name is too long: at most {LONGEST_NAME} bytes"
        raise InputError(Problem(message, file=f"{str(directory)[:60]}..."))
    try:
        return _usable(target, directory)
    except OSError as error:
        raise InputError(
            Problem(f"cannot be used: {error.strerror}", file=str(directory))
        ) from None


def _usable(target: Path, directory: str | Path) -> Path:
    above = next(parent for parent in target.parents if parent.exists())
    try:  # the result is written beside its place; asking for the rights is no proof
        os.rmdir(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=above))
    except OSError:
        raise InputError(Problem(f"cannot be made in {above}", file=str(directory))) from None
    if not target.exists():
        return target
    if not target.is_dir():
        raise InputError(Problem("exists and is not a directory", file=str(directory)))
    names = {entry.name for entry in target.iterdir()}
    if not names:
        return target
    if not names >= RESULT_MARKS:
        raise InputError(
            Problem(
                "is not empty and not an earlier result of ponder; choose another directory",
                file=str(directory),
            )
        )
    foreign = sorted(names - RESULT_FILES)
    if foreign:
        raise InputError(
            Problem(
                "is an earlier result, but also holds files that replacing it would delete: "
                + ", ".join(foreign),
                file=str(directory),
            )
        )
    return target


def put_in_place(partial: Path, target: Path, aside: Path) -> None:
    """Rename `partial` to `target`; an earlier result steps aside first and is then removed."""
    if not target.exists():
        os.rename(partial, target)
        return
    os.rename(target, aside)
    try:
        os.rename(partial, target)
    except BaseException:
        if not target.exists():
            os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
