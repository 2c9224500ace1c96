"""What must hold of every predictor, of this package or of anybody's file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.policy import build, find, parameters_of
from simulator.predictors import PREDICTORS, Predictor, Truth

THEIR_OWN = '''\
"""A predictor as a newcomer writes it."""

from dataclasses import dataclass

import numpy as np

from simulator.predictors import Predictor


@dataclass(eq=False)
class Guess(Predictor):
    """Always the same number."""

    tokens: float = 1000.0
    """The number (tokens)."""

    def start(self, truth, seed):
        pass

    def total_tokens(self, rows, generated):
        return np.maximum(np.full(len(rows), self.tokens), generated + 1)
'''

KINDS = [*PREDICTORS, "their own"]


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    path = tmp_path_factory.mktemp("predictors") / "their_own.py"
    path.write_text(THEIR_OWN)
    kinds = {kind: kind for kind in PREDICTORS} | {"their own": f"{path}:Guess"}
    return {kind: find(PREDICTORS, Predictor, name) for kind, name in kinds.items()}


@st.composite
def truths(draw):
    n = draw(st.integers(1, 30))
    tokens = st.integers(0, 40_000)

    def column(elements, dtype=np.int64):
        return np.array(draw(st.lists(elements, min_size=n, max_size=n)), dtype=dtype)

    return Truth(
        column(st.integers(1, 5000)),
        column(tokens),
        column(st.integers(1, 3000)),
        column(st.one_of(st.just(0), st.integers(1, 20_000))),
        column(st.integers(0, 2), np.int32),
        ("a", "b", "c"),
    )


def started(cls, truth, seed):
    predictor = build(cls, {})
    predictor.start(truth, seed)
    return predictor


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), truth=truths(), seed=st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_guesses(classes, kind, data, truth, seed):
    """Shape, a lower bound, and that an answer depends on the request and its tokens alone."""
    n = len(truth)
    predictor = started(classes[kind], truth, seed)
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1)), dtype=np.int64)
    share = np.array(data.draw(st.lists(st.floats(0, 0.999), min_size=n, max_size=n)))
    generated = (share * truth.output_tokens).astype(np.int64)[rows]
    said = predictor.total_tokens(rows, generated)
    assert said.dtype == np.float64
    assert said.shape == rows.shape
    if not predictor.answers:
        assert np.isnan(said).all()
        return
    assert np.isfinite(said).all()
    assert (said >= generated + 1).all()
    again = started(classes[kind], truth, seed)
    one_by_one = [
        again.total_tokens(rows[k : k + 1], generated[k : k + 1])[0]
        for k in reversed(range(len(rows)))
    ]
    assert one_by_one[::-1] == said.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_it_leaves_the_truth_alone_and_holds_no_state_of_another_run(classes, kind):
    def about(n, scale):
        ones = np.ones(n, dtype=np.int64)
        return Truth(ones, np.arange(n) * scale, ones, 0 * ones, ones.astype(np.int32) * 0)

    one, other = about(50, 10), about(80, 99)
    for column in (one.thinking_tokens, one.answer_tokens, one.max_tokens, one.class_id):
        column.setflags(write=False)
    predictor = started(classes[kind], other, 1)
    predictor.start(one, 2)
    rows, generated = np.arange(50), np.zeros(50, dtype=np.int64)
    np.testing.assert_array_equal(
        predictor.total_tokens(rows, generated),
        started(classes[kind], one, 2).total_tokens(rows, generated),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_explains_itself(classes, kind):
    cls = classes[kind]
    assert cls.__doc__
    for parameter in parameters_of(cls):
        assert parameter.default is not None
        assert parameter.description.endswith(".")


HASHED = """
import hashlib
import numpy as np
from simulator.predictors import PREDICTORS, Truth
n = 200
ids = (np.arange(n) % 3).astype(np.int32)
ones = np.ones(n, dtype=np.int64)
truth = Truth(ones, np.arange(n) ** 2, ones, 0 * ones, ids, ("a", "b", "c"))
for kind in PREDICTORS:
    predictor = PREDICTORS[kind]()
    predictor.start(truth, 7)
    said = b"".join(predictor.total_tokens(np.arange(n), ones * g).tobytes() for g in (0, 50))
    print(kind, hashlib.sha256(said).hexdigest())
"""


def test_same_seed_same_bytes_in_every_process():
    root = str(Path(__file__).parents[2])
    printed = [
        subprocess.run(
            [sys.executable, "-c", HASHED],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == len(PREDICTORS)
