"""The table that compares likelihood and typicality."""

import numpy as np

from experiments.ood import report
from experiments.ood.experiment import Outcome
from experiments.ood.scores import Separation


def test_effect_table_shows_when_likelihood_prefers_another_set(config):
    """Simple images that are more likely than the data, and noise that is less likely; typicality rejects both."""
    rng = np.random.default_rng(0)
    log_p = {"calibration": 0.0, "in distribution": 0.0, "noise": -9.0, "flat": 9.0}
    images = {name: np.zeros((200, 8, 8, 1), np.uint8) for name in log_p}
    found = {
        name: {"log p": mean + rng.normal(size=(200, 1)), "code length": np.full((200, 1), 100.0 - mean)}
        for name, mean in log_p.items()
    }
    rows = [
        Separation(score, name, area, area, area, area, area)
        for name in ("noise", "flat")
        for score, area in (("likelihood", float(name == "noise")), ("typicality |-log p - H|", 1.0), ("best", 0.9))
    ]
    outcome = Outcome("", images, found, "best", {}, rows, {}, None, [])
    table = report.effect_table(outcome)
    names, _, _, likelier, typical, *areas = zip(*table.rows, strict=True)
    assert names == ("flat", "in distribution", "noise")
    np.testing.assert_allclose(likelier, [1.0, 0.5, 0.0], atol=0.01)
    np.testing.assert_allclose(typical, [0.0, 0.95, 0.0], atol=0.04)
    assert areas == [(0.0, None, 1.0), (1.0, None, 1.0), (0.9, None, 0.9)]
    assert "flat" in report.as_text(config, outcome)
