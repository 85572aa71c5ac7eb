"""Noise-conditioning augmentation of the dense map, in training and sampling."""

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import SoundsInMemory, check_fields_and_relations

from experiments.cli.config import ConfigError
from experiments.configs.images import smoke
from experiments.data import sounds
from experiments.models import checks
from experiments.models.conditioning import conditions_for, target_conditions
from experiments.models.loss import make_prepare
from experiments.models.model import build_model
from experiments.models.sampling import make_sampler
from scorekit import audio
from scorekit.audio import representations


@pytest.fixture(scope="module")
def tones():
    """Sines of 512 samples."""
    n, rng = np.arange(512), np.random.default_rng(0)
    x = 0.5 * np.sin(2 * np.pi * rng.integers(5, 200, size=(8, 1)) * n / 512)
    waveform = representations.waveform()
    return SoundsInMemory("tones", x.astype(np.float32), np.arange(8) % 2, 2, 4000, waveform)


def low_rate_config(most: float | None = 0.5, level: float | None = None):
    config = smoke.get_config()
    config.data.name = "soundfont_notes/4khz"
    config.data.map.update(name="low_rate", factor=4)
    config.loss.map_noise, config.sampling.map_noise = most, level
    config.network.update(patch=16, multipliers=(1,), attention_resolutions=())
    config.sampling.guidance_scale = 1.0
    return config


@pytest.fixture(scope="module")
def model(tones):
    return build_model(low_rate_config(), tones)


@pytest.mark.slow
def test_make_prepare_corrupts_every_map_at_its_own_noise_level(tones, model):
    assert model.module.map_shape == (128, 2)
    prepare = jax.jit(make_prepare(model, tones))
    given = np.asarray(prepare(jax.random.key(0), tones.batch(0, 0, 8))["conditions"]["dense_map"].value)
    level = given[:, 0, 1]
    np.testing.assert_array_equal(given[..., 1], np.broadcast_to(level[:, None], (8, 128)))
    assert np.all((level >= 0) & (level <= 0.5))
    assert len(np.unique(level)) == 8
    clean = target_conditions(model, tones, tones.test["label"])["dense_map"]
    full = np.asarray(jax.jit(sounds.low_rate(tones, 4))({"raw": tones.test["x"]}))
    rest = given[..., 0] - np.sqrt(1 - level[:, None] ** 2) * full[..., 0]
    np.testing.assert_allclose(rest.std(1), level, rtol=0.3)
    assert clean.shape == (8, 128, 1)
    other = prepare(jax.random.key(1), tones.batch(0, 0, 8))["conditions"]["dense_map"].value
    assert not np.any(np.asarray(other)[:, 0, 1] == level)


@pytest.mark.slow
def test_samples_depend_on_the_configured_noise_level_and_on_given_maps(tones):
    drawn = {}
    params = None
    low_rate = jax.jit(lambda x: audio.low_rate(audio.pcm_to_float(x), 4))
    maps = np.asarray(low_rate(tones.test["x"]))[::-1, :, None]
    for level in (None, 0.5):
        config = low_rate_config(level=level)
        model = build_model(config, tones)
        if params is None:
            params = random_params(model)
        generate = make_sampler(config, model, tones)
        for name, dense_map in (("own", None), ("other", maps)):
            key = jax.random.key(3) if level else None
            given = conditions_for(model, tones, tones.test["label"], key, level or 0.0, dense_map)
            drawn[level, name] = generate(params, 0, given, 1.0)
            if dense_map is None:
                by_labels = generate(params, 0, tones.test["label"], 1.0)
                assert np.array_equal(by_labels, drawn[level, name]) == (level is None)  # the noise has another key
    assert drawn[None, "own"].shape == (8, 512)
    values = list(drawn.values())
    for i in range(4):
        for j in range(i):
            assert np.abs(values[i] - values[j]).max() > 1e-6


def test_conditions_for_appends_the_noise_level_as_a_channel(tones, model):
    clean = conditions_for(model, tones, tones.test["label"])["dense_map"].value
    assert not np.any(clean[..., 1])
    noisy = conditions_for(model, tones, tones.test["label"], jax.random.key(0), 0.25)["dense_map"].value
    np.testing.assert_array_equal(noisy[..., 1], 0.25)


@pytest.mark.parametrize(
    ("most", "level", "message"),
    [
        (1.5, None, r"config.loss.map_noise=1.5: must be in \(0, 1\]"),
        (0.5, 0.6, r"config.sampling.map_noise=0.6: must be from 0 to config.loss.map_noise=0.5"),
        (None, 0.1, r"config.sampling.map_noise=0.1: must be from 0 to config.loss.map_noise=0"),
    ],
)
def test_noise_levels_of_maps_are_validated(most, level, message):
    with pytest.raises(ConfigError, match=message):
        check_fields_and_relations(low_rate_config(most, level))


def test_map_noise_without_a_map_is_an_error():
    config = smoke.get_config()
    config.loss.map_noise = 0.5
    with pytest.raises(ConfigError, match=r"config.loss.map_noise=0.5: must be None without config.data.map"):
        checks.check(config)
