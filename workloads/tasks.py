"""Classes of queries: what they are like, how many there are, what they are worth."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

import yaml
from pydantic import Field, model_validator

from workloads.arrivals import Arrivals
from workloads.queries import QueryLaws
from workloads.sessions import SessionLaws
from workloads.slo import Slo


@lru_cache(maxsize=1)
def task_presets() -> dict[str, dict[str, Any]]:
    """Every preset of `task_presets.yaml`: name -> fields of a `TaskClass`."""
    text = resources.files("workloads").joinpath("task_presets.yaml").read_text(encoding="utf-8")
    return {name: content["class"] for name, content in yaml.safe_load(text).items()}


# Two ways to an answer: a law of the whole output that is divided, or laws of its parts.
_DIVIDED = ("output_tokens", "thinking_ratio")
_APART = ("thinking_tokens", "answer_tokens")


class TaskClass(QueryLaws):
    """One class of a mix.

    `preset` fills in what is not said here, by the name of a class in `task_presets.yaml`; one way
    to an answer (`answer_tokens`, or `output_tokens` and `thinking_ratio`) replaces the other with
    its `thinking_tokens`. `share` is the class's part of the mix's arrivals, relative to the other
    shares; `arrivals` instead gives it arrivals of its own. What arrives are queries or, with
    `session`, whole sessions. `client` is who sends them (default: a client named like the class).
    `priority` is for schedulers that go by it, smaller first (as in vLLM).
    `value_usd` is what a correct answer is worth; `slo` replaces the experiment's for this class.
    """

    preset: str | None = Field(
        None, json_schema_extra=lambda schema: schema.update(enum=[*task_presets()])
    )
    share: float | None = Field(None, gt=0, le=1e9, description="Default 1.")
    arrivals: Arrivals | None = None
    session: SessionLaws | None = None
    client: str | None = Field(None, min_length=1)
    priority: int = Field(0, ge=-(2**31), le=2**31)
    value_usd: float | None = Field(None, ge=0)
    slo: Slo | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("preset") is None:
            return data
        name = data["preset"]
        if name not in task_presets():
            known = ", ".join(sorted(task_presets()))
            raise ValueError(f"unknown preset {name!r}; known: {known}")
        preset = task_presets()[name]
        for way, other in (_DIVIDED, _APART), (_APART, _DIVIDED):
            if any(data.get(key) for key in way) and any(preset.get(key) for key in other):
                preset = {key: value for key, value in preset.items() if key not in other}
                if way is _APART and not data.get("thinking_tokens"):
                    raise ValueError(
                        f"give thinking_tokens too: preset {name} divides an output, and its parts"
                        " replace that"
                    )
        merged = {**preset, **data}
        for key in ("session", "difficulty", "slo"):
            if isinstance(preset.get(key), dict) and isinstance(data.get(key), dict):
                merged[key] = {**preset[key], **data[key]}
        session = data.get("session")
        if isinstance(session, dict) and session.get("max_context_tokens", 0) is None:
            # there is no limit to compact at
            merged["session"] = {**merged["session"], "compacted_tokens": None, **session}
        return merged
