"""Calibrated quality models by name: each figure with its source, and whether it was identified."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import Field, model_validator

from simulator.core_yaml import CoreLoader
from simulator.errors import InputError
from simulator.quality.curve import AccuracyCurve
from simulator.quality.model import QualityModel
from simulator.settings import Settings

MAX_TOKENS = 1e9


class CurveSettings(Settings):
    """acc(t) = [f + (A - f) / (1 + (t0 / (t - s))^k)] * exp(-(t / t1)^m), t in thinking tokens."""

    floor: float = Field(0.0, ge=0, le=1)
    """f: accuracy without thinking."""
    ceiling: float = Field(ge=0, le=1)
    """A: accuracy after endless thinking."""
    half_tokens: float = Field(gt=0, le=MAX_TOKENS)
    """t0: where half of the way from floor to ceiling is done."""
    steepness: float = Field(1.0, gt=0, le=100)
    """k."""
    onset_tokens: float = Field(0.0, ge=0, le=MAX_TOKENS)
    """s: thinking shorter than this helps nothing."""
    decline_tokens: float | None = Field(None, gt=0, le=MAX_TOKENS)
    """t1: overthinking where the model is made to think on; left out, there is none."""
    decline_steepness: float = Field(1.0, gt=0, le=100)
    """m."""

    @model_validator(mode="after")
    def _rises(self) -> CurveSettings:
        if self.ceiling < self.floor:
            raise ValueError(f"ceiling {self.ceiling:g} is below floor {self.floor:g}")
        return self

    def build(self) -> AccuracyCurve:
        """The curve itself."""
        return AccuracyCurve(
            self.floor,
            self.ceiling,
            self.half_tokens,
            self.steepness,
            self.onset_tokens,
            math.inf if self.decline_tokens is None else self.decline_tokens,
            self.decline_steepness,
        )


class Vote(Settings):
    """A measured vote of k attempts: accuracies in [0, 1]."""

    k: int = Field(ge=1, le=100_000)
    accuracy: float = Field(ge=0, le=1)
    source: str


class BenchmarkPreset(Settings):
    """One model on one set of problems."""

    curve: CurveSettings | None = None
    """Of a model that thinks; give this or accuracy."""
    accuracy: float | None = Field(None, ge=0, le=1)
    """Of a model that does not think, whatever the tokens."""
    pass_at_1: float | None = Field(None, ge=0, le=1)
    """As measured, where the model stops by itself."""
    reference_tokens: float | None = Field(None, gt=0, le=MAX_TOKENS)
    """Mean thinking tokens where the model stops by itself."""
    rho: float = Field(0.0, ge=0, lt=1)
    """Intraclass correlation of attempts at one problem; 0 makes all problems equally hard."""
    dominant_share: float = Field(1.0, ge=0, le=1)
    """Part of the wrong answers to a problem that are the same one."""
    identified: bool
    """The curve's parameters follow from measured points of this model and benchmark."""
    control: Literal["forced", "natural"] | None = None
    """How the lengths of those points came about."""
    points: int | None = Field(None, ge=1)
    """How many there are."""
    measured_tokens: tuple[float, float] | None = None
    """Shortest and longest of them; beyond, the curve extrapolates."""
    rmse_points: float | None = Field(None, ge=0)
    """Of the fit, in percentage points."""
    standard_errors: dict[str, float | None] = Field(default_factory=dict)
    """Of the fitted parameters; empty where the points do not tell it."""
    votes: tuple[Vote, ...] = ()
    """Measured votes, to compare with."""
    sources: dict[str, str]
    """Where each figure comes from."""

    @model_validator(mode="after")
    def _one_accuracy(self) -> BenchmarkPreset:
        if (self.curve is None) == (self.accuracy is None):
            raise ValueError("give either curve or accuracy")
        return self

    def build(self) -> QualityModel:
        """The quality model that the strategies ask."""
        if self.curve is not None:
            curve = self.curve.build()
        else:
            assert self.accuracy is not None
            curve = AccuracyCurve.flat(self.accuracy)
        return QualityModel(curve, self.rho, self.dominant_share, self.reference_tokens)


class QualityPreset(Settings):
    """A model and the sets of problems it was measured on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    model: str
    """Its full name."""
    benchmarks: dict[str, BenchmarkPreset] = Field(min_length=1)


@cache
def presets() -> Mapping[str, QualityPreset]:
    """The presets that come with ponder, by name in order. Treat them as read-only."""
    found = {}
    folder = files("simulator.quality") / "presets"
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml"):
            data = yaml.load(entry.read_text(encoding="utf-8"), Loader=CoreLoader)
            preset = QualityPreset.model_validate_json(json.dumps(data))
            found[preset.name] = preset
    return found


def find_preset(name: str) -> BenchmarkPreset:
    """The preset `model/benchmark`; of a model with one benchmark, the model's name is enough.

    Raises InputError for a name that is not there, saying what is.
    """
    model, _, benchmark = name.partition("/")
    preset = presets().get(model)
    if preset is None:
        raise InputError(f"unknown quality preset {name!r}; known: {', '.join(presets())}")
    return choose_benchmark(preset, benchmark)


def choose_benchmark(preset: QualityPreset, benchmark: str) -> BenchmarkPreset:
    """The benchmark of a preset, or its only one if `benchmark` is empty; InputError if neither."""
    known = preset.benchmarks
    if not benchmark and len(known) == 1:
        return next(iter(known.values()))
    if benchmark not in known:
        what = f"no benchmark {benchmark!r}" if benchmark else "several benchmarks"
        raise InputError(f"{preset.name} has {what}; choose {preset.name}/{{{','.join(known)}}}")
    return known[benchmark]
