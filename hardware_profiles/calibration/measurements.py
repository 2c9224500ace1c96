"""A user's own measurements, the CSV of `python -m hardware_profiles.measure`, as frames to fit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hardware_profiles.measuring.table import Measurements, read_measurements

if TYPE_CHECKING:
    import pandas as pd


def read_csv(path: str | Path) -> tuple[Measurements, pd.DataFrame]:
    """The file, and its rows as a frame with the column `source`; InputError as its reader."""
    import pandas as pd

    measured = read_measurements(path)
    rows = pd.DataFrame([asdict(row) for row in measured.rows])
    date = measured.metadata.get("date", "")[:10]
    about = f"{Path(path).name}" + (f" of {date}" if date else "")
    if not rows.empty:
        rows["source"] = [
            ", ".join(part for part in (about, gpu, backend) if part)
            for gpu, backend in zip(rows["gpu"], rows["backend"], strict=True)
        ]
    return measured, rows
