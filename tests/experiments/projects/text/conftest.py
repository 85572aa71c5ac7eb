"""Runs that the tests of pictures from captions share."""

import pytest
from picture_runs import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Runs with random parameters by name."""
    return Runs(tmp_path_factory.mktemp("pictures"))
