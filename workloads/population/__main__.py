"""`python -m workloads.population FILE`: a population in a few figures, as JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from simulator.errors import InputError
from workloads.population.read import read_population
from workloads.population.summary import PROBABILITIES, as_figures, summarise


def main() -> int:
    """Prints one line for each of the largest clients and one for the others."""
    parser = argparse.ArgumentParser(prog="python -m workloads.population", description=__doc__)
    parser.add_argument("windows", type=Path, help="a table of windows, or a directory of chunks")
    parser.add_argument("--lengths", type=Path, help="the JSONL of lengths, if not beside it")
    parser.add_argument("--top", type=int, default=6, help="clients shown one by one")
    parser.add_argument("--step-s", type=int, default=3600, help="seconds of a step of the rates")
    arguments = parser.parse_args()
    try:
        population = read_population(arguments.windows, arguments.lengths)
        summaries = summarise(population, arguments.top, arguments.step_s)
    except (InputError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"quantiles_at": PROBABILITIES}))
    for summary in summaries:
        print(json.dumps(as_figures(summary)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
