"""The likelihood trap of a model that is counted out."""

import numpy as np
import pytest
from random_sequences import CLASSES, log_probs, make_run

from experiments.projects.audio.music import trap


@pytest.mark.slow
def test_information_of_samples_beams_and_decisions_is_that_of_the_counted_model(tmp_path):
    run = make_run()
    rows = trap.measure(run, 400, 2)
    log_p = np.stack([np.ravel(each) for each in log_probs(run)[:CLASSES]])
    p = np.exp(log_p)
    entropy, epsilon = trap.entropy_band(rows)
    assert entropy == pytest.approx(-(p * log_p).sum(axis=1).mean(), abs=0.1)
    assert epsilon == pytest.approx(np.sqrt((p * log_p**2).sum(axis=1).mean() - entropy**2), abs=0.15)
    found = {(row.rule, row.setting): np.mean([x.mean() for x in row.information]) for row in rows}
    assert found["beam search", "16"] == pytest.approx(-log_p.max(axis=1).mean(), abs=1e-4)
    assert found["temperature", "0.3"] < found["temperature", "0.7"] < entropy < found["temperature", "1.5"]
    header, shown, _ = trap.table("runs", rows, 400, 2)
    row = dict(zip(header, next(cells for cells in shown if cells[0] == "temperature 1"), strict=True))
    assert row["from H, in ε"] == "+0.00"
    assert trap.figure(tmp_path / "trap.png", "runs", rows).stat().st_size > 1000
