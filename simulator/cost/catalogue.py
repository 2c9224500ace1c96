"""The models that come with ponder, and finding one by name, alias or path."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from simulator.cost.architecture import Architecture
from simulator.cost.hf_config import read_text_file
from simulator.cost.number_formats import WeightDtype
from simulator.cost.read_config import read_architecture
from simulator.errors import InputError, Problem


@dataclass(frozen=True)
class ModelRow:
    """One line of `ponder models`; KV bytes are for a 16-bit cache and the whole model.

    `weights` are the number formats of the published checkpoint; `other_weights` those aliases that
    are checkpoints in other formats.
    """

    name: str
    aliases: tuple[str, ...]
    other_weights: tuple[str, ...]
    parameters: int
    active_parameters: int
    weights: str
    layers: int
    kv_bytes_per_token: int
    max_context_tokens: int


def load_architecture(name_or_path: str | Path) -> Architecture:
    """The architecture with this catalogue name or alias, or of a `config.json`.

    Case does not matter for names. An alias may stand for a quantised checkpoint of the model
    (`Qwen/Qwen3-32B-FP8`) and is known without its organisation too. A path may be the file or the
    model folder that holds it; of one that does not exist, the last part is taken as a name.
    Raises InputError for an unknown name, an unreadable file, missing keys (named) and
    architectures that can't be costed yet (with the reason), all at once.
    """
    text = str(name_or_path)
    if text.lower() in _by_name():
        return _by_name()[text.lower()]
    path = Path(text)
    if (path / "config.json").is_file():
        path = path / "config.json"
    if path.is_file():
        name = path.parent.resolve().name if path.name == "config.json" else path.stem
        return read_architecture(read_text_file(path), name=name, file=str(path))
    if path.suffix == ".json":
        raise InputError(Problem("no such model config file", file=text))
    if path.name.lower() in _by_name():
        return _by_name()[path.name.lower()]
    raise InputError(
        f"unknown model {text!r}; known: {', '.join(sorted(_catalogue()))} (and their Hugging Face"
        " ids), or give the path of a config.json"
    )


def list_models() -> list[ModelRow]:
    """The architectures that come with ponder, by name."""
    aliases = _aliases()
    return [
        ModelRow(
            name=name,
            aliases=tuple(alias for ids in aliases.get(name, {}).values() for alias in ids),
            other_weights=tuple(
                alias
                for dtype, ids in aliases.get(name, {}).items()
                if dtype != "auto"
                for alias in ids
            ),
            parameters=architecture.parameters,
            active_parameters=architecture.active_parameters,
            weights="/".join(architecture.formats.all),
            layers=architecture.num_hidden_layers,
            kv_bytes_per_token=architecture.kv_bytes_per_token(),
            max_context_tokens=architecture.max_position_embeddings,
        )
        for name, architecture in sorted(_catalogue().items())
    ]


@lru_cache(maxsize=1)
def _aliases() -> dict[str, dict[WeightDtype, list[str]]]:
    """Model -> weight format of a checkpoint (`auto`: as in the model's file) -> its names."""
    aliases: dict[str, dict[WeightDtype, list[str]]] = json.loads(
        (files("simulator") / "models" / "aliases.json").read_text(encoding="utf-8")
    )
    return aliases


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, Architecture]:
    catalogue = {}
    for entry in (files("simulator") / "models").iterdir():
        if entry.name.endswith(".json") and entry.name != "aliases.json":
            name = entry.name.removesuffix(".json")
            text = entry.read_text(encoding="utf-8")
            catalogue[name] = read_architecture(text, name=name, file=f"models/{entry.name}")
    return catalogue


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Architecture]:
    """Every name and alias in lower case; ids also without their organisation."""
    found = dict(_catalogue())
    for name, by_format in _aliases().items():
        model = found[name]
        for dtype, ids in by_format.items():
            own = model.formats_as(dtype)
            variant = model if own == model.formats else replace(model, formats=own)
            for alias in ids:
                found[alias.lower()] = variant
                found.setdefault(alias.lower().rsplit("/", 1)[-1], variant)
    return found
