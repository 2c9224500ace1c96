"""Admission control: which requests are rejected at the door. One a file, found by its `kind`.

Every module of this package is imported here, so that a new file is all that a new one needs.
"""

import importlib
import pkgutil

from simulator.admission.base import ADMISSIONS, Admission, Replicas

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ADMISSIONS", "Admission", "Replicas"]
