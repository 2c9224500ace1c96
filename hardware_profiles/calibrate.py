"""Fit a GPU's profile to measured kernels: public tables, or a user's own measurements.

`ponder calibrate` is this module's command line. The committed profiles are its output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hardware_profiles.calibration.operations import OPERATIONS
from hardware_profiles.calibration.writer import with_kernels
from hardware_profiles.profile import load_gpu, profile_text
from simulator.errors import InputError, Problem

if TYPE_CHECKING:
    from hardware_profiles.calibration.operation import Entry
    from hardware_profiles.calibration.tables import Tables

# GPUs without tables of their own, and whose kernels stand in: of each table the first one's.
# The 40 GB A100 has the 80 GB one's processor, so the residuals hold for it too.
BORROWED = {
    "a100-sxm-40gb": ("a100-sxm-80gb",),
    "h100-pcie": ("h100-sxm",),
    "l40s": ("a100-sxm-80gb", "h100-sxm"),
}
SAME_CHIP = {"a100-sxm-40gb"}
# Their links differ, so these stay as the profile states them.
NOT_BORROWED = {
    "h100-pcie": ("all_reduce", "all_gather"),
    "l40s": ("all_reduce", "all_gather"),
}


@dataclass(frozen=True)
class Calibration:
    """What a calibration gives: the fitted tables with their residuals, and the profile's YAML.

    `kept` names the tables that were not fitted and stay as they were.
    """

    entries: list[Entry]
    text: str
    kept: list[str]


def calibrate_gpu(gpu: str, tables: Tables, ops: Sequence[str] = ()) -> Calibration:
    """Fit a GPU of the catalogue to the public `tables`; `ops` limits it to some operations.

    Raises InputError for an unknown operation and where the tables have none of those wanted.
    """
    base = load_gpu(gpu)
    entries: list[Entry] = []
    for operation in _wanted(ops):
        rows = operation.read(tables)
        if rows is not None and len(rows):
            entries += operation.fit(rows, base)
    if not entries:
        raise InputError(f"no tables of {', '.join(ops) or 'any operation'} for {gpu}")
    return _assemble(profile_text(gpu), base.name, entries)


def calibrate_csv(
    path: str | Path, base: str, name: str = "", ops: Sequence[str] = ()
) -> Calibration:
    """Fit the measurements of a CSV; the data sheet and what was not measured come from `base`.

    The profile is called `name` (else as the file). Raises InputError: a file that cannot be read,
    an unknown base, or nothing in the file that can be fitted.
    """
    from hardware_profiles.calibration.measurements import read_csv

    measured, rows = read_csv(path)
    profile = load_gpu(base)
    entries: list[Entry] = []
    for operation in _wanted(ops):
        own = rows[rows["op"] == (operation.measured_as or operation.name)] if len(rows) else rows
        if len(own):
            entries += operation.fit(own, profile)
    if not entries:
        wanted = ", ".join(ops) or "gemm, decode_attention, prefill_attention or all_reduce"
        raise InputError(Problem(f"holds no measurements of {wanted}", file=str(path)))
    title = name or Path(path).stem
    about = measured.metadata.get("gpu", profile.description)
    head = {
        "name": title,
        "description": f"{about}, kernels measured in {Path(path).name}",
        "aliases": [],
        "calibrated": False,
    }
    text = profile_text(base)
    for key, value in head.items():
        text = re.sub(
            rf"(?m)^{key}:.*\n(?:  .*\n)*", f"{key}: {json.dumps(value)}\n", text, count=1
        )
    text = (
        f"# Measured kernels on the data sheet and engine constants of {profile.name}.\n"
        + text[text.index("name:") :]
    )
    command = f"{title} --from {Path(path).name} --base {profile.name}"
    return _assemble(text, command, entries)


def check_csv(path: str | Path, gpu: str, ops: Sequence[str] = ()) -> list[Entry]:
    """How far the profile `gpu`, as it is, is from the measurements of a CSV."""
    from hardware_profiles.calibration.measurements import read_csv

    _, rows = read_csv(path)
    profile = load_gpu(gpu)
    entries: list[Entry] = []
    for operation in _wanted(ops):
        own = rows[rows["op"] == (operation.measured_as or operation.name)] if len(rows) else rows
        if len(own) and operation.check is not None:
            entries += operation.check(own, profile)
    if not entries:
        raise InputError(Problem("holds no measurements that can be checked", file=str(path)))
    return entries


def borrow_kernels(gpu: str) -> Calibration:
    """The profile of a GPU without tables of its own, with the kernels of those in `BORROWED`."""
    text = profile_text(gpu)
    kernels: dict[str, Any] = {}
    for lender in BORROWED[gpu]:
        lent = yaml.safe_load(profile_text(lender))["kernels"]
        for op, tables in lent.items():
            if op in NOT_BORROWED.get(gpu, ()):
                continue
            if "source" in tables:
                kernels.setdefault(op, _lent(tables, lender, gpu))
                continue
            own = kernels.setdefault(op, {})
            for key, table in tables.items():
                if _usable(key, gpu):
                    own.setdefault(key, _lent(table, lender, gpu))
    stated = yaml.safe_load(text)["kernels"]
    for op in NOT_BORROWED.get(gpu, ()):
        kernels[op] = stated[op]
    return Calibration([], with_kernels(text, _ordered(kernels), gpu), [])


def _usable(key: str | int, gpu: str) -> bool:
    hardware = load_gpu(gpu).hardware
    needs = {"fp8": hardware.peak_fp8, "fp8_block": hardware.peak_fp8}
    return not isinstance(key, str) or key not in needs or needs[key] is not None


def _lent(table: Mapping[str, Any], lender: str, gpu: str) -> dict[str, Any]:
    lent = {"source": f"borrowed from {lender}: {table['source']}"} | {
        key: value for key, value in table.items() if key != "source"
    }
    if gpu not in SAME_CHIP:
        lent.pop("fit", None)
    return lent


def _wanted(ops: Sequence[str]) -> list[Any]:
    unknown = [op for op in ops if op not in OPERATIONS]
    if unknown:
        raise InputError(f"unknown operation {unknown[0]!r}; known: {', '.join(OPERATIONS)}")
    return [operation for name, operation in OPERATIONS.items() if not ops or name in ops]


def _assemble(text: str, command: str, entries: list[Entry]) -> Calibration:
    kernels = yaml.safe_load(text)["kernels"]
    fitted = {(entry.op, entry.key) for entry in entries}
    for entry in entries:
        if entry.key is None:
            kernels[entry.op] = entry.table()
        else:
            kernels.setdefault(entry.op, {})[entry.key] = entry.table()
    kept = [
        op if key is None else f"{op} {key}"
        for op, tables in kernels.items()
        for key in ([None] if "source" in tables else tables)
        if (op, key) not in fitted
    ]
    return Calibration(entries, with_kernels(text, _ordered(kernels), command), kept)


def _ordered(kernels: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of the schema, whatever was fitted first."""
    from hardware_profiles.schema import Kernels

    order = [*Kernels.model_fields, *kernels]
    return {op: kernels[op] for op in dict.fromkeys(order) if op in kernels}
