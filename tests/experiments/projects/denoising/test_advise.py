"""``experiments.projects.denoising.advise``: scales against closed forms, overrides that build, bad inputs."""

import math
import re
import shlex
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from programs import fails, run

from experiments import data, training
from experiments.cli import command_line
from experiments.data.dataset import Dataset
from experiments.projects.denoising import advice, data_scales, named_data
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.model import build_model
from scorekit import audio, densities
from scorekit.densities import random_fields, spectra


class Known(Dataset):
    """Draws of a known density, as the network receives them."""

    def __init__(self, density, n=2000):
        self.name, self.num_classes, self.examples = "known", 1, n
        self.train = {"x": np.asarray(jax.jit(lambda key: density.sample(key, (n,)))(jax.random.key(0)))}
        self.shape = self.train["x"].shape[1:]

    def to_model(self, x):
        return x


class Given(Known):
    """These examples."""

    def __init__(self, x):
        self.name, self.num_classes, self.examples, self.shape = "given", 1, len(x), x.shape[1:]
        self.train = {"x": np.asarray(x)}


def of_field(field):
    """The exact power and number of coefficients of each band of a field."""
    bands = spectra.radial_bands(field.power.shape)
    return np.bincount(np.ravel(bands.index), np.ravel(np.asarray(field.power))) / bands.count, bands.count


FIELDS = {
    "images": random_fields.power_law((16, 12), 2.0, 4.0, mean=3.0, channels=3),
    "signals": random_fields.power_law((64,), 1.5, 0.25),
}


@pytest.mark.parametrize("name", FIELDS)
def test_scales_of_gaussian_fields_are_the_exact_ones(name, monkeypatch):
    field = FIELDS[name]
    monkeypatch.setattr(data_scales, "BLOCK_VALUES", 16 * 12 * 3 * 600)  # several blocks, the last one shorter
    found = data_scales.measure(Known(field), 2000)
    power, count = of_field(field)
    exact = math.sqrt(power @ count / count.sum())
    assert found.std == pytest.approx(exact, rel=0.02)
    assert found.rms == pytest.approx(math.hypot(exact, float(field.mean)), rel=0.02)
    assert found.mean == pytest.approx(float(field.mean), abs=0.1)
    np.testing.assert_allclose(found.power, power, rtol=0.15)
    np.testing.assert_allclose(
        data_scales.noise_moments(found.power, found.count), data_scales.noise_moments(power, count), atol=0.02
    )
    known = found._replace(power=power)
    for ours, theirs in zip(data_scales.octaves(found), data_scales.octaves(known), strict=True):
        assert ours.sigma == pytest.approx(theirs.sigma, rel=0.05)
        assert ours.share == pytest.approx(theirs.share, rel=0.1)
        assert theirs.power / theirs.sigma**2 == pytest.approx(1.0)  # the signal-to-noise ratio where it is lost
    without_mean = 1 - power[0] * count[0] / (power @ count)
    assert sum(octave.share for octave in data_scales.octaves(known)) == pytest.approx(without_mean)


def test_channels_of_a_representation_count_each_for_itself():
    """Of slow changes beside white noise the coarsest features are those of the former, not of the mean."""
    slow, quiet = random_fields.power_law((64,), 3.0, 4.0), 0.1
    x = jnp.concatenate([slow.sample(jax.random.key(0), (2000,)), quiet * jnp.ones((2000, 64, 1))], axis=-1)
    x = x.at[..., 1].multiply(jax.random.normal(jax.random.key(1), (2000, 64)))
    both = data_scales.measure(Given(x), 2000)
    alone = data_scales.measure(Given(x[..., :1]), 2000)
    assert (both.channels is not None, alone.channels) == (True, None)
    assert data_scales.coarsest(both) == pytest.approx(data_scales.coarsest(alone), rel=1e-4)
    np.testing.assert_allclose(both.power, both.channels.mean(1), rtol=1e-4)
    assert max(octave.sigma for octave in data_scales.octaves(both)) < 0.8 * data_scales.coarsest(both)
    power = np.concatenate([alone.power, both.channels[:, 1]])
    assert data_scales.moments(both) == pytest.approx(
        data_scales.noise_moments(power, np.tile(both.count, 2)), rel=1e-3
    )


def test_scales_of_points_are_those_of_their_components():
    normal = densities.gaussian(np.array([1.0, 0.0]), covariance=np.array([[4.0, 0.0], [0.0, 0.25]]))
    found = data_scales.measure(Known(normal, 20_000), 20_000)
    np.testing.assert_allclose(found.power, [4.0, 0.25], rtol=0.03)
    assert data_scales.noise_moments(found.power, found.count)[0] == pytest.approx(0.0, abs=0.02)
    assert data_scales.coarsest(found) == pytest.approx(2.0, rel=0.02)


def test_moments_are_those_of_the_rate_of_recovery():
    """Against the density ``-dg/dlog sigma`` on a fine grid."""
    power, count = np.array([9.0, 1.0, 0.04]), np.array([2.0, 3.0, 5.0])
    u = np.linspace(-25.0, 25.0, 200_001)
    gain = power[:, None] / (power[:, None] + np.exp(2 * u))
    density = count @ (2 * gain * (1 - gain)) / count.sum() * (u[1] - u[0])
    mean = density @ u
    expected = mean, math.sqrt(density @ np.square(u - mean))
    np.testing.assert_allclose(data_scales.noise_moments(power, count), expected, rtol=1e-6)
    assert density.sum() == pytest.approx(1.0)


