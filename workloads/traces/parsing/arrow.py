"""Apache Arrow, imported when first used: it takes longer than reading a small file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def arrow() -> Any:
    """pyarrow (its type stubs know little of it)."""
    import pyarrow

    return pyarrow


def compute() -> Any:
    """pyarrow.compute."""
    import pyarrow.compute

    return pyarrow.compute


def all_match(cells: Any, grammar: str) -> bool:
    """Whether every text of an Arrow array, nulls aside, follows a regular expression wholly."""
    pc = compute()
    return bool(pc.all(pc.match_substring_regex(cells, rf"\A(?:{grammar})\z"), min_count=0).as_py())


def numpy_of(array: Any) -> NDArray[Any]:
    """An Arrow array without nulls as NumPy's.

    By DLPack, because Arrow's own to_numpy imports pandas, which takes longer than the reading.
    """
    if not len(array):
        return np.empty(0, dtype=np.int64)
    return np.asarray(np.from_dlpack(array))
