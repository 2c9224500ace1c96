"""Predictors: how long requests are expected to be. One a file, found by its `kind`.

Every module of this package is imported here, so that a new file is all that a new one needs.
"""

import importlib
import pkgutil

from simulator.predictors.base import PREDICTORS, Predictor, Reordered, Truth, checked, unanswered

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["PREDICTORS", "Predictor", "Reordered", "Truth", "checked", "unanswered"]
