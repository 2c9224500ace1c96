"""Quantiles are checked alike, whatever they are of, and every refusal names its field."""

import numpy as np
import pytest
from pydantic import ValidationError

from workloads.fitting.tail import GpdTail
from workloads.laws.empirical import QuantilesLength
from workloads.session_laws import QuantilesCount, QuantilesPause

LAWS = [(QuantilesLength, "tokens"), (QuantilesCount, "counts"), (QuantilesPause, "seconds")]


@pytest.mark.parametrize(("law", "name"), LAWS)
@pytest.mark.parametrize(
    ("probabilities", "values", "field", "message"),
    [
        ([0, 0.5, 1], [1, 2], "", "3 probabilities need as many {}, there are 2"),
        ([0, 1], [2, 1], "{}", "{} must not descend"),
        ([0, 1], [3], "{}", "at least 2 items"),
        ([0.1, 1], [1, 2], "probabilities", "must begin with 0 and end with 1"),
        ([0, 0.9], [1, 2], "probabilities", "must begin with 0 and end with 1"),
        ([0, 0.5, 0.5, 1], [1, 2, 3, 4], "probabilities", "must be ascending"),
        ([1], [1, 2], "probabilities", "at least 2 items"),
        ([0, 0.5, 2], [1, 2, 3], "probabilities", "less than or equal to 1"),
    ],
)
def test_quantiles_that_are_none(law, name, probabilities, values, field, message):
    content = {"kind": "quantiles", "probabilities": probabilities, name: values}
    with pytest.raises(ValidationError) as caught:
        law.model_validate(content)
    (error,) = caught.value.errors()
    assert message.format(name) in error["msg"]
    assert error["loc"][:1] == ((field.format(name),) if field else ())


@pytest.mark.parametrize(("law", "name"), LAWS)
def test_equal_quantiles_are_allowed(law, name):
    law.model_validate({"probabilities": [0, 0.5, 1], name: [3, 3, 9]})


def test_a_tail_that_is_all_but_exponential():
    at = np.array([0.0, 0.5, 5.0])
    near = GpdTail(threshold=100, xi=2e-8, scale=1.0, n=50.0).survival(at)
    np.testing.assert_allclose(near, np.exp(-at + 1e-8 * at**2), rtol=1e-12)
