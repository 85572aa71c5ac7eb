"""Preconditionings, weightings and training times by the names of a config."""

import numpy as np
import pytest
from programs import check_fields_and_relations

from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.configs.images import digits_band
from experiments.configs.latents import digits_autoencoder
from experiments.models import checks, choices
from scorekit import weightings


def config_with(**sections):
    config = base.get_config()
    for path, fields in sections.items():
        getattr(config.loss, path).update(**fields)
    return config


@pytest.mark.parametrize(
    ("fields", "noise"),
    [
        ({}, lambda t, log_snr: log_snr / 4),
        ({"name": "log_snr", "scale": -0.5, "offset": 1.0}, lambda t, log_snr: 1 - log_snr / 2),
        ({"name": "time"}, lambda t, log_snr: 1000 * t),
        ({"name": "time", "scale": 999.0}, lambda t, log_snr: 999 * t),
    ],
)
def test_noise_inputs_are_what_they_are_called(fields, noise):
    config = base.get_config()
    config.schedule.name = "edm"
    config.preconditioning.noise.update(**fields)
    schedule = choices.build_schedule(config)
    log_snr = schedule.log_snr(np.float32(0.4))
    found = choices.build_noise_input(config, schedule)(log_snr)
    np.testing.assert_allclose(found, noise(0.4, log_snr), rtol=1e-5)


def test_invalid_noise_inputs_raise():
    config = base.get_config()
    config.preconditioning.noise.update(name="time", offset=0.5)
    with pytest.raises(ConfigError, match=r"noise.offset=0.5: must be left out, because .* takes scale"):
        checks.check(config)
    config.preconditioning.noise.update(name="times", offset=None)
    with pytest.raises(ConfigError, match=r"preconditioning.noise.name=times: .*did you mean time\?"):
        base.check_fields(config)


@pytest.mark.slow
def test_a_config_names_a_band_and_the_times_of_a_denoising_autoencoder():
    config = config_with(weighting={"name": "band", "power": (0.5, 0.1), "count": (3, 1)})
    schedule = choices.build_schedule(config)
    expected = weightings.per_log_snr(weightings.band([0.5, 0.1], [3, 1]), schedule)
    log_snr = np.linspace(-4.0, 4.0, 5, dtype=np.float32)
    np.testing.assert_allclose(choices.build_weighting(config, schedule)(log_snr), expected(log_snr), rtol=1e-6)
    several = choices.build_times(config_with(times={"name": "discrete", "ts": (0.2, 0.4)}))
    np.testing.assert_allclose(several.quantile(np.float32([0.1, 0.9]), schedule).t, [0.2, 0.4], rtol=1e-6)
    band = choices.build_times(config_with(times={"name": "band", "power": (0.5,)}))
    np.testing.assert_allclose(schedule.log_snr(band.quantile(np.float32([0.5]), schedule).t), -np.log(0.5), rtol=1e-5)
    annealed = choices.build_times(config_with(times={"name": "annealed", "first": 0.8, "last": 0.1}))
    assert (annealed.first, annealed.last) == (0.8, 0.1)
    for make in (digits_band.get_config, digits_autoencoder.get_config):
        checks.check(make())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"weighting": {"name": "band"}}, "config.loss.weighting.power=None: must be set for loss.weighting.name=band"),
        (
            {"weighting": {"name": "band", "power": (0.0,)}},
            r"weighting.power=\(0.0,\): must be .*, each finite and > 0",
        ),
        (
            {"times": {"name": "discrete", "ts": (1.5,)}},
            r"config.loss.times.ts=\(1.5,\): must be .*, each in \[0, 1\]",
        ),
        ({"times": {"name": "annealed", "first": 0.8}}, "config.loss.times.last=None: must be set for"),
    ],
)
def test_invalid_weightings_and_times_raise(sections, message):
    config = config_with(**sections)
    with pytest.raises(ConfigError, match=message):
        check_fields_and_relations(config)
