"""When requests arrive: the processes an experiment can name under `arrivals`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workloads.arrival_process import CHUNK_ROWS, ArrivalProcess, RequestsPerSecond
from workloads.clients import AllAtOnceArrivals, ClosedLoopArrivals
from workloads.renewal import (
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    WeibullArrivals,
)

__all__ = [
    "CHUNK_ROWS",
    "AllAtOnceArrivals",
    "ArrivalProcess",
    "Arrivals",
    "ClosedLoopArrivals",
    "DeterministicArrivals",
    "GammaArrivals",
    "PoissonArrivals",
    "RequestsPerSecond",
    "WeibullArrivals",
]

Arrivals = Annotated[
    PoissonArrivals
    | DeterministicArrivals
    | GammaArrivals
    | WeibullArrivals
    | AllAtOnceArrivals
    | ClosedLoopArrivals,
    Field(discriminator="kind"),
]
