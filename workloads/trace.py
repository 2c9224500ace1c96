"""Requests replayed from a recorded trace: the `trace` workload."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from simulator.errors import InputError, Problem
from workloads.batch import MAX_TOKENS, RequestBatch
from workloads.lengths import LengthLaw
from workloads.synthetic import draw_lengths
from workloads.traces import READERS, read_trace, rows_to_batch
from workloads.workload import FileWorkload, path_problem


class TraceWorkload(FileWorkload):
    """Arrival times, prompt and answer lengths from a file, optionally with thinking added.

    `rate_scale` 2 means twice the requests per second: times are divided by it. The first `limit`
    requests are taken, or those before `duration_s` (after scaling), whichever ends first.
    Most published traces record no thinking; `thinking_tokens` draws it (in place of any that is
    recorded), and it comes before the traced answer, which keeps its length. Classes, clients and
    sessions are those of the trace; `class_name` is for one that has none. `path` is relative to
    the experiment file.
    """

    kind: Literal["trace"] = "trace"
    class_name: str = Field("default", min_length=1)
    path: str = Field(min_length=1)
    format: str = Field("auto", json_schema_extra={"enum": ["auto", *READERS]})
    block_size: int | None = Field(None, ge=1, le=2**20, description="Tokens of a hashed block.")
    tokenizer_path: str | None = Field(
        None, min_length=1, description="A tokenizer.json that counts the tokens of texts."
    )
    rate_scale: float = Field(1.0, gt=0, le=1e9)
    thinking_tokens: LengthLaw | None = None
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)

    @field_validator("format")
    @classmethod
    def _known_format(cls, format: str) -> str:
        if format != "auto" and format not in READERS:
            known = ", ".join(["auto", *READERS])
            raise ValueError(f"unknown trace format {format!r}; known: {known}")
        return format

    def resolve(self, base_dir: Path | None = None) -> Path:
        """Where the trace is: `path`, taken from `base_dir` (or the current directory)."""
        return (base_dir or Path()) / os.path.expanduser(self.path)

    def inputs(self, base_dir: Path | None = None) -> list[Path]:
        """The trace."""
        return [self.resolve(base_dir)]

    def check(self, base_dir: Path | None = None) -> list[Problem]:
        """What is wrong with `path` without reading the file: empty, or that it is missing."""
        return path_problem(self.resolve(base_dir), "workload.path")

    def generate(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> RequestBatch:
        """Reads the trace and draws what it lacks.

        `duration_s` ends the arrivals if the workload sets neither `limit` nor `duration_s`.
        Raises InputError for a missing or malformed trace, or if no request is left.
        """
        path = self.resolve(base_dir)
        given = {"block_size": self.block_size, "tokenizer": self.tokenizer_path}
        options = {name: value for name, value in given.items() if value is not None}
        rows, reader = read_trace(path, self.format, **options)
        if self.limit is not None or self.duration_s is not None:
            duration_s = self.duration_s
        arrival_s = rows.arrival_s / self.rate_scale
        n = len(arrival_s)
        if duration_s is not None:
            n = int(np.searchsorted(arrival_s, duration_s, side="left"))
        if self.limit is not None:
            n = min(n, self.limit)
        if n == 0:
            message = f"no request arrives in {duration_s:g} s"
            raise InputError(Problem(message, file=str(path), field="workload.duration_s"))
        batch = rows_to_batch(rows)
        every = np.arange(len(batch))
        if self.thinking_tokens is not None:  # of all rows, so that the cut decides nothing else
            law = self.thinking_tokens
            thinking = draw_lengths(law, seed, "thinking", self.class_name, len(batch))
            batch = replace(batch, thinking_tokens=thinking, records_thinking=True)
        batch = batch.take(every, arrival_s).first(n)
        before, n = n, len(batch)
        source = f"trace: {reader.title} {path.name}"
        taken = ""
        if n < len(arrival_s):
            rest = "" if n == before else f", {before:,} and what goes on from them"
            taken = f", first {n:,} of {len(arrival_s):,} requests{rest}"
        scaled = f", rate x {self.rate_scale:g}" if self.rate_scale != 1 else ""
        provenance = {
            "arrival_s": source + scaled + taken,
            "prompt_tokens": source,
            "thinking_tokens": source,
            "answer_tokens": source,
        }
        if self.thinking_tokens is not None:
            provenance["thinking_tokens"] = f"drawn: {self.thinking_tokens.describe()}"
        elif rows.thinking_tokens is None:
            provenance["thinking_tokens"] = "none: the trace records no thinking"
        for column in rows.estimated:
            provenance[column] = f"estimated: {reader.title} {path.name}"
        if self.max_tokens is not None:
            batch = replace(batch, max_tokens=np.full(n, self.max_tokens, dtype=np.int64))
        if rows.class_id is None:
            batch = replace(batch, class_names=(self.class_name,))
        return replace(batch, provenance=provenance)
