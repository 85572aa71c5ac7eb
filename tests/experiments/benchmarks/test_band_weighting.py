"""``experiments.benchmarks.band_weighting`` on a tiny network."""

import pytest
from programs import run


@pytest.mark.slow
def test_every_band_and_mean_has_a_line(tmp_path):
    flags = ["--seeds=1", "--edges=0.3", f"--out={tmp_path}/b.png", "--config.training.steps=2"]
    flags += ["--config.network.channels=8", "--config.training.warmup_steps=1"]
    flags += ["--config.network.multipliers=1,", "--config.network.attention_resolutions=()"]
    config = "--config=experiments/configs/images/digits_band.py"
    code, out, err = run("benchmarks.band_weighting", config, *flags)
    assert code == 0, err
    assert len([line for line in out.splitlines() if line.startswith("band f")]) == 6
    assert (tmp_path / "b.png").stat().st_size > 1000
