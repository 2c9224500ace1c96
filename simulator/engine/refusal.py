"""Why a request is refused that no replica could ever serve, in words.

Such a request brings no load, unlike one that admission control turns away.
"""

from __future__ import annotations

LONG_PROMPT = "prompt leaves no room for a token below max_model_len"
LONG_TOTAL = "prompt + max_tokens exceeds max_model_len"

_OF_ALL = " of every pool"


def of_every_pool(reason: str) -> str:
    """The same reason where there are several pools."""
    return f"{reason}{_OF_ALL}"


def is_too_long(reason: str) -> bool:
    """Whether that is why a request was rejected; False for what admission control says."""
    return reason.removesuffix(_OF_ALL) in (LONG_PROMPT, LONG_TOTAL)
