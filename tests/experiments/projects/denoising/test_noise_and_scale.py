"""``experiments.projects.denoising.noise_and_scale``: measured errors against exact ones, its report, its errors."""

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import give

from experiments.configs.images import smoke
from experiments.data.dataset import Dataset
from experiments.data.display import FrequencyAxis
from experiments.projects.denoising import band_errors
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.task import Run
from scorekit.densities import random_fields, spectra


class Signals(Dataset):
    """Fields with a power-law spectrum, sampled at 8 kHz."""

    def __init__(self, n=600):
        self.field = random_fields.power_law((128,), exponent=1.0)
        self.name, self.shape, self.num_classes, self.sample_rate = "fields", (128, 1), 2, 8000
        self.examples = n
        self.train, self.test = (
            {"x": np.asarray(self.field.sample(jax.random.key(i), (n,))), "label": np.zeros(n, int)} for i in (1, 2)
        )

    def to_model(self, x):
        return x

    def frequency_axis(self):
        return FrequencyAxis("Hz", "Hz", self.sample_rate)


@pytest.mark.slow
def test_measured_errors_of_signals_are_the_exact_ones(load_program, monkeypatch, tmp_path, capsys):
    """A network whose output is v = 0 estimates x0 as alpha x_t, whose error in each octave is known."""
    module = load_program("experiments.projects.denoising.noise_and_scale")
    config, dataset = smoke.get_config(), Signals()
    config.network.update(channels=4, multipliers=(1,), blocks=1)
    built = build_model(config, dataset)
    opened = Run(dataset, built, lambda: None, random_params(built, std=0.0), 6, NO_EXTRAS)
    monkeypatch.setattr(module, "open_score", lambda *_: opened)
    monkeypatch.setattr(band_errors, "BLOCK_VALUES", 128 * 200)  # three blocks
    give(workdir=tmp_path, levels=3)
    module.main(config)
    printed = capsys.readouterr().out
    assert "Hz on: --config.loss.weighting.name=eps" in printed
    assert (tmp_path / "noise_and_scale" / "report.html").read_text().count("<img") == 2

    bands = band_errors.make_bands((128, 1), ())
    assert bands.count.tolist() == [1, 2, 4, 8, 16, 32, 65]  # the mean and six octaves, the last with its end
    levels = np.array([-2.0, 0.0, 2.0])
    power, errors, ts = band_errors.measure(opened, levels, bands, 600)
    expected = np.bincount(np.ravel(bands.index), np.ravel(dataset.field.power)) / bands.count
    np.testing.assert_allclose(power[1:], expected[1:], rtol=0.15)
    alpha, sigma = np.asarray(built.schedule.alpha(ts))[:, None], np.asarray(built.schedule.sigma(ts))[:, None]
    np.testing.assert_allclose(np.log(alpha**2 / sigma**2)[:, 0], levels, atol=1e-4)
    off = (errors.mean - (sigma**4 * expected + (alpha * sigma) ** 2)) / errors.standard_error
    assert np.abs(off).max() < 4.5
    assert 0.4 < np.std(off) < 1.7


def test_pooled_errors_of_parts_are_those_of_all_examples():
    each = np.random.default_rng(0).exponential(size=(9, 2, 3)) + np.arange(9.0)[:, None, None]
    of = lambda x: spectra.BandErrors(x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(len(x)))
    found, full = band_errors.pooled([of(each[:4]), of(each[4:7]), of(each[7:])], [4, 3, 2]), of(each)
    np.testing.assert_allclose(found.mean, full.mean, rtol=1e-12)
    np.testing.assert_allclose(found.standard_error, full.standard_error, rtol=1e-12)
