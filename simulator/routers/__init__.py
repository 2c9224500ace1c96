"""Routers: which replica gets a request. One policy a file, found by its `kind` in `ROUTERS`.

Every module of this package is imported here, so that a new file is all that a new router needs.
"""

import importlib
import pkgutil

from simulator.routers.base import ROUTERS, Router

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ROUTERS", "Router"]
