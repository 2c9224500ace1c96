"""Policies in files of somebody's own: loaded once, and held to what they override.

A method whose name is misspelt overrides nothing, and would be silently left out.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from simulator.errors import InputError

_ALIKE = 0.8  # of difflib's measure: one letter too few or too many, another ending


def class_in(path: Path, name: str, base: type[Any]) -> type[Any]:
    """The class called `name` in the file at `path`.

    Raises `InputError` if the file cannot be loaded, has no such class, or one that is no `base`,
    or if what the class says of itself cannot be.
    """
    found = getattr(_load(path), name, None)
    if found is None:
        raise InputError(f"{path} has no class {name!r}")
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise InputError(f"{name} in {path} is not a {base.__name__}")
    wrong = [*_slips(found, base), *_bad_values(found, base)]
    if wrong:
        raise InputError(f"{name} in {path}: {'; '.join(wrong)}")
    return found


def shown(path: Path, name: str) -> str:
    """The kind as somebody in the working directory would write it."""
    try:
        near = os.path.relpath(path)
    except ValueError:  # another drive
        return f"{path}:{name}"
    return f"{path}:{name}" if near.startswith("..") else f"{near}:{name}"


def _slips(cls: type[Any], base: type[Any]) -> Iterator[str]:
    """Names of the class's own that are nearly those of `base`, and methods that are none."""
    known = {name for name in dir(base) if not name.startswith("_")}
    parameters = set(getattr(cls, "__dataclass_fields__", ()))
    for owner in cls.__mro__:
        if owner.__module__ != cls.__module__:
            continue
        for name, value in vars(owner).items():
            if name.startswith("_") or name in parameters:
                continue
            if name in known:
                if inspect.isfunction(getattr(base, name)) and not callable(value):
                    yield f"{name} must be a method"
                continue
            near = [each for each in sorted(known) if sorted(each) == sorted(name)]
            near += difflib.get_close_matches(name, sorted(known), 1, _ALIKE)
            if near:
                yield (
                    f"{name} is never asked for; did you mean {near[0]}? (Names of your own that"
                    " are so alike must begin with an underscore.)"
                )


def _bad_values(cls: type[Any], base: type[Any]) -> Iterator[str]:
    """What the class declares of itself against the types of the declarations in `base`."""
    for owner in base.__mro__[:-1]:
        hints = get_type_hints(owner, include_extras=True) if owner.__module__ != "abc" else {}
        for name in inspect.get_annotations(owner):
            hint = hints[name]
            if name.startswith("_") or get_origin(hint) is not ClassVar:
                continue
            kind, value = get_args(hint)[0], getattr(cls, name)
            if isinstance(value, property):
                continue
            try:
                strict = get_origin(kind) is not frozenset
                TypeAdapter(kind).validate_python(value, strict=strict)
            except ValidationError as error:
                yield f"{name} is {value!r}: {error.errors()[0]['msg']}"


def _load(path: Path) -> ModuleType:
    """The module in `path`, loaded once a process."""
    name = f"ponder_policy_{path.resolve().as_posix().replace('/', '_').replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        del sys.modules[name]
        raise InputError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
