"""ponder's own format as Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from workloads.batch import RequestBatch
from workloads.traces.parsing.arrow import arrow
from workloads.traces.parsing.columns import Lists
from workloads.traces.writers.cells import Cells, chunks


def write_parquet(pieces: Iterator[RequestBatch], file: BinaryIO) -> int:
    """A column each, zstd-compressed, null where a request has no value."""
    import pyarrow.parquet

    parquet: Any = pyarrow.parquet
    pa = arrow()
    rows = 0
    writer = None
    try:
        for columns in chunks(pieces):
            table = pa.table({name: _array(cells) for name, cells in columns.items()})
            if writer is None:
                writer = parquet.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
            rows += len(table)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _array(cells: Cells) -> Any:
    pa = arrow()
    absent = None if cells.present is None else ~cells.present
    values = cells.values
    if isinstance(values, Lists):
        if values.flat.ndim == 2:
            items = pa.FixedSizeListArray.from_arrays(pa.array(values.flat.reshape(-1)), 2)
        else:
            items = pa.array(values.flat)
        starts = np.concatenate(([0], np.cumsum(values.lengths))).astype(np.int32)
        mask = None if absent is None else pa.array(absent)
        return pa.ListArray.from_arrays(pa.array(starts), items, mask=mask)
    if cells.names is not None:
        texts = pa.array(list(cells.names), pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(values), texts).cast(pa.string())
    return pa.array(values, mask=absent)
