"""What is in a trace, in numbers: arrivals, lengths, shared prefixes, sessions and clients."""

from __future__ import annotations

from workloads.description.trace import Description, describe

__all__ = ["Description", "describe"]
