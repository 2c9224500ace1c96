import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from simulator.rng import exponential, uniforms

PROGRAM = """
import hashlib
from simulator.rng import exponential, uniforms
drawn = uniforms(7, "arrivals", "chat", 1000)
print(hashlib.sha256(drawn.tobytes() + exponential(drawn).tobytes()).hexdigest())
"""


def test_a_row_depends_only_on_its_index():
    whole = uniforms(3, "prompt", "default", 1000)
    assert np.array_equal(uniforms(3, "prompt", "default", 10), whole[:10])
    assert np.array_equal(uniforms(3, "prompt", "default", 40, start=960), whole[960:])
    assert uniforms(3, "prompt", "default", 0).shape == (0, 4)


@pytest.mark.parametrize(
    ("seed", "stream", "entity"),
    [
        (4, "prompt", "ab"),
        (3, "answer", "ab"),
        (3, "prompt", "a"),
        (3, "prom", "ptab"),
        (-3, "", ""),
    ],
)
def test_other_addresses_give_other_draws(seed, stream, entity):
    assert not np.isin(uniforms(seed, stream, entity, 100), uniforms(3, "prompt", "ab", 100)).any()


def test_draws_are_uniform_and_uncorrelated():
    n = 200_000
    drawn = uniforms(0, "thinking", "default", n)
    assert drawn.min() > 0
    assert drawn.max() < 1
    for column in drawn.T:
        distance = np.abs(np.sort(column) - (np.arange(n) + 0.5) / n).max()
        assert distance < 2.2 / np.sqrt(n)  # Kolmogorov-Smirnov, p about 1e-4
    correlation = np.corrcoef(np.column_stack([drawn[1:], drawn[:-1]]).T)
    assert np.abs(correlation - np.eye(8)).max() < 5 / np.sqrt(n)


def test_extreme_words_stay_inside_the_open_interval(monkeypatch):
    class Extremes:
        def __init__(self, **_):
            pass

        def random_raw(self, count):
            return np.array([0, 2**64 - 1] * (count // 2), dtype=np.uint64)

    monkeypatch.setattr(np.random, "Philox", Extremes)
    drawn = uniforms(0, "prompt", "default", 2)
    assert drawn.min() == 2.0**-53
    assert drawn.max() == 1 - 2.0**-53


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="negative"):
        uniforms(0, "prompt", "default", -1)
    with pytest.raises(ValueError, match="negative"):
        uniforms(0, "prompt", "default", 1, start=-1)


def test_exponential_is_minus_the_logarithm():
    edges = [2.0**-53, 0.25, 0.5, np.sqrt(0.5), np.nextafter(np.sqrt(0.5), 0), 1 - 2.0**-53]
    u = np.concatenate([uniforms(1, "arrivals", "default", 50_000).ravel(), edges])
    drawn = exponential(u)
    assert (drawn > 0).all()
    assert (np.abs(drawn + np.log(u)) <= 3 * np.spacing(-np.log(u))).all()


def test_the_same_bytes_on_every_machine_and_hash_seed():
    # Pinned: a change here changes every result ever published with a seed.
    expected = "b46dcdb2cf72f887fd83b931f93b9818c9182ba4639d35b2158cde6c2f19ffe1"
    drawn = uniforms(7, "arrivals", "chat", 1000)
    here = hashlib.sha256(drawn.tobytes() + exponential(drawn).tobytes()).hexdigest()
    elsewhere = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert here == elsewhere == expected
