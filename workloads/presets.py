"""Named length laws, read from `presets.yaml`, where each stands beside its source."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

import yaml


@lru_cache(maxsize=1)
def length_presets() -> dict[str, dict[str, Any]]:
    """Every preset: "family.column" -> the mapping of its length law (`kind` and parameters)."""
    text = resources.files("workloads").joinpath("presets.yaml").read_text(encoding="utf-8")
    return {
        f"{family}.{column}": fit["law"]
        for family, content in yaml.safe_load(text).items()
        for column, fit in content.items()
        if column != "source"
    }
