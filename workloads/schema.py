"""The base of every workload model: what a mapping of the YAML may hold."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """An immutable mapping of the experiment file.

    Unknown keys are errors, and so are values of another type: "2" and true are not numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
