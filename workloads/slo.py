"""Latency targets, of a whole experiment or of one class of queries."""

from __future__ import annotations

from pydantic import Field

from workloads.schema import Section


class Slo(Section):
    """Targets a request must meet to count as goodput; any subset."""

    ttft_s: float | None = Field(
        None, gt=0, description="Time from arrival to the first token of any kind, in seconds."
    )
    ttfo_s: float | None = Field(
        None, gt=0, description="Time from arrival to the first answer token, in seconds."
    )
    tpot_s: float | None = Field(
        None, gt=0, description="Mean time per output token after the first, in seconds."
    )
    e2el_s: float | None = Field(
        None, gt=0, description="Time from arrival to the last token, in seconds."
    )

    def targets(self) -> dict[str, float]:
        """The targets that were given, in seconds, by name."""
        return {name: value for name, value in self if value is not None}
