"""Everybody is let in: the default."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.admission.base import ADMISSIONS, Admission, Replicas


@ADMISSIONS.register("none")
@dataclass(eq=False)
class AdmitAll(Admission):
    """Rejects nobody; a replica still refuses what could never fit it."""

    def refusal(self, row: int, now_s: float, replicas: Replicas | None) -> str | None:
        """None."""
        return None
