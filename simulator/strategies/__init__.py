"""Strategies: how a query spends test-time compute. One a file, found by `kind` in `STRATEGIES`.

Every module of this package is imported here, so that a new file is all that a new one needs.
"""

import importlib
import pkgutil

from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["STRATEGIES", "Answering", "Call", "Draft", "Query", "Strategy"]
