"""Tables as Parquet, the same bytes for the same rows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write `frame` without its index to `path`, zstd-compressed.

    The bytes depend on the columns' names, types and values and on the version of pyarrow, on
    nothing else: the pandas metadata, which names library versions, is left out, and every text
    column (object, pandas string or categorical) is stored as plain UTF-8.
    """
    # imported by name: pyarrow says it is typed, but its annotations leave most of it out
    arrow: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    table = arrow.Table.from_pandas(frame, preserve_index=False)
    fields = [
        arrow.field(column.name, arrow.string() if _is_text(arrow, column.type) else column.type)
        for column in table.schema
    ]
    plain = table.cast(arrow.schema(fields)).replace_schema_metadata(None)
    parquet.write_table(plain, path, compression="zstd")


def _is_text(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    # an object column without a value has no type of its own
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))
