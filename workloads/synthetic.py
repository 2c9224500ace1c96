"""Requests drawn from laws: the `synthetic` workload."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from simulator.errors import InputError, Problem
from simulator.rng import uniforms
from workloads.arrivals import CHUNK_ROWS, Arrivals, ClosedLoopArrivals
from workloads.batch import MAX_REQUESTS, MAX_TOKENS, RequestBatch
from workloads.law import Law
from workloads.lengths import ConstantLength, LengthLaw
from workloads.schema import Section


class SyntheticWorkload(Section):
    """Arrivals and lengths drawn independently, all requests of one class.

    Ends after `num_requests` or before `duration_s`, whichever comes first. Request j's lengths
    depend only on the seed, the class name and j; max_tokens caps thinking + answer.
    """

    kind: Literal["synthetic"] = "synthetic"
    class_name: str = Field("default", min_length=1)
    arrivals: Arrivals
    prompt_tokens: LengthLaw
    thinking_tokens: LengthLaw = ConstantLength(tokens=0)
    answer_tokens: LengthLaw
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    num_requests: int | None = Field(None, ge=1, le=MAX_REQUESTS)
    duration_s: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _has_times_to_end(self) -> SyntheticWorkload:
        if self.duration_s is not None and isinstance(self.arrivals, ClosedLoopArrivals):
            raise ValueError(
                "duration_s cannot end a closed loop, whose times follow from the run: "
                "use num_requests here, or measure.window_s"
            )
        return self

    @field_validator("prompt_tokens", "answer_tokens")
    @classmethod
    def _never_empty(cls, law: Law) -> Law:
        if law.support()[0] < 1:
            raise ValueError("a request needs at least 1 token here, and this law can draw 0")
        return law

    def generate(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> RequestBatch:
        """Draws the requests of `seed`.

        `duration_s` ends the arrivals if the workload itself sets no end; `base_dir` is not used
        (no file is read). Raises InputError if nothing sets an end or no request arrives.
        """
        if self.num_requests is not None or self.duration_s is not None:
            duration_s = self.duration_s
        arrival_s = self.arrivals.times(
            seed, self.class_name, count=self.num_requests, duration_s=duration_s
        )
        if not arrival_s.size:
            message = f"no request arrives in {duration_s:g} s"
            raise InputError(Problem(message, field="workload.arrivals"))
        n = len(arrival_s)

        def draw(law: Law, stream: str) -> NDArray[np.int64]:
            return draw_lengths(law, seed, stream, self.class_name, n)

        return RequestBatch(
            arrival_s=arrival_s,
            prompt_tokens=draw(self.prompt_tokens, "prompt"),
            thinking_tokens=draw(self.thinking_tokens, "thinking"),
            answer_tokens=draw(self.answer_tokens, "answer"),
            max_tokens=np.full(n, self.max_tokens or 0, dtype=np.int64),
            class_id=np.zeros(n, dtype=np.int32),
            class_names=(self.class_name,),
            provenance={
                "arrival_s": f"drawn: {self.arrivals.describe()}",
                "prompt_tokens": f"drawn: {self.prompt_tokens.describe()}",
                "thinking_tokens": f"drawn: {self.thinking_tokens.describe()}",
                "answer_tokens": f"drawn: {self.answer_tokens.describe()}",
            },
            closed_loop=self.arrivals.clients(seed, self.class_name, n),
        )


def draw_lengths(
    law: Law, seed: int, stream: str, entity: str, count: int, *, sample: int = 0
) -> NDArray[np.int64]:
    """Lengths int64[count] of one stream, in pieces, so that memory stays with the result."""
    lengths = np.empty(count, dtype=np.int64)
    for start in range(0, count, CHUNK_ROWS):
        piece = lengths[start : start + CHUNK_ROWS]
        drawn = uniforms(seed, stream, entity, len(piece), start, sample=sample)
        piece[:] = law.quantile(drawn[:, 0])
    return lengths
