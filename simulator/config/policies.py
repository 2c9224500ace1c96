"""What an experiment says of a policy: its kind and its parameters, checked when it is loaded.

In YAML a policy is just its kind, or a mapping of its kind and parameters. The kind is a name of
the family's registry or a class in a file, `./my_policy.py:MyPolicy`. A family is one subclass of
`PolicySettings`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    PydanticUserError,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails
from pydantic_core.core_schema import ErrorType

from simulator.config.schema import nearest
from simulator.errors import InputError
from simulator.policy import Policy, build, find, parameter_model
from simulator.registry import Registry

_KNOWN_TYPES = frozenset(get_args(ErrorType))
_FILE_KIND = r"\.py:[A-Za-z_][A-Za-z0-9_]*$"


class PolicySettings(BaseModel):
    """Base of the settings of one family of policies; parameters are what pydantic calls extras.

    `registry` files the family's classes, `base` is what all of them derive from, `default` the
    kind of a mapping without one (None: it has to be said). Raises pydantic's `ValidationError`,
    each error at the place in the mapping that it is about.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    registry: ClassVar[Registry[Any]]
    base: ClassVar[type[Any]]
    default: ClassVar[str | None] = None

    kind: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter by name, those left to their defaults too."""
        return dict(self.model_extra or {})

    @property
    def path(self) -> Path | None:
        """The file that the class comes from; None for a registered kind."""
        return Path(self.kind.rpartition(":")[0]) if names_a_class(self.kind) else None

    def build(self) -> Any:
        """A fresh instance of the policy."""
        return build(find(self.registry, self.base, self.kind), self.parameters)

    @model_validator(mode="before")
    @classmethod
    def _check(cls, value: Any) -> Any:
        """The mapping with every parameter in it, checked by the policy's own types."""
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            return value
        given = {"kind": cls.default, **value} if cls.default is not None else dict(value)
        if not isinstance(given.get("kind"), str):
            return given  # pydantic says what is wrong
        kind = given.pop("kind")
        try:
            policy = find(cls.registry, cls.base, kind)
            model = _parameters(policy)
        except InputError as error:
            raise _at("kind", kind, f"{error}{cls._hint(kind)}") from None
        except (PydanticUserError, NameError, TypeError) as error:
            if not names_a_class(kind):
                raise
            message = f"{kind} has fields that cannot be parameters: {error}"
            raise _at("kind", kind, message) from None
        try:
            checked = model.model_validate_json(json.dumps(given, default=str))
        except ValidationError as error:
            if not names_a_class(kind):
                raise
            raise _with_own_hints(error, model) from None
        if names_a_class(kind):
            try:
                build(policy, {name: getattr(checked, name) for name in model.model_fields})
            except InputError as error:
                raise _at("kind", kind, str(error)) from None
        return {"kind": kind, **{name: getattr(checked, name) for name in model.model_fields}}

    @classmethod
    def _hint(cls, kind: str) -> str:
        if kind.endswith(".py"):
            return f"; a file needs the name of a class in it: {kind}:ClassName"
        guess = nearest(kind, list(cls.registry))
        return f"; did you mean {guess!r}?" if guess else ""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A word, or a mapping with the parameters of the kind that it names."""
        return {
            "anyOf": [
                {"type": "string", "enum": list(cls.registry)},
                {"type": "string", "pattern": _FILE_KIND},
                *cls._mappings(handler),
                {
                    "type": "object",
                    "description": "A class in a file: path/to/file.py:ClassName.",
                    "properties": {"kind": {"type": "string", "pattern": _FILE_KIND}},
                    "required": ["kind"],
                    "additionalProperties": True,
                },
            ],
            "description": cls.__doc__ or "",
        }

    @classmethod
    def _mappings(cls, handler: GetJsonSchemaHandler) -> Iterator[JsonSchemaValue]:
        for kind in cls.registry:
            core = _parameters(cls.registry[kind]).__pydantic_core_schema__
            shape = dict(handler.resolve_ref_schema(handler(core)))
            required = shape.pop("required", [])
            if kind != cls.default:
                required = ["kind", *required]
            named = {"kind": {"type": "string", "const": kind}}
            shape["properties"] = named | shape.get("properties", {})
            yield {**shape, "required": required} if required else shape


def names_a_class(kind: str) -> bool:
    """Whether a kind is a class in a file, `path/to/file.py:ClassName`."""
    path, colon, _ = kind.rpartition(":")
    return bool(colon) and path.endswith(".py")


def _parameters(policy: type[Any]) -> type[BaseModel]:
    if issubclass(policy, Policy):
        return parameter_model(policy)  # type: ignore[arg-type]
    return create_model(policy.__name__, __config__=ConfigDict(extra="forbid"))


def _with_own_hints(error: ValidationError, model: type[BaseModel]) -> ValidationError:
    """The error with unknown keys explained here, as the schema cannot know a file's parameters."""
    details = []
    for each in error.errors(include_url=False):
        loc, given = each["loc"], each["input"]
        if each["type"] == "extra_forbidden" and len(loc) == 1:
            message = _unknown(str(loc[0]), list(model.model_fields))
            details.append(_detail(loc, given, message))
        elif each["type"] in _KNOWN_TYPES:
            kept = InitErrorDetails(type=each["type"], loc=loc, input=given)
            kept["ctx"] = each.get("ctx", {})
            details.append(kept)
        else:  # of a validator in the file
            details.append(_detail(loc, given, each["msg"]))
    return ValidationError.from_exception_data("policy", details)


def _unknown(name: str, known: list[str]) -> str:
    guess = nearest(name, known)
    if guess:
        return f"unknown key; did you mean {guess!r}?"
    return f"unknown key; known: {', '.join(['kind', *known])}"


def _at(field: str, value: Any, message: str) -> ValidationError:
    """A pydantic error about one key of the mapping."""
    return ValidationError.from_exception_data("policy", [_detail((field,), value, message)])


def _detail(loc: tuple[str | int, ...], value: Any, message: str) -> InitErrorDetails:
    error = {"error": ValueError(message)}
    return InitErrorDetails(type="value_error", loc=loc, input=value, ctx=error)
