"""Noise-conditioning augmentation in training and sampling, and chains of sample rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import SoundsInMemory

from experiments.cli.config import ConfigError
from experiments.configs.images import smoke
from experiments.configs.phrases import phrases_1khz, phrases_4khz
from experiments.data import conditions
from experiments.data import representation as forms
from experiments.models import choices as build
from experiments.models import model
from experiments.models.latents import stages
from experiments.models.runs import Experiment
from scorekit import audio


def tones_in(form):
    """Sines of 512 samples."""
    n, rng = np.arange(512), np.random.default_rng(0)
    sounds = 0.5 * np.sin(2 * np.pi * rng.integers(5, 200, size=(8, 1)) * n / 512)
    return SoundsInMemory("tones", sounds.astype(np.float32), np.arange(8) % 2, 2, 4000, form)


def told_config(most: float | None = 0.5, level: float | None = None):
    config = smoke.get_config()
    config.data.name = "soundfont_notes/4khz"
    config.data.map.update(name="low_rate", factor=4)
    config.loss.map_noise, config.sampling.map_noise = most, level
    config.network.patch = 16
    return config


@pytest.fixture(scope="module")
def tones():
    return tones_in(forms.waveform())


@pytest.fixture(scope="module")
def built(tones):
    return model.build_model(told_config(), tones)


def test_the_low_rate_form_is_a_quarter_and_comes_back_band_limited():
    form, rng = forms.low_rate(64, 4, scale=3.0), np.random.default_rng(0)
    sound = rng.normal(size=(2, 64)).astype(np.float32)
    seen = form.to_model(sound)
    assert seen.shape == (2, 16, 1)
    np.testing.assert_allclose(form.to_sound(seen, None), audio.high_rate(audio.low_rate(sound, 4), 4), atol=1e-5)
    np.testing.assert_allclose(form.to_model(form.to_sound(seen, None)), seen, atol=1e-5)
    with pytest.raises(ValueError, match="factor must divide the 64 samples, got 3"):
        forms.low_rate(64, 3)


def test_in_training_every_map_has_noise_of_a_level_of_its_own_that_is_told(tones, built):
    assert built.module.map_shape == (128, 2)
    prepare = jax.jit(model.make_prepare(built, tones))
    given = prepare(jax.random.key(0), tones.batch(0, 0, 8))["conditions"]["dense_map"].value
    told = given[:, 0, 1]
    np.testing.assert_array_equal(given[..., 1], jnp.broadcast_to(told[:, None], (8, 128)))
    assert jnp.all((told >= 0) & (told <= 0.5))
    assert len(np.unique(told)) == 8
    clean = model.asked_of(built, tones, tones.test["label"])["dense_map"]
    whole = conditions.low_rate(4000)({"stored": tones.test["x"]})
    rest = given[..., 0] - jnp.sqrt(1 - told[:, None] ** 2) * whole[..., 0]
    np.testing.assert_allclose(rest.std(1), told, rtol=0.3)
    assert clean.shape == (8, 128, 1)
    other = prepare(jax.random.key(1), tones.batch(0, 0, 8))["conditions"]["dense_map"].value
    assert not np.any(other[:, 0, 1] == told)


def test_sampling_reads_the_level_of_the_config_and_takes_other_maps(tones):
    drawn = {}
    params = None
    maps = np.asarray(audio.low_rate(audio.pcm_to_float(tones.test["x"]), 4))[::-1, :, None]
    for level in (None, 0.5):
        config = told_config(level=level)
        built = model.build_model(config, tones)
        if params is None:
            params = model.init_params(built, jax.random.key(0))
            rng = np.random.default_rng(1)
            params = jax.tree.map(lambda p, rng=rng: p + 0.1 * rng.normal(size=p.shape).astype(np.float32), params)
        generate = model.make_sampler(config, built, tones)
        for name, given in (("own", None), ("other", maps)):
            key = jax.random.key(3) if level else None
            asked = model.conditions_for(built, tones, tones.test["label"], key, level or 0.0, given)
            drawn[level, name] = generate(params, 0, asked, 1.0)
            if given is None:
                by_labels = generate(params, 0, tones.test["label"], 1.0)
                assert np.array_equal(by_labels, drawn[level, name]) == (level is None)  # the noise has another key
    assert drawn[None, "own"].shape == (8, 512)
    values = list(drawn.values())
    for i in range(4):
        for j in range(i):
            assert np.abs(values[i] - values[j]).max() > 1e-6
    clean = model.conditions_for(built, tones, tones.test["label"])["dense_map"].value
    assert not np.any(clean[..., 1])
    noisy = model.conditions_for(built, tones, tones.test["label"], jax.random.key(0), 0.25)["dense_map"].value
    np.testing.assert_array_equal(noisy[..., 1], 0.25)


@pytest.mark.parametrize(
    ("most", "level", "message"),
    [
        (1.5, None, r"config.loss.map_noise=1.5: must be above 0 and at most 1"),
        (0.5, 0.6, r"config.sampling.map_noise=0.6: must be from 0 to config.loss.map_noise=0.5"),
        (None, 0.1, r"config.sampling.map_noise=0.1: must be from 0 to config.loss.map_noise=0"),
    ],
)
def test_levels_out_of_range_are_refused(most, level, message):
    with pytest.raises(ConfigError, match=message):
        build.check_choices(told_config(most, level))
    config = smoke.get_config()
    config.loss.map_noise = 0.5
    with pytest.raises(ConfigError, match=r"config.loss.map_noise=0.5: must be None without config.data.map"):
        build.check_choices(config)


def test_a_chain_must_fit():
    low, high = phrases_1khz.get_config(), phrases_4khz.get_config()
    stages.check([low, high], ["low", "high"])
    with pytest.raises(ConfigError, match=r"high must have config.data.map.name=low_rate, it has none"):
        stages.check([low, low], ["low", "high"])
    with pytest.raises(ConfigError, match=r"high is told 1 / 4 of the sample rate, low draws 1 / 1 of it"):
        stages.check([high, high], ["low", "high"])
    high.data.name = "soundfont_phrases/8khz"
    with pytest.raises(ConfigError, match=r"high is of soundfont_phrases/8khz, low of soundfont_phrases/4khz"):
        stages.check([low, high], ["low", "high"])


def test_a_chain_tells_each_stage_what_the_one_before_has_drawn(tones):
    low = tones_in(forms.low_rate(512, 4))
    told = []

    def stage(config, dataset):
        built = model.build_model(config, dataset)
        params = model.init_params(built, jax.random.key(0))
        inner = model.make_sampler(config, built, dataset)

        def generate(params, seed, given, scale):
            told.append((seed, given))
            return inner(params, seed, given, scale)

        return stages.Stage(config, Experiment(dataset, built, generate, params, 0, model.NO_EXTRAS))

    first = smoke.get_config()
    first.network.patch = 16
    sounds, seconds = stages.draw([stage(first, low), stage(told_config(), tones)], 5, np.array([0, 1, 1]))
    assert [x.shape for x in sounds] == [(3, 512), (3, 512)]
    assert len(seconds) == 2
    assert [seed for seed, _ in told] == [5, 6]
    np.testing.assert_array_equal(told[0][1], [0, 1, 1])
    heard = audio.pcm_to_float(audio.float_to_pcm(sounds[0]))
    dense_map = told[1][1]["dense_map"].value
    np.testing.assert_allclose(dense_map[..., 0], audio.low_rate(heard, 4), atol=1e-5)
    np.testing.assert_array_equal(dense_map[..., 1], 0)
