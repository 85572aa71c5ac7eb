"""The figures of a test."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def figures(monkeypatch):
    """The figures as they are saved, to look at axes and labels."""
    seen, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (seen.append(self), savefig(self, *a, **k))[1])
    return seen
