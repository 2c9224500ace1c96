"""What the prompts of a row share, and whether the cache that would find it is modelled."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from simulator.config.experiment import EngineSettings
from simulator.config.resolve import rules_out_prefix_caching
from simulator.cost import load_architecture
from simulator.prefix import PromptSegments
from simulator.studies.validation.points import Point
from simulator.studies.validation.server import ServerText


def is_cache_missing(model: str, preset: str, text: ServerText) -> bool:
    """Whether the row's engine cached prefixes and the simulated one cannot for this model.

    Every release known here caches prefixes unless it is told not to.
    """
    if text.prefix_caching is False:
        return False
    settings = EngineSettings.model_validate({"preset": preset})
    return rules_out_prefix_caching(settings, load_architecture(model)) is not None


def repeats_of(point: Point, num_requests: int) -> int:
    """How many times each prompt of a row was sent; 1 where it does not say or they do not divide.

    A row says so by "1024 unique x repeats" in `unclear`, beside the number of its requests.
    """
    said = re.search(r"\b(\d+) unique x repeats", point.unclear)
    unique = int(said[1]) if said else 0
    return num_requests // unique if unique and num_requests % unique == 0 else 1


def repeated(prompt_tokens: NDArray[np.int64], repeats: int) -> PromptSegments:
    """`repeats` times the list of prompts of these lengths (int64[n]), each of its own tokens."""
    n = len(prompt_tokens)
    return PromptSegments(
        start=np.arange(n * repeats + 1, dtype=np.int64),
        segment_id=np.tile(np.arange(n, dtype=np.int64), repeats),
        tokens=np.tile(prompt_tokens, repeats),
        output_id=np.full((n * repeats, 2), -1, dtype=np.int64),
    )
