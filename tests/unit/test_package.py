from importlib.metadata import version

import pytest

import simulator


def test_what_the_package_offers() -> None:
    assert simulator.__version__ == version("ponder")
    assert all(hasattr(simulator, name) for name in simulator.__all__)
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        simulator.runs  # noqa: B018