def test_what_is_not_data_is_left_out_of_the_moments():
    power, count = np.array([4.0, 1e-9]), np.array([10.0, 10.0])
    assert data_scales.noise_moments(power, count)[0] == pytest.approx(math.log(2.0))
    assert data_scales.noise_moments(np.array([4.0, 1.0]), count, floor=2.0)[0] == pytest.approx(math.log(2.0))


def test_photographs_have_the_noise_of_edm_and_the_shift_of_their_resolution():
    known = data_scales.photographs(32)
    mean, std = data_scales.noise_moments(known.power, known.count)
    assert (mean, std) == (pytest.approx(-1.2, abs=0.05), pytest.approx(1.2, abs=0.2))
    assert advice.spectral_factor(data_scales.photographs(64)) == pytest.approx(1.0)
    assert advice.spectral_factor(data_scales.photographs(128)) == pytest.approx(2.0, rel=0.1)
    tiny = data_scales.photographs(8)  # the rule of resolution would leave too little noise for the coarse shape
    assert advice.coarse_factor(tiny) == pytest.approx(1 / 8, rel=0.5)
    assert advice.spectral_factor(tiny) == pytest.approx(math.exp(data_scales.noise_moments(tiny.power, tiny.count)[0]))
    doubled = data_scales.photographs(64)
    doubled = doubled._replace(power=4 * doubled.power)
    assert advice.spectral_factor(doubled) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("shape", "examples", "config", "multipliers"),
    [
        ((8, 8, 1), 1000, "digits", None),
        ((28, 28, 1), 60_000, "mnist", (1, 2, 2)),
        ((32, 32, 3), 50_000, "cifar10", (1, 2, 2)),
        ((32, 32, 3), 1000, "mnist", (1, 2, 2)),
        ((64, 64, 3), 50_000, "cifar10", (1, 2, 2, 2)),
        ((33, 33, 3), 50_000, "cifar10", (1,)),
    ],
)
def test_networks_of_images_by_their_size(shape, examples, config, multipliers):
    found, fields, _ = advice.config_for(shape, examples)
    assert found == f"experiments/configs/images/{config}.py"
    assert fields.get("network.multipliers") == multipliers


def trainings(out):
    """The commands of an output: the config with its overrides, as a shell would pass them."""
    for command in re.findall(r"^python -m experiments\.train ((?:.*\\\n)*.*)$", out, re.MULTILINE):
        words = shlex.split(command.replace("\\\n", " "))
        rest, overrides = command_line.split_overrides(words)
        config: Any = command_line.load_config(rest[0].removeprefix("--config="))
        for field, text in overrides:
            command_line.override(config, field, text)
        assert overrides
        assert rest[1].startswith("--workdir=")
        yield config


def advised(*given):
    """The output of the program for some data, and the configs of its commands, whose models are built."""
    code, out, err = run("projects.denoising.advise", *given)
    assert (code, err) == (0, "")
    found = list(trainings(out))
    for config in found:
        diffusion.check_fields(config)
        checks.check(config, data.build(config))
        training.check(config)
        model = build_model(config, data.build(config))
        jax.eval_shape(lambda model=model: model.init(jax.random.key(0)))
    return out, found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("sklearn_digits", "images/digits"),
        ("soundfont_notes/8khz", "notes/vocoder"),
        ("soundfont_notes/2khz", "notes/notes"),
        ("captioned_emoji", "text/contrastive"),
        ("smoke_rolls", "music/smoke_rolls"),
    ],
)
def test_a_set_has_the_first_config_of_it_or_of_its_kind(name, config):
    assert named_data.known_config(name).endswith(f"experiments/configs/{config}.py")


@pytest.mark.slow
def test_the_advice_on_digits_builds():
    out, found = advised("--data=digits")
    assert out.startswith("sklearn_digits: 1,500 training examples of 8 x 8 x 1, 17 values in [-1, 1], 10 classes\n")
    assert "sigma_data = 0.752" in out
    assert max(map(len, out.splitlines())) <= 110
    assert [config.loss.target.name for config in found] == ["v", "edm", "v"]
    assert [config.network.name for config in found] == ["unet", "unet", "dit"]


@pytest.mark.slow
def test_the_advice_on_a_folder_builds(tmp_path):
    folder = tmp_path / "my pictures"
    folder.mkdir()
    field = random_fields.power_law((32, 32), 2.0, 0.2, channels=3)
    x = np.clip((np.asarray(field.sample(jax.random.key(0), (24,))) + 1) * 127.5, 0, 255).astype(np.uint8)
    for i, image in enumerate(x):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    _, found = advised(f"--data={folder}", "--config.data.image_size=16")
    assert len(found) == 3
    for config in found:
        assert (config.data.name, config.data.path, config.data.image_size) == ("folder", str(folder), 16)


@pytest.mark.slow
def test_the_advice_on_points_builds():
    out, found = advised("--data=ring")
    assert re.search(r"^component +of the variance", out, re.MULTILINE)
    assert len(found) == 2


def test_a_folder_of_sounds_says_which_sounds_are_read(tmp_path):
    (tmp_path / "piano").mkdir()
    audio.write(tmp_path / "piano" / "a.wav", np.zeros(100, np.float32), 16_000)
    err = fails("projects.denoising.advise", f"--data={tmp_path}")
    assert err.startswith(f"error: --data={tmp_path}: it holds sounds (a.wav): give a config with this folder as data")
