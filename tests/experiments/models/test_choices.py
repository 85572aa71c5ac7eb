"""Preconditionings, weightings and training times by the names of a config."""

import numpy as np
import pytest
from programs import changed

from experiments import data
from experiments.configs import base
from experiments.configs.images import digits
from experiments.models import choices
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_schedule
from scorekit import weightings


@pytest.mark.parametrize(
    ("fields", "noise"),
    [
        ((), lambda t, log_snr: log_snr / 4),
        (("name=log_snr", "scale=-0.5", "offset=1"), lambda t, log_snr: 1 - log_snr / 2),
        (("name=time",), lambda t, log_snr: 1000 * t),
        (("name=time", "scale=999"), lambda t, log_snr: 999 * t),
    ],
)
def test_noise_inputs_are_what_they_are_called(fields, noise):
    config = changed(base, "schedule.name=edm", *(f"preconditioning.noise.{field}" for field in fields))
    schedule = build_schedule(config)
    log_snr = schedule.log_snr(np.float32(0.4))
    found = choices.NOISE_INPUTS.build(config, "preconditioning.noise", schedule=schedule)(log_snr)
    np.testing.assert_allclose(found, noise(0.4, log_snr), rtol=1e-5)


@pytest.mark.slow
def test_a_config_names_a_band_and_the_times_of_a_denoising_autoencoder():
    with_loss = lambda *fields: changed(base, *(f"loss.{field}" for field in fields))
    config = with_loss("weighting.name=band", "weighting.power=0.5,0.1", "weighting.count=3,1")
    schedule = build_schedule(config)
    expected = weightings.per_log_snr(weightings.band([0.5, 0.1], [3, 1]), schedule)
    log_snr = np.linspace(-4.0, 4.0, 5, dtype=np.float32)
    np.testing.assert_allclose(
        choices.WEIGHTINGS.build(config, "loss.weighting", schedule=schedule)(log_snr), expected(log_snr), rtol=1e-6
    )
    several = choices.TIMES.build(with_loss("times.name=discrete", "times.ts=0.2,0.4"), "loss.times")
    np.testing.assert_allclose(several.quantile(np.float32([0.1, 0.9]), schedule).t, [0.2, 0.4], rtol=1e-6)
    band = choices.TIMES.build(with_loss("times.name=band", "times.power=0.5,"), "loss.times")
    np.testing.assert_allclose(schedule.log_snr(band.quantile(np.float32([0.5]), schedule).t), -np.log(0.5), rtol=1e-5)
    annealed = choices.TIMES.build(with_loss("times.name=annealed", "times.first=0.8", "times.last=0.1"), "loss.times")
    assert (annealed.first, annealed.last) == (0.8, 0.1)
    for argument in ("band", "autoencoder"):
        config = digits.get_config(argument)
        checks.build(config, data.build(config))
