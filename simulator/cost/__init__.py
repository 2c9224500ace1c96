"""What an iteration costs and how much KV cache fits, from a model, a GPU and a parallelism."""

from simulator.cost.architecture import Architecture
from simulator.cost.catalogue import ModelRow, list_models, load_architecture
from simulator.cost.iteration_time import CostTable, IterationCosts, Work, iteration_costs, tabulate
from simulator.cost.memory import KvCapacity, kv_capacity

__all__ = [
    "Architecture",
    "CostTable",
    "IterationCosts",
    "KvCapacity",
    "ModelRow",
    "Work",
    "iteration_costs",
    "kv_capacity",
    "list_models",
    "load_architecture",
    "tabulate",
]
