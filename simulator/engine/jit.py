"""How the engine's arithmetic is compiled.

Numba invalidates a cached function when its own file changes, not when a function it calls does.
The engine's kernels call one another across files, so their cache lives in a directory named by a
digest of all their sources: an edit anywhere recompiles everything, and nothing stale can run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy.typing as npt

numba_config: Any = numba.config

F = TypeVar("F", bound=Callable[..., Any])

Record = Any  # one element of a structured array, fields as attributes, inside a kernel
Array = npt.NDArray[Any]
Kv = tuple[Array, ...]  # the arrays of a prefix cache


def _cache_dir() -> str:
    base = numba_config.CACHE_DIR or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ponder"
    )
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return os.path.join(base, f"engine-{digest.hexdigest()[:16]}")


_CACHE_DIR = _cache_dir()


def kernel(function: F) -> F:
    """Compile `function` in nopython mode, for other compiled functions to call (only for them).

    IEEE arithmetic is kept as written. Neither a wrapper for Python nor a cache of its own: the
    entry points that call it are cached with it inside, which halves the time of a first run.
    """
    bare: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(F, numba.njit(error_model="numpy", **bare)(function))


def entry(function: F) -> F:
    """Compile a function that Python calls, cached on disk."""
    saved = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = _CACHE_DIR
    try:
        return cast(F, numba.njit(cache=True, error_model="numpy")(function))
    finally:
        numba_config.CACHE_DIR = saved
