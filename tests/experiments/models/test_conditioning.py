"""Noise-conditioning augmentation of the dense map, in training and sampling."""

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import changed, tones

from experiments.configs.images import smoke
from experiments.data import sounds
from experiments.models.conditioning import conditions_for, target_conditions
from experiments.tasks.diffusion.build import build_model, make_sampler
from experiments.tasks.diffusion.loss import make_prepare
from scorekit import audio
from scorekit.audio import representations


@pytest.fixture(scope="module")
def dataset():
    return tones(representations.waveform())


def low_rate_config(level: float | None = None):
    fields = """
        data.name=notes data.set=soundfont_notes/4khz conditions.map.name=low_rate conditions.map.factor=4
        loss.map_noise=0.5 network.patch=16
        network.multipliers=1, network.attention_resolutions=() sampling.guidance_scale=1
    """
    return changed(smoke, *fields.split(), f"sampling.map_noise={level}")


@pytest.fixture(scope="module")
def model(dataset):
    return build_model(low_rate_config(), dataset)


@pytest.mark.slow
def test_make_prepare_corrupts_every_map_at_its_own_noise_level(dataset, model):
    assert model.module.map_shape == (128, 2)
    prepare = jax.jit(make_prepare(model, dataset))
    given = np.asarray(prepare(jax.random.key(0), dataset.batch(0, 0, 8))["conditions"]["dense_map"].value)
    level = given[:, 0, 1]
    np.testing.assert_array_equal(given[..., 1], np.broadcast_to(level[:, None], (8, 128)))
    assert np.all((level >= 0) & (level <= 0.5))
    assert len(np.unique(level)) == 8
    clean = target_conditions(model, dataset, dataset.test["label"])["dense_map"]
    full = np.asarray(jax.jit(sounds.low_rate(dataset, 4))({"raw": dataset.test["x"]}))
    rest = given[..., 0] - np.sqrt(1 - level[:, None] ** 2) * full[..., 0]
    np.testing.assert_allclose(rest.std(1), level, rtol=0.3)
    assert clean.shape == (8, 128, 1)
    other = prepare(jax.random.key(1), dataset.batch(0, 0, 8))["conditions"]["dense_map"].value
    assert not np.any(np.asarray(other)[:, 0, 1] == level)


@pytest.mark.slow
def test_samples_depend_on_the_configured_noise_level_and_on_given_maps(dataset):
    drawn = {}
    params = None
    low_rate = jax.jit(lambda x: audio.low_rate(audio.pcm_to_float(x), 4))
    maps = np.asarray(low_rate(dataset.test["x"]))[::-1, :, None]
    for level in (None, 0.5):
        config = low_rate_config(level)
        model = build_model(config, dataset)
        if params is None:
            params = random_params(model)
        generate = make_sampler(config, model, dataset)
        for name, dense_map in (("own", None), ("other", maps)):
            key = jax.random.key(3) if level else None
            given = conditions_for(model, dataset, dataset.test["label"], key, level or 0.0, dense_map)
            drawn[level, name] = generate(params, 0, given, 1.0)
            if dense_map is None:
                by_labels = generate(params, 0, dataset.test["label"], 1.0)
                assert np.array_equal(by_labels, drawn[level, name]) == (level is None)  # the noise has another key
    assert drawn[None, "own"].shape == (8, 512)
    values = list(drawn.values())
    for i in range(4):
        for j in range(i):
            assert np.abs(values[i] - values[j]).max() > 1e-6


def test_conditions_for_appends_the_noise_level_as_a_channel(dataset, model):
    clean = conditions_for(model, dataset, dataset.test["label"])["dense_map"].value
    assert not np.any(clean[..., 1])
    noisy = conditions_for(model, dataset, dataset.test["label"], jax.random.key(0), 0.25)["dense_map"].value
    np.testing.assert_array_equal(noisy[..., 1], 0.25)
