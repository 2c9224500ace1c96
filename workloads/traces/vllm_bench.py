"""Results of `vllm bench serve --save-result --save-detailed`: one JSON object with lists.

`input_lens`, `output_lens`, `start_times` (seconds of some clock) and `errors` have an entry for
each request; `ttfts` and `itls` are what the server made of it, and not read. The file is read
whole, as it is one JSON value.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from workloads.batch import MAX_TOKENS
from workloads.traces.base import READERS, TraceRows, usable_rows
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.json_rows import unique_keys
from workloads.traces.parsing.source import Source

FAILED = "the request failed"
OTHER_KEYS = {"request_rate", "num_prompts", "request_throughput"}


@dataclass(frozen=True, eq=False)
class BenchLists:
    """What a result file says of its `n` requests, in its own order.

    input_tokens, output_tokens: int64[n], at least 0. start_s: float64[n], or None where the file
    has no start_times. failed: bool[n], those with an error.
    """

    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    start_s: NDArray[np.float64] | None
    failed: NDArray[np.bool_]


class BenchFile:
    """A result file being read; collects what is wrong with it in `problems`."""

    def __init__(self, text: bytes, file: str) -> None:
        """Raises InputError if `text` is no JSON object."""
        self.file = file
        self.problems: list[Problem] = []
        try:
            data = json.loads(text.decode("utf-8-sig"), object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise InputError(Problem(f"is not JSON in UTF-8: {error}", file=file)) from None
        if not isinstance(data, dict):
            raise InputError(Problem("must hold one result, a JSON object", file=file))
        self.data: dict[str, Any] = data

    def complain(self, key: str, message: str) -> None:
        """Notes a problem of one key."""
        self.problems.append(Problem(message, file=self.file, field=key))

    def lists(self) -> BenchLists | None:
        """The requests; None, with `problems`, if lists are missing or do not fit each other."""
        prompts = self._numbers("input_lens", needed=True)
        outputs = self._numbers("output_lens", needed=True)
        starts = self._numbers("start_times")
        errors = self.data.get("errors")
        if errors is not None and not isinstance(errors, list):
            self.complain("errors", "must be a list of texts")
            errors = None
        count = len(prompts)
        for name, column in (("output_lens", outputs), ("start_times", starts), ("errors", errors)):
            if prompts and column and len(column) != count:
                self.complain(name, f"has {len(column)} entries, input_lens has {count}")
        if count == 0 and not self.problems:
            self.complain("input_lens", "holds no request")
        if self.problems:
            return None
        return BenchLists(
            np.array(prompts, dtype=np.int64),
            np.array(outputs, dtype=np.int64),
            np.array(starts, dtype=np.float64) if starts else None,
            np.array([bool(error) for error in errors or [""] * count]),
        )

    def _numbers(self, key: str, *, needed: bool = False) -> list[float]:
        values = self.data.get(key)
        if values is None:
            if needed:
                self.complain(key, "is missing: the result must be saved with --save-detailed")
            return []
        if not isinstance(values, list) or not all(map(is_number, values)):
            self.complain(key, "must be a list of numbers, none of them negative")
            return []
        if key != "start_times" and any(value > MAX_TOKENS or value % 1 for value in values):
            self.complain(key, f"lengths must be whole numbers, at most {MAX_TOKENS:,}")
            return []
        return values


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number, not negative."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return numeric and 0 <= value < math.inf and value <= 1e300  # type: ignore[operator]


@READERS.register("vllm_bench")
class VllmBenchReader:
    """The reader of these results: its requests, as the client sent them.

    Without start_times all requests arrive at time 0, which is marked as estimated. output_lens
    holds what was thought and answered together.
    """

    title = "vllm bench serve result"
    layout = "one JSON object with input_lens and output_lens (vllm bench serve --save-detailed)"

    def matches(self, head: Head) -> bool:
        """Whether the object has the lists, or at least the figures of such a result."""
        keys = set(head.keys)
        return not head.array and ({"input_lens", "output_lens"} <= keys or keys >= OTHER_KEYS)

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file; failed requests are left out and counted."""
        bench = BenchFile(b"".join(source.blocks()), source.file)
        lists = bench.lists()
        if lists is None:
            raise InputError(bench.problems)
        n = len(lists.input_tokens)
        start_s = np.zeros(n) if lists.start_s is None else lists.start_s
        reasons = [
            (FAILED, lists.failed),
            ("input_lens is 0", lists.input_tokens == 0),
            ("output_lens is 0", lists.output_tokens == 0),
        ]
        rows, dropped = usable_rows(start_s, reasons, source.file)
        return TraceRows(
            arrival_s=start_s[rows] - start_s.min(),
            prompt_tokens=lists.input_tokens[rows],
            answer_tokens=lists.output_tokens[rows],
            estimated=("arrival_s",) if lists.start_s is None else (),
            dropped=dropped,
        )
