"""Experiments of studies: the files of `experiments/articles`, run with changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from simulator.config.experiment import Experiment
from simulator.config.loader import load_experiment
from simulator.errors import InputError, Problem
from simulator.result import Result
from simulator.runner import run


def experiment_file(name: str) -> Path:
    """The experiment `name` of the articles, in a checkout or in an installed package.

    Raises `InputError` if neither has it.
    """
    packed = Path(__file__).parent / "experiments"
    folder = packed if packed.is_dir() else Path(__file__).parents[3] / "experiments" / "articles"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise InputError(Problem("no such experiment of the articles", file=str(path)))
    return path


def experiment(name: str, overrides: Iterable[str] = ()) -> Experiment:
    """That experiment with changes `path.to.key=value`."""
    return load_experiment(experiment_file(name), tuple(overrides))


def simulated(name: str, overrides: Iterable[str] = ()) -> Result:
    """What comes out of it."""
    return run(experiment(name, overrides))
