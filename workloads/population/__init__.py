"""Populations of clients: who sends how much, how unevenly and how long, window by window.

After Xiang et al., "ServeGen: Workload Characterization and Generation of Large Language Model
Serving in Production", NSDI'26: real traffic is the sum of a few clients with habits of their own.
"""

from __future__ import annotations

from workloads.population.model import Client, ClientLengths, Population
from workloads.population.read import read_population
from workloads.population.summary import summarise
from workloads.population.workload import PopulationWorkload

__all__ = [
    "Client",
    "ClientLengths",
    "Population",
    "PopulationWorkload",
    "read_population",
    "summarise",
]
