"""Runs that the tests of images from captions share."""

import pytest
from text_runs import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Runs with random parameters by name."""
    return Runs(tmp_path_factory.mktemp("images"))
