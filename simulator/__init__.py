"""ponder: a discrete-event simulator of clusters that serve reasoning models.

>>> from simulator import load_experiment, run
>>> result = run(load_experiment("experiments/quickstart.yaml"))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.config.loader import load_experiment
    from simulator.errors import InputError, IntegrityError, PonderError
    from simulator.result import Result
    from simulator.runner import run

    __version__: str

__all__ = [
    "InputError",
    "IntegrityError",
    "PonderError",
    "Result",
    "__version__",
    "load_experiment",
    "run",
]

_HOMES = {
    "InputError": "simulator.errors",
    "IntegrityError": "simulator.errors",
    "PonderError": "simulator.errors",
    "Result": "simulator.result",
    "load_experiment": "simulator.config.loader",
    "run": "simulator.runner",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that `import simulator` stays light."""
    if name == "__version__":
        from importlib.metadata import version

        return version("ponder")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
