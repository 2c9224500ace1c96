"""What an experiment says of a pool's accuracy: a preset, a curve or one number, by class."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from simulator.config.messages import explain
from simulator.config.schema import nearest
from simulator.config.source import KeyPath, read_yaml
from simulator.errors import InputError, Problem
from simulator.quality import QualityModel
from simulator.quality.presets import (
    MAX_TOKENS,
    BenchmarkPreset,
    CurveSettings,
    QualityPreset,
    choose_benchmark,
    find_preset,
    presets,
)
from simulator.settings import Settings


class QualitySettings(Settings):
    """How often a model is right. May be written as just the name of a preset.

    Give one of preset, curve and accuracy; what else is given replaces the preset's.
    """

    preset: str | None = None
    """A calibrated one, as in `ponder quality list`: `r1-distill-qwen-32b/aime24`; or one of a file
    of your own, written by `ponder quality fit`: `./mine.yaml`, or `./mine.yaml/benchmark`."""
    curve: CurveSettings | None = None
    """Accuracy as a function of thinking tokens."""
    accuracy: float | None = Field(None, ge=0, le=1)
    """Of a model that does not think: the same whatever the tokens."""
    rho: float | None = Field(None, ge=0, lt=1)
    """Intraclass correlation of attempts at one problem. Without a preset 0: equal problems."""
    dominant_share: float | None = Field(None, ge=0, le=1)
    """Part of the wrong answers to a problem that are the same one. Without a preset 1: all."""
    reference_tokens: float | None = Field(None, gt=0, le=MAX_TOKENS)
    """Mean thinking tokens where the model stops by itself. If known, an attempt stands on the
    curve by the part that it got of its own natural length; otherwise by the tokens themselves."""
    without_thinking: float | None = Field(None, ge=0, le=1)
    """Accuracy when it answers at once, in a mode without thinking. Default: the curve's floor."""
    retained: float = Field(1.0, ge=0, le=1)
    """Part of the accuracy that is left, by a compressed KV cache for instance."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_word(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> QualitySettings:
        given = [
            name for name in ("preset", "curve", "accuracy") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "give one of preset, curve and accuracy" + (f", not {len(given)}" if given else "")
            )
        if self.preset is not None and preset_path(self.preset) is None:
            try:
                find_preset(self.preset)
            except InputError as error:
                raise ValueError(f"{error}{_hint(self.preset)}") from None
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A name, or the mapping."""
        shape = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [{"type": "string"}, shape], "description": shape["description"]}

    @property
    def path(self) -> Path | None:
        """The file that the preset is in; None for one that comes with ponder, or none."""
        return None if self.preset is None else preset_path(self.preset)

    def build(self) -> QualityModel:
        """The quality model. Raises InputError if the preset's file is wrong."""
        if self.preset is not None:
            base = load_preset(self.preset).build()
        else:
            base = BenchmarkPreset(
                curve=self.curve, accuracy=self.accuracy, identified=False, sources={}
            ).build()
        given = {
            name: value
            for name in ("rho", "dominant_share", "reference_tokens", "without_thinking")
            if (value := getattr(self, name)) is not None
        }
        return QualityModel(**(vars(base) | given)).lossy(self.retained)


class PoolQuality(Settings):
    """How often the model of a pool is right, by class of queries.

    May be written as the quality of all classes alone.
    """

    default: QualitySettings | None = None
    """Of classes that `classes` does not name."""
    classes: dict[str, QualitySettings] = Field(default_factory=dict)
    """By the name of the class."""

    @model_validator(mode="before")
    @classmethod
    def _of_all_classes(cls, value: Any) -> Any:
        if isinstance(value, str) or (
            isinstance(value, dict) and value and not {"default", "classes"} & set(value)
        ):
            return {"default": value}
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The quality of all classes, or the mapping by class."""
        shape = handler.resolve_ref_schema(handler(core_schema))
        one = shape["properties"]["classes"]["additionalProperties"]
        return {"anyOf": [one, shape], "description": shape["description"]}

    def missing(self, class_names: tuple[str, ...]) -> list[str]:
        """Those of the classes that nothing is said about."""
        if self.default is not None:
            return []
        return [name for name in class_names if name not in self.classes]

    def build(self, class_names: tuple[str, ...]) -> list[QualityModel]:
        """The quality model of each class, in the order of `class_names`.

        Raises InputError with every class that is missing or misspelt and every bad file.
        """
        problems = [
            Problem("no quality is given for this class, nor a default", field=f"classes.{name}")
            for name in self.missing(class_names)
        ]
        for name in self.classes:
            if name not in class_names:
                message = f"no such class; known: {', '.join(class_names)}"
                problems.append(Problem(message, field=f"classes.{name}"))
        built: dict[str, QualityModel] = {}
        for name in class_names:
            settings = self.classes.get(name, self.default)
            if settings is not None:
                try:
                    built[name] = settings.build()
                except InputError as error:
                    problems += error.problems
        if problems:
            raise InputError(list(dict.fromkeys(problems)))
        return [built[name] for name in class_names]


def check_quality(quality: PoolQuality, class_names: tuple[str, ...], field: str) -> list[Problem]:
    """What keeps `quality` from being built for these classes; `field`: where it was written."""
    try:
        quality.build(class_names)
    except InputError as error:
        return [
            each if each.file else replace(each, field=".".join(filter(None, (field, each.field))))
            for each in error.problems
        ]
    return []


def preset_spots(
    path: KeyPath, holder: dict[str, Any], key: str = "quality"
) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Where files of presets are named in the quality that `holder`, at `path`, has under `key`.

    Each as its key path and the mapping that holds it, for making paths absolute.
    """
    value = holder.get(key)
    if isinstance(value, str):
        if preset_path(value) is not None:
            yield (*path, key), holder
    elif isinstance(value, dict):
        here = (*path, key)
        if "preset" in value:
            yield from preset_spots(here, value, "preset")
        yield from preset_spots(here, value, "default")
        classes = value.get("classes")
        if isinstance(classes, dict):
            for name in classes:
                yield from preset_spots((*here, "classes"), classes, name)


def preset_path(name: str) -> Path | None:
    """The file in `path/to/file.yaml` or `path/to/file.yaml/benchmark`; None for a plain name."""
    file, _ = _split(name)
    return Path(file) if file else None


def load_preset(name: str) -> BenchmarkPreset:
    """The preset of this name, or in this file; InputError where it is not, or is wrong."""
    file, benchmark = _split(name)
    return choose_benchmark(read_preset(file), benchmark) if file else find_preset(name)


def read_preset(path: str | Path) -> QualityPreset:
    """Read a preset file. Raises InputError with everything wrong, with line and field."""
    source = read_yaml(path)
    problems = list(source.problems)
    try:
        preset = QualityPreset.model_validate_json(json.dumps(source.data, default=str))
    except ValidationError as error:
        raise InputError([*problems, *explain(error, source)]) from None
    if problems:
        raise InputError(problems)
    return preset


def _split(name: str) -> tuple[str, str]:
    """File and benchmark; the file is empty for the name of a preset."""
    for ending in (".yaml", ".yml"):
        if name.endswith(ending):
            return name, ""
        file, slash, benchmark = name.rpartition("/")
        if slash and file.endswith(ending):
            return file, benchmark
    return "", ""


def _hint(name: str) -> str:
    known = [f"{preset.name}/{each}" for preset in presets().values() for each in preset.benchmarks]
    guess = nearest(name, known)
    return f"; did you mean {guess!r}?" if guess else ""
