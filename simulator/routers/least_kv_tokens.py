"""The fewest tokens: a request of long context weighs more than a short one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.routers.base import ROUTERS, Router, Snapshot


@ROUTERS.register("least_kv_tokens")
@dataclass(eq=False, kw_only=True)
class LeastKvTokens(Router):
    """The replica with the fewest tokens: in its KV cache, waiting for it, and just sent there.

    Of several, the first. What requests hold after thousands of thinking tokens tells their load
    where the number of requests does not.
    """

    source: ClassVar[str] = "SGLang data_parallel_controller, load_balance_method total_tokens"

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica with the fewest tokens."""
        return int(replicas.token_load.argmin())
