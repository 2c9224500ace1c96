"""Populations in a few figures."""

import math
import subprocess
import sys

import numpy as np
import pytest
from population_files import write_table

from workloads.population import read_population
from workloads.population.summary import as_figures, summarise


def test_the_largest_client_stands_alone_and_the_rest_is_pooled(tmp_path):
    population = read_population(write_table(tmp_path))
    seven, others = summarise(population, 1, 3600)
    assert (seven.name, seven.clients, others.name, others.clients) == ("7", 1, "others", 1)
    assert seven.requests == pytest.approx(960)  # 900 at 600 s, 60 at noon
    assert seven.share == pytest.approx(960 / 1410)
    assert seven.rate_rps[[0, 1, 12]].tolist() == pytest.approx([0.25, 0.0, 1 / 60])
    assert seven.rate_rps.sum() * 3600 == pytest.approx(960)
    assert seven.cv == pytest.approx((900 * 1.5 + 60 * 0.5) / 960)
    assert seven.dispersion_cv == pytest.approx(math.sqrt((900 * 2.25 + 60 * 0.25) / 960))
    assert seven.family == "weibull"
    assert seven.prompt.tokens.tolist() == [3, 1000]
    assert seven.prompt.share == pytest.approx([60 / 960, 900 / 960])
    assert others.output.share.tolist() == [0.5, 0.5]
    assert others.ratio.share == pytest.approx([0.0, 0.5, 0.5])


def test_all_clients_may_stand_alone_or_be_pooled(tmp_path):
    population = read_population(write_table(tmp_path))
    assert [one.name for one in summarise(population, 9, 600)] == ["7", "0"]
    (everyone,) = summarise(population, 0, 86400)
    assert everyone.share == 1.0
    assert everyone.rate_rps.tolist() == pytest.approx([1410 / 86400])


@pytest.mark.parametrize("step_s", [0, 300, 900, 601, 7 * 3600])
def test_steps_are_whole_windows_that_divide_the_period(tmp_path, step_s):
    population = read_population(write_table(tmp_path))
    with pytest.raises(ValueError, match="step_s must divide"):
        summarise(population, 1, step_s)


def test_figures_are_quantiles_and_rounded_numbers(tmp_path):
    figures = as_figures(summarise(read_population(write_table(tmp_path)), 1, 43200)[0])
    assert figures["rate_rps"] == [round(900 / 43200, 4), round(60 / 43200, 4)]
    assert figures["prompt_tokens"] == [3] * 2 + [1000] * 13
    assert np.all(np.diff(figures["thinking_ratio"]) > 0)


def test_it_is_printed_and_problems_are_named(tmp_path):
    path = write_table(tmp_path)
    command = [sys.executable, "-m", "workloads.population", str(path), "--top", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 3
    path.write_text("nothing\n")
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"{path}:1: expected the header")
