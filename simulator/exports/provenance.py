"""Where a result came from: versions, machine, inputs. The only part of it that may vary."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# What can change a number or a byte of a result.
_PACKAGES = ("ponder", "numpy", "scipy", "numba", "simpy", "pandas", "pyarrow", "matplotlib")


def collect_provenance(
    *, seed: int, inputs: Iterable[str | Path] = (), wall_s: float | None = None
) -> dict[str, Any]:
    """Versions of ponder, Python and its libraries, the platform, and SHA-256 of input files.

    `inputs` are the files the run read (experiment, trace, profiles); `wall_s` the seconds the
    event loop took. Raises OSError if an input cannot be read.
    """
    return {
        "seed": seed,
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "inputs_sha256": {str(path): _sha256(Path(path)) for path in inputs},
        "wall_s": wall_s,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a source tree that was never installed
            found[package] = "unknown"
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
