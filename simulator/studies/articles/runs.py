"""Experiments of studies: the files of `experiments/articles`, run with changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from simulator.config.experiment import Experiment
from simulator.config.loader import load_experiment
from simulator.errors import InputError, Problem
from simulator.result import Result
from simulator.runner import run

FOLDER = Path(__file__).parents[3] / "experiments" / "articles"


def experiment_file(name: str) -> Path:
    """The experiment `name` of the articles. Raises `InputError` if it is not there."""
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        message = (
            "no such experiment of the articles; they come with ponder's sources, not with an"
            " installed package"
        )
        raise InputError(Problem(message, file=str(path)))
    return path


def experiment(name: str, overrides: Iterable[str] = ()) -> Experiment:
    """That experiment with changes `path.to.key=value`."""
    return load_experiment(experiment_file(name), tuple(overrides))


def simulated(name: str, overrides: Iterable[str] = ()) -> Result:
    """What comes out of it."""
    return run(experiment(name, overrides))
