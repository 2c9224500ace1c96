"""Waste: tokens that were computed and brought nobody an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Waste:
    """Tokens computed for the requests of a table, and those of them in vain.

    `preemptions` of all of them; `recomputed_tokens`: tokens computed once more after a preemption.
    `output_tokens` and `prompt_tokens`: generated and prefilled for requests that did not complete
    (cancelled, rejected after they had started, unfinished at the end of the run); a prompt counts
    once its first token is out. `computed_tokens` is the total: prompts not found in the cache,
    generated and recomputed tokens.
    """

    preemptions: int
    recomputed_tokens: int
    output_tokens: int
    prompt_tokens: int
    computed_tokens: int

    @property
    def tokens(self) -> int:
        """All that was in vain."""
        return self.recomputed_tokens + self.output_tokens + self.prompt_tokens

    @property
    def share(self) -> float | None:
        """Of the tokens computed; None if there were none."""
        return self.tokens / self.computed_tokens if self.computed_tokens else None


def waste(requests: pd.DataFrame) -> Waste:
    """Count what the requests of a table (`REQUEST_COLUMNS`) cost in vain."""
    in_vain = (requests["status"] != "completed").to_numpy(bool)
    generated = requests["generated_tokens"].to_numpy(np.int64)
    prompt = (requests["prompt_tokens"] - requests["cached_tokens"]).to_numpy(np.int64)
    prompt = np.where(requests["first_token_s"].notna().to_numpy(bool), prompt, 0)
    recomputed = int(requests["recomputed_tokens"].sum())
    return Waste(
        preemptions=int(requests["preemptions"].sum()),
        recomputed_tokens=recomputed,
        output_tokens=int(generated[in_vain].sum()),
        prompt_tokens=int(prompt[in_vain].sum()),
        computed_tokens=int(prompt.sum() + generated.sum()) + recomputed,
    )


def waste_summary(requests: pd.DataFrame) -> dict[str, Any]:
    """The counts of `waste` under the summary's names."""
    found = waste(requests)
    return {
        "num_preemptions": found.preemptions,
        "recomputed_tokens": found.recomputed_tokens,
        "wasted_output_tokens": found.output_tokens,
        "wasted_prompt_tokens": found.prompt_tokens,
        "wasted_tokens": found.tokens,
        "computed_tokens": found.computed_tokens,
        "wasted_token_share": found.share,
    }
