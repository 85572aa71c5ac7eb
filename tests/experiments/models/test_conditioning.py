"""Noise-conditioning augmentation of the dense map."""

import jax
import numpy as np
import pytest
from programs import changed, tones

from experiments.configs.images import smoke
from experiments.data import sounds
from experiments.models.conditioning import conditions_for, target_conditions
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.loss import make_prepare
from scorekit.audio import representations


@pytest.fixture(scope="module")
def dataset():
    return tones(representations.waveform())


@pytest.fixture(scope="module")
def model(dataset):
    fields = """
        data.name=notes data.set=soundfont_notes/4khz conditions.map.name=low_rate conditions.map.factor=4
        loss.map_noise=0.5 network.patch=16
        network.multipliers=1, network.attention_resolutions=() sampling.guidance_scale=1
    """
    return build_model(changed(smoke, *fields.split()), dataset)


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


def test_conditions_for_appends_the_noise_level_as_a_channel(dataset, model):
    clean = conditions_for(model, dataset, dataset.test["label"])["dense_map"].value
    assert not np.any(clean[..., 1])
    noisy = conditions_for(model, dataset, dataset.test["label"], jax.random.key(0), 0.25)["dense_map"].value
    np.testing.assert_array_equal(noisy[..., 1], 0.25)
