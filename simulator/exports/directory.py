"""Where a result may be written, and how it gets its name only when it is whole."""

from __future__ import annotations

import os
import shutil
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
RESULT_MARKS = frozenset({"experiment.yaml", "summary.json", "provenance.json"})


def check_output_directory(directory: str | Path) -> Path:
    """The absolute path of `directory` if a result may be written there.

    It may if nothing is there, or an empty directory, or an earlier result and nothing else.
    Raises InputError otherwise, naming what stands in the way. Call it before a long run.
    """
    target = Path(directory).resolve()
    if not target.exists():
        above = next(parent for parent in target.parents if parent.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            raise InputError(Problem(f"cannot be made in {above}", file=str(directory)))
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
