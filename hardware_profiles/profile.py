"""Find a GPU profile by name, alias or path, and list the ones that come with ponder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hardware_profiles.schema import GpuProfile
from hardware_profiles.yaml_lines import load_yaml_with_lines
from simulator.errors import InputError, Problem

__all__ = ["GpuProfile", "GpuRow", "list_gpus", "load_gpu", "profile_text", "read_profile"]

GIB = 2.0**30


@dataclass(frozen=True)
class GpuRow:
    """One line of `ponder gpus`. `fp8_tflops` is None where the GPU has no fp8 arithmetic."""

    name: str
    aliases: tuple[str, ...]
    memory_gib: float
    memory_bandwidth_gb_per_s: float
    bf16_tflops: float
    fp8_tflops: float | None
    tdp_w: float
    price_usd_per_gpu_hour: float
    calibrated: bool


def load_gpu(name_or_path: str | Path) -> GpuProfile:
    """The profile with this catalogue name or alias, or read from a YAML file.

    In names, case does not matter, nor a leading "NVIDIA", nor blanks or underscores for hyphens.

    Raises InputError: unknown name, unreadable file, or everything wrong inside the file with
    line and field.
    """
    text = str(name_or_path)
    catalogue = _catalogue()
    wanted = _plain(text)
    for profile in catalogue.values():
        if wanted in (_plain(name) for name in (profile.name, *profile.aliases)):
            return profile
    path = Path(text)
    if path.is_file():
        try:
            return read_profile(path.read_text(encoding="utf-8"), text)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(Problem(f"cannot be read: {error}", file=text)) from None
    if path.suffix in (".yaml", ".yml"):
        raise InputError(Problem("no such GPU profile file", file=text))
    raise InputError(
        f"unknown GPU {text!r}; known: {', '.join(sorted(catalogue))}, or give the path of a"
        " profile YAML file"
    )


def profile_text(name_or_path: str | Path) -> str:
    """The YAML of the profile that `load_gpu` gives for the same argument; raises as it does."""
    profile = load_gpu(name_or_path)
    if _catalogue().get(profile.name) is profile:
        entry = files("hardware_profiles") / "gpus" / f"{profile.name}.yaml"
        return entry.read_text(encoding="utf-8")
    return Path(name_or_path).read_text(encoding="utf-8")


def list_gpus() -> list[GpuRow]:
    """The profiles that come with ponder, by name."""
    rows = []
    for profile in sorted(_catalogue().values(), key=lambda profile: profile.name):
        hardware = profile.hardware
        rows.append(
            GpuRow(
                name=profile.name,
                aliases=tuple(profile.aliases),
                memory_gib=hardware.memory.si / GIB,
                memory_bandwidth_gb_per_s=hardware.memory_bandwidth.si / 1e9,
                bf16_tflops=hardware.peak_bf16.si / 1e12,
                fp8_tflops=hardware.peak_fp8.si / 1e12 if hardware.peak_fp8 else None,
                tdp_w=hardware.tdp.si,
                price_usd_per_gpu_hour=profile.price.si,
                calibrated=profile.calibrated,
            )
        )
    return rows


def read_profile(text: str, file: str) -> GpuProfile:
    """Build a profile from YAML text; `file` is the name used in messages."""
    data, lines = load_yaml_with_lines(text, file)
    if not isinstance(data, dict):
        raise InputError(Problem("a GPU profile is a mapping of keys to values", file=file))
    try:
        return GpuProfile.model_validate(data)
    except ValidationError as error:
        problems = []
        for detail in error.errors():
            # pydantic puts "[key]" after the name of a mapping whose *key* is wrong
            location = tuple(part for part in detail["loc"] if part != "[key]")
            problems.append(
                Problem(
                    _message(detail),
                    file=file,
                    line=_nearest_line(location, lines),
                    field=".".join(str(part) for part in location) or None,
                )
            )
        raise InputError(problems) from None


# What pydantic calls a kind of error -> what was wanted
_WANTED = {
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _message(detail: Mapping[str, Any]) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    shown = repr(given) if len(repr(given)) <= 60 else f"{repr(given)[:57]}..."
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "unknown key"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {shown}"
    if kind == "literal_error":
        return f"must be {context['expected']}, not {shown}"
    text = str(detail["msg"]).removeprefix("Value error, ")
    return text if kind == "value_error" else f"{text[:1].lower()}{text[1:]}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-").removeprefix("nvidia-")


def _nearest_line(
    location: tuple[str | int, ...], lines: Mapping[tuple[str | int, ...], int]
) -> int | None:
    # pydantic names mapping keys by their parsed type, the YAML nodes by their text
    by_text = {tuple(map(str, path)): line for path, line in lines.items()}
    for length in range(len(location), -1, -1):
        line = by_text.get(tuple(map(str, location[:length])))
        if line is not None:
            return line
    return None


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, GpuProfile]:
    folder = files("hardware_profiles") / "gpus"
    profiles = [
        read_profile(entry.read_text(encoding="utf-8"), f"gpus/{entry.name}")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    ]
    return {profile.name: profile for profile in profiles}
