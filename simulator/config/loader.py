"""Experiment file -> `Experiment`, or one error that holds every problem with its file and line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from simulator.config.checks import check_experiment, check_pool, check_workload
from simulator.config.experiment import MAX_SEED, Experiment, PoolSettings
from simulator.config.messages import explain
from simulator.config.overrides import Override, apply_override, parse_override
from simulator.config.policies import names_a_class
from simulator.config.quality import preset_spots
from simulator.config.resolve import names_a_file, resolved
from simulator.config.source import (
    KeyPath,
    Place,
    Source,
    clean,
    from_mapping,
    plain,
    read_yaml,
)
from simulator.errors import InputError, Problem
from workloads.kinds import AnyWorkload

_WORKLOAD: TypeAdapter[Any] = TypeAdapter(AnyWorkload)
_POLICIES = ("router", "scheduler", "predictor", "admission", "strategy")


def load_experiment(
    path: str | PathLike[str] | Mapping[str, Any],
    overrides: str | Iterable[str] = (),
    seed: int | None = None,
) -> Experiment:
    """Read an experiment file and work out everything it leaves to defaults.

    `path` may also be the experiment as a mapping. `overrides` is a change of the form
    `path.to.key=value` or several, applied in order; `seed` replaces the experiment's. Paths in the
    file are relative to the file, paths in overrides or a mapping to the working directory.

    Raises `InputError` holding every problem found, each with file, line and dotted field (for an
    override: the option that set it).
    """
    return load_with_source(path, overrides, seed)[0]


def load_with_source(
    path: str | PathLike[str] | Mapping[str, Any],
    overrides: str | Iterable[str] = (),
    seed: int | None = None,
) -> tuple[Experiment, Source]:
    """As `load_experiment`, and also where each value came from, for problems found later."""
    changes, problems = _read_overrides(overrides)
    try:
        source = from_mapping(path) if isinstance(path, Mapping) else read_yaml(Path(path))
    except InputError as error:
        raise InputError([*error.problems, *problems]) from None
    if seed is not None:
        changes.append(Override(("seed",), plain(seed), f"--seed {seed}"))
    problems += source.problems
    problems += filter(None, [apply_override(source, change) for change in changes])
    problems += clean(source)
    base = Path.cwd() if isinstance(path, Mapping) else Path(path).parent
    _make_paths_absolute(source, base)
    experiment = None
    try:
        experiment = Experiment.model_validate_json(json.dumps(source.data, default=str))
    except ValidationError as error:
        problems += explain(error, source)
    if experiment is None or problems:
        raise InputError(_in_order(problems + _check_sound_parts(source, problems), source))
    problems += located(check_experiment(experiment), source)
    if problems:
        raise InputError(_in_order(problems, source))
    return resolved(experiment), source


class _WorkloadFile(BaseModel):
    """A file that holds a workload and nothing of who serves it."""

    model_config = ConfigDict(extra="forbid")
    name: str = ""
    workload: AnyWorkload
    seed: int = Field(0, ge=0, le=MAX_SEED)


def load_workload(
    path: str | PathLike[str], overrides: str | Iterable[str] = ()
) -> tuple[AnyWorkload, int]:
    """Read the `workload` of an experiment file, or of a file with nothing else, and its `seed`.

    Raises `InputError` holding every problem found, each with file, line and dotted field.
    """
    changes, problems = _read_overrides(overrides)
    source = read_yaml(Path(path))
    if "pools" in source.data:
        experiment = load_experiment(path, overrides)
        return experiment.workload, experiment.seed
    problems += source.problems
    problems += filter(None, [apply_override(source, change) for change in changes])
    problems += clean(source)
    _make_paths_absolute(source, Path(path).parent)
    try:
        file = _WorkloadFile.model_validate_json(json.dumps(source.data, default=str))
    except ValidationError as error:
        raise InputError(_in_order([*problems, *explain(error, source)], source)) from None
    problems += located(check_workload(file.workload, read_trace=False), source)
    if problems:
        raise InputError(_in_order(problems, source))
    return file.workload, file.seed


def located(problems: Iterable[Problem], source: Source) -> list[Problem]:
    """`problems` that name a field but no file, with the file and line of that field."""
    found = []
    for problem in problems:
        if problem.file is None and problem.field is not None:
            place = source.place_of(problem.field)
            problem = replace(problem, file=place.file, line=place.line)
        found.append(problem)
    return found


def _read_overrides(texts: str | Iterable[str]) -> tuple[list[Override], list[Problem]]:
    changes: list[Override] = []
    problems: list[Problem] = []
    for text in [texts] if isinstance(texts, str) else texts:
        if not isinstance(text, str):
            problems.append(Problem(f"an override must be text such as 'seed=3', not {text!r}"))
            continue
        try:
            changes.append(parse_override(text))
        except InputError as error:
            problems += error.problems
    return changes, problems


def _check_sound_parts(source: Source, problems: list[Problem]) -> list[Problem]:
    """Checks of those pools and of that workload in which nothing was found wrong so far.

    So a user sees in one go both a misspelt key here and a model that is too large there.
    """
    wrong = [problem.field for problem in problems if problem.field]
    data = source.data
    found: list[Problem] = []
    pools = data.get("pools")
    for name, pool in pools.items() if isinstance(pools, dict) else ():
        if not _any_within(wrong, f"pools.{name}"):
            settings = PoolSettings.model_validate_json(json.dumps(pool, default=str))
            found += check_pool(name, settings)
    if "workload" in data and not _any_within(wrong, "workload"):
        workload = _WORKLOAD.validate_json(json.dumps(data["workload"], default=str))
        found += check_workload(workload)
    return located(found, source)


def _any_within(fields: list[str], outer: str) -> bool:
    return any(
        f"{field}.".startswith(f"{outer}.") or outer.startswith(f"{field}.") for field in fields
    )


def _make_paths_absolute(source: Source, base: Path) -> None:
    """Rewrite relative paths in the data, so that an experiment can be saved anywhere."""
    for spot, container in _path_spots(source.data):
        start = Path.cwd() if _is_option(source.place(spot)) else base
        key = str(spot[-1])
        value = container[key]
        container[key] = str((start / os.path.expanduser(value)).absolute())


def _path_spots(data: dict[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Where paths stand.

    Models and GPUs of pools, kinds of policies that are classes in files, files of quality presets,
    and keys `path` and `..._path` of the workload.
    """
    for path, holder, keys in _policy_holders(data):
        for key in keys:
            value = holder.get(key)
            spot, container = (*path, key), holder
            if isinstance(value, dict):
                spot, container, value = (*spot, "kind"), value, value.get("kind")
            if isinstance(value, str) and names_a_class(value):
                yield spot, container
    for path, pool in _mappings(data, "pools"):
        for key in ("model", "gpu"):
            if isinstance(pool.get(key), str) and names_a_file(pool[key]):
                yield (*path, key), pool
        yield from preset_spots(path, pool)
    below: list[tuple[KeyPath, Any]] = [(("workload",), data.get("workload"))]
    while below:
        path, value = below.pop()
        for key, inner in value.items() if isinstance(value, dict) else ():
            if isinstance(inner, dict):
                below.append(((*path, key), inner))
            elif isinstance(inner, str) and (key == "path" or key.endswith("_path")):
                yield (*path, key), value


def _policy_holders(
    data: dict[str, Any],
) -> Iterator[tuple[KeyPath, dict[str, Any], Sequence[str]]]:
    """The mappings some of whose keys are policies: the experiment, and the engines of pools."""
    yield (), data, _POLICIES
    for path, pool in _mappings(data, "pools"):
        if isinstance(pool.get("engine"), dict):
            yield (*path, "engine"), pool["engine"], _POLICIES
    by_class = data.get("strategies")
    if isinstance(by_class, dict):
        yield ("strategies",), by_class, list(map(str, by_class))


def _mappings(data: dict[str, Any], key: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The mappings under the names of the mapping at `key`."""
    named = data.get(key)
    for name, value in named.items() if isinstance(named, dict) else ():
        if isinstance(value, dict):
            yield (key, name), value


def _is_option(place: Place) -> bool:
    return place.file is not None and place.file.startswith("--set ")


def _in_order(problems: list[Problem], source: Source) -> list[Problem]:
    """Each problem once, by line; those of options and of other files after the experiment's."""
    main = source.place(()).file
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda p: (p.file != main, p.file or "", p.line or 0))
