"""The kinds of workload that an experiment can name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workloads.mix import MixWorkload
from workloads.population import PopulationWorkload
from workloads.synthetic import SyntheticWorkload
from workloads.trace import TraceWorkload

AnyWorkload = Annotated[
    SyntheticWorkload | MixWorkload | PopulationWorkload | TraceWorkload,
    Field(discriminator="kind"),
]
