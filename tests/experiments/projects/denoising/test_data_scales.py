"""``experiments.projects.denoising.data_scales``: scales against closed forms, and fields that build."""

import math
import re

import jax
import numpy as np
import pytest
from programs import run

from experiments import data
from experiments.cli import command_line
from experiments.data.dataset import Dataset
from experiments.tasks.diffusion import task as diffusion
from scorekit import densities
from scorekit.densities import random_fields, spectra


class Given(Dataset):
    """Examples as the network receives them."""

    def __init__(self, x):
        self.name, self.num_classes, self.examples, self.shape = "given", 1, len(x), x.shape[1:]
        self.train = {"x": np.asarray(x)}

    def to_model(self, x):
        return x


def drawn(density, n):
    return np.asarray(jax.jit(lambda key: density.sample(key, (n,)))(jax.random.key(0)))


@pytest.fixture
def scales(load_program):
    return load_program("experiments.projects.denoising.data_scales")


FIELDS = {
    "images": random_fields.power_law((16, 12), 2.0, 4.0, mean=3.0, channels=3),
    "signals": random_fields.power_law((64,), 1.5, 0.25),
}


@pytest.mark.parametrize("name", FIELDS)
def test_scales_of_gaussian_fields_are_the_exact_ones(scales, name, monkeypatch):
    field = FIELDS[name]
    monkeypatch.setattr(scales, "BLOCK_VALUES", 16 * 12 * 3 * 600)  # several blocks, the last one shorter
    found = scales.measure(Given(drawn(field, 2000)), 2000)
    bands = spectra.radial_bands(field.power.shape)
    power = np.bincount(np.ravel(bands.index), np.ravel(np.asarray(field.power))) / bands.count
    assert found.std == pytest.approx(math.sqrt(power @ bands.count / bands.count.sum()), rel=0.02)
    assert found.mean == pytest.approx(float(field.mean), abs=0.1)
    np.testing.assert_allclose(found.power[:, 0], power, rtol=0.15)
    known = found._replace(power=power[:, None])
    np.testing.assert_allclose(scales.noise_moments(found), scales.noise_moments(known), atol=0.02)
    for ours, exact in zip(scales.octaves(found), scales.octaves(known), strict=True):
        assert (ours.sigma, ours.share) == (pytest.approx(exact.sigma, rel=0.05), pytest.approx(exact.share, rel=0.1))
    without_mean = 1 - power[0] * bands.count[0] / (power @ bands.count)
    assert sum(octave.share for octave in scales.octaves(known)) == pytest.approx(without_mean)


def test_channels_of_a_signal_count_each_for_itself(scales):
    """Of slow changes beside white noise the coarsest features are those of the former, not of the mean."""
    slow = drawn(random_fields.power_law((64,), 3.0, 4.0), 2000)
    x = np.concatenate([slow, 0.1 * np.random.default_rng(0).normal(size=slow.shape)], axis=-1)
    both, alone = scales.measure(Given(x), 2000), scales.measure(Given(x[..., :1]), 2000)
    assert scales.coarsest(both) == pytest.approx(scales.coarsest(alone), rel=1e-4)


def test_scales_of_points_are_those_of_their_components(scales):
    normal = densities.gaussian(np.array([1.0, 0.0]), covariance=np.array([[4.0, 0.0], [0.0, 0.25]]))
    found = scales.measure(Given(drawn(normal, 20_000)), 20_000)
    np.testing.assert_allclose(found.power[:, 0], [4.0, 0.25], rtol=0.03)
    assert scales.noise_moments(found)[0] == pytest.approx(0.0, abs=0.02)
    assert scales.coarsest(found) == pytest.approx(2.0, rel=0.02)


def test_moments_are_those_of_the_rate_of_recovery(scales):
    """Against the density ``-dg/dlog sigma`` on a fine grid; bands below rounding and the last 0.1 % are left out."""
    power, count = np.array([9.0, 1.0, 0.04]), np.array([2.0, 3.0, 5.0])
    u = np.linspace(-25.0, 25.0, 200_001)
    gain = power[:, None] / (power[:, None] + np.exp(2 * u))
    density = count @ (2 * gain * (1 - gain)) / count.sum() * (u[1] - u[0])
    mean = density @ u
    given = lambda power, step=0.0: scales.Scales(0.0, 1.0, np.array(power)[:, None], count[: len(power)], step=step)
    expected = mean, math.sqrt(density @ np.square(u - mean))
    np.testing.assert_allclose(scales.noise_moments(given(power)), expected, rtol=1e-6)
    assert density.sum() == pytest.approx(1.0)
    assert scales.noise_moments(given([4.0, 1e-9]))[0] == pytest.approx(math.log(2.0))
    assert scales.noise_moments(given([4.0, 1.0], step=24**0.5))[0] == pytest.approx(math.log(2.0))


def test_photographs_have_the_noise_of_edm_and_the_shift_of_their_resolution(scales):
    mean, std = scales.noise_moments(scales.photographs(32))
    assert (mean, std) == (pytest.approx(-1.2, abs=0.05), pytest.approx(1.2, abs=0.2))
    assert scales.noise_factor(scales.photographs(64)) == pytest.approx(1.0)
    assert scales.noise_factor(scales.photographs(128)) == pytest.approx(2.0, rel=0.1)
    tiny = scales.photographs(8)  # the rule of resolution would leave too little noise for the coarse shape
    assert scales.noise_factor(tiny) == pytest.approx(math.exp(scales.noise_moments(tiny)[0]))
    doubled = scales.photographs(64)
    assert scales.noise_factor(doubled._replace(power=4 * doubled.power)) == pytest.approx(2.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images/digits", "points/mixture_2d"])
def test_printed_fields_build_a_model(name):
    path = f"experiments/configs/{name}.py"
    code, out, err = run("projects.denoising.data_scales", f"--config={path}")
    assert (code, err) == (0, "")
    assert ("0.752" in out) == (name == "images/digits")
    shifted, edm = (re.findall(r"--config\.(\S+?)=(\S+)", part) for part in out.split("EDM:\n"))
    assert [field for field, _ in shifted] == ["noise_factor"]
    for fields in (shifted, edm):
        config = command_line.load_config(path)
        for field, value in fields:
            command_line.override(config, field, value)
        diffusion.check_fields(config)
        diffusion.build(config, data.build(config))
