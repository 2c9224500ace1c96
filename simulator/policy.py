"""What all policies share: checked parameters, a name in YAML, or a file of one's own.

A policy is a dataclass derived from `Policy`: its fields are its parameters, checked when an
experiment is loaded. It is found by the `kind` it is registered under, or where somebody else wrote
it: `kind: ./my_policy.py:MyPolicy`, relative to the experiment file.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from simulator.errors import InputError, IntegrityError, PonderError, Problem
from simulator.policy_file import class_in, shown
from simulator.registry import Registry, kind_in_registry

_FROM_FILES: dict[type[Any], str] = {}


class Policy:
    """Base of schedulers, routers, predictors and admission controls.

    A subclass is a dataclass (`@dataclass(eq=False)`) whose fields have defaults and, below each, a
    line that says what it is and in what unit. `source` is where the idea was published. What it
    remembers during a run is set by the method that starts it, never by a field.
    """

    source: ClassVar[str] = ""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    def problems(self) -> list[Problem]:
        """What is wrong with its parameters together; a problem's field is a parameter, or None."""
        return []


P = TypeVar("P", bound=Policy)

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a policy, as the command line lists it."""

    name: str
    default: Any
    description: str


def find(registry: Registry[type[P]], base: type[P], kind: str) -> type[P]:
    """The class behind `kind`: a registered name, or `path/to/file.py:ClassName`.

    Raises `InputError` for a name nobody registered, a file that cannot be loaded, or a class that
    is not a `base`.
    """
    path, colon, name = kind.rpartition(":")
    if not colon or not path.endswith(".py"):
        return registry[kind]
    found = class_in(Path(path), name, base)
    _FROM_FILES[found] = shown(Path(path), name)
    return found


def kind_of(policy: object) -> str:
    """What a user calls a policy (or a class of policies): its kind, or else the class's name."""
    cls = policy if inspect.isclass(policy) else type(policy)
    return _FROM_FILES.get(cls) or kind_in_registry(cls) or cls.__name__


def blame(family: str, policy: object, error: BaseException) -> IntegrityError:
    """The error that says that it was this policy, of a `family` such as "router", that failed."""
    who = f"{family} {kind_of(policy)}"
    if isinstance(error, PonderError):
        return IntegrityError(f"{who}: {error}")
    return IntegrityError(f"{who} failed: {type(error).__name__}: {error}")


@contextmanager
def blaming(family: str, policy: object) -> Iterator[None]:
    """Around calls that may refuse: `InputError` passes, for anything else the policy is blamed."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise blame(family, policy, error) from error


def build(cls: type[P], parameters: Mapping[str, Any]) -> P:
    """An instance of `cls` with `parameters`; pydantic's `ValidationError` if they are bad.

    Raises `InputError` for whatever else goes wrong when it is made.
    """
    checked = parameter_model(cls).model_validate(dict(parameters))  # type: ignore[arg-type]
    values = {name: getattr(checked, name) for name in type(checked).model_fields}
    try:
        return cls(**values)
    except PonderError:
        raise
    except (Exception, SystemExit) as error:
        message = f"{kind_of(cls)} cannot be made: {type(error).__name__}: {error}"
        raise InputError(message) from error


@cache
def parameter_model(cls: type[Policy]) -> type[BaseModel]:
    """The parameters of `cls` as a pydantic model. Raises `InputError` if it is no dataclass."""
    if "__dataclass_fields__" not in vars(cls):
        raise InputError(f"{cls.__name__} must be a dataclass: decorate it @dataclass(eq=False)")
    described = TypeAdapter(cls).json_schema().get("properties", {})
    hints = get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {
        field.name: (
            hints[field.name],
            Field(
                **_default(field),
                description=" ".join(described[field.name].get("description", "").split()),
            ),
        )
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.init
    }
    return create_model(cls.__name__, __config__=_STRICT, __doc__=inspect.getdoc(cls), **fields)


def parameters_of(cls: type[Policy]) -> list[Parameter]:
    """The parameters of `cls` in the order in which they are declared."""
    return [
        Parameter(name, field.get_default(call_default_factory=True), field.description or "")
        for name, field in parameter_model(cls).model_fields.items()  # type: ignore[arg-type]
    ]


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    if field.default_factory is not dataclasses.MISSING:
        return {"default_factory": field.default_factory}
    return {} if field.default is dataclasses.MISSING else {"default": field.default}
