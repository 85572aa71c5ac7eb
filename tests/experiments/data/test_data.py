"""What kinds of data share: names, conditions of an example, and examples that are not finite."""

import re
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from programs import POINTS, changed, error_of, fails

from experiments import data
from experiments.configs.images import smoke
from experiments.configs.points import mixture_2d
from experiments.data import conditions
from experiments.data.images import average_pool
from experiments.data.sound_sets import pitch_velocity
from experiments.data.vectors.points import Ring
from experiments.tasks.latents.latent_data import Latents


def test_names_of_tfds_are_accepted_and_others_are_config_errors(monkeypatch):
    for name, words in (("sklearn_digit", "did you mean sklearn_digits"), ("mnist/x", "mnist/x"), ("../x", "a path")):
        assert words in error_of(data.build, changed(smoke, f"data.set={name}"))

    def open_images(name, split, data_dir):
        raise LookupError(name)

    monkeypatch.setattr("scorekit.data.open_images", open_images)
    for name in ("mnist", "sklearn_digits:1.0.0", "mnist:3.*.*", "kaggle:set/a-b.c", "corrupted/fog_1"):
        with pytest.raises(LookupError, match=re.escape(name)):
            data.build(changed(smoke, f"data.set={name}"))
    message = error_of(data.build, changed(smoke, "data.name=foldr"))
    assert message.startswith("config.data.name=foldr: must be one of captioned, folder, ")
    assert message.endswith("(did you mean folder?)")


def test_conditions_have_the_sizes_of_the_examples():
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 2)).astype(np.float32)
    expected = np.stack([x.reshape(3, -1).mean(1), x.reshape(3, -1).std(1)], 1)
    np.testing.assert_allclose(conditions.moments()({"x": jnp.asarray(x)}), expected, rtol=1e-5, atol=1e-6)
    dataset = data.build(smoke.get_config())
    extracts = {"dense_map": average_pool(2), "vector": conditions.moments()}
    assert conditions.sizes(extracts, dataset) == {"map_shape": (4, 4, 1), "vector_size": 2, "token_size": None}
    assert conditions.sizes({}, dataset) == {"map_shape": None, "vector_size": None, "token_size": None}
    for extracts, words in (
        ({"dense_map": average_pool(3)}, "multiples of factor = 3, got (8, 8)"),
        ({"vector": pitch_velocity()}, "sklearn_digits has no field 'pitch'"),
    ):
        message = error_of(conditions.sizes, extracts, dataset)
        assert message.startswith(f"config.conditions.{'map' if 'dense_map' in extracts else 'vector'}: ")
        assert words in message
    message = error_of(conditions.check_latents, {"dense_map": "average_pool"}, dataset)
    assert message.startswith("config.conditions.map.name=average_pool: must be one that does not read the exam")


def broken_after(monkeypatch, sound, value):
    """Every set of points after the first ``sound`` ones has this value in its second example."""
    draw, drawn = Ring._points, []

    def points(self, key, n):
        part = {name: array.copy() for name, array in draw(self, key, n).items()}
        drawn.append(n)
        if len(drawn) > sound:
            part["x"][1, 0] = value
        return part

    monkeypatch.setattr(Ring, "_points", points)


@pytest.mark.parametrize(("sound", "what", "value"), [(0, "training", np.nan), (1, "test", np.inf)])
def test_loading_counts_examples_that_are_not_finite(monkeypatch, sound, what, value):
    broken_after(monkeypatch, sound, value)
    words = f"config.data.name=ring: x of 1 of 2000 {what} examples is not finite"
    config = mixture_2d.get_config()
    assert words in error_of(data.check_rows, config, data.build(config))


def test_latents_that_are_not_finite_are_an_error():
    latents = SimpleNamespace(_encode=lambda x: x, _mean=np.zeros(1), _std=np.array([0.0]), name="latents of digits")
    words = "config.latents: x of 2 of 2 examples, latents of digits, is not finite"
    with np.errstate(all="ignore"):
        assert words in error_of(Latents._encoded, latents, {"x": np.ones((2, 1), np.float32)})


@pytest.mark.slow
def test_training_ends_at_the_first_batch_that_is_not_finite(monkeypatch, tmp_path):
    broken_after(monkeypatch, 2 + 2, np.nan)  # two sets, two batches
    err = fails("train", *POINTS, f"--workdir={tmp_path / 'run'}", at_once=False)
    assert err.splitlines()[-1].startswith("error: config.data: x of 1 of 16 examples of batch 3 is not finite")
