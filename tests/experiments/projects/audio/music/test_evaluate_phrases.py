"""Phrases of runs of any kind and of autoencoders, compared with the held-out ones."""

import itertools
import json

import jax
import numpy as np
import pytest
from parameters import random_like
from programs import save_run
from sound_sets import RATE, phrase_set

from experiments import data as data_sets
from experiments import tasks
from experiments.cli.config import ConfigError, save_resolved
from experiments.data.builders import sets
from experiments.projects.audio.configs import phrases_latent, phrases_masked, phrases_of_latents
from experiments.projects.audio.music import evaluate_phrases
from experiments.tasks.latents import model as autoencoder
from experiments.tasks.latents.latent_data import STATISTICS


def test_errors_of_ratios_and_distances_of_structure():
    rng = np.random.default_rng(0)
    power = rng.uniform(1, 2, 400)
    value, error = evaluate_phrases.ratio(0.5 * power + 0.1 * rng.normal(size=400), power)
    assert abs(value - 0.5) < 4 * error
    assert error == pytest.approx(0.1 / 1.5 / 20, rel=0.35)
    sounds = 0.1 * rng.normal(size=(40, 16384))
    same, other = (evaluate_phrases.compare(scale * sounds, sounds, RATE) for scale in (1, 2))
    assert all(each.value < 1e-2 for each in same.values())
    assert other["timbre"].value > 1


@pytest.fixture
def vq(monkeypatch, tmp_path):
    """The folder of an autoencoder with codes that is not trained, of tones, which are louder in the test set."""
    tones = np.sin(np.random.default_rng(0).uniform(0.3, 0.6, (20, 1)) * np.arange(16_384))
    loud = lambda split: 20_000 if split == "test" else 5_000
    load = lambda name, split, *_: phrase_set(loud(split) * tones, instrument=np.arange(20) % 2, name=name)
    monkeypatch.setattr(sets, "load_phrases", load)
    config = phrases_latent.get_config()
    config.autoencoder.update(channels=4, multipliers=(1,), factors=(), patch=64, latent_channels=2, codes=8, blocks=1)
    config.evaluation.ema = "none"
    dataset = data_sets.build(config)
    built = autoencoder.build_latent(config, dataset)
    params = autoencoder.init_params(built, 0)
    statistics = autoencoder.statistics(autoencoder.make_encode(built, params), dataset)
    save_run(tmp_path / "vq", config, params)
    (tmp_path / "vq" / STATISTICS).write_text(json.dumps(statistics))
    return tmp_path / "vq"


@pytest.mark.slow
def test_models_of_codes_and_their_autoencoder_are_compared(vq, tmp_path):
    models = {"rounded": phrases_of_latents.get_config(), "masked": phrases_masked.get_config()}
    for name, config in models.items():
        config.latents = str(vq)
        config.network.update(depth=1, width=8, heads=2)
        config.sampling.update(steps=2, batch_size=10, ema="none")
        task = tasks.of(config)
        shapes = jax.eval_shape(task.build(config, task.load(config)).trained.init, jax.random.key(0))
        save_run(tmp_path / name, config, random_like(shapes, 0.02))
    folders = [str(tmp_path / name) for name in ("vq", "rounded", "masked")]
    rows = evaluate_phrases.measure(folders, 20, 0)
    decoded = [f"{name}: held-out phrases, decoded" for name in ("rounded", "masked")]
    assert list(rows) == ["training phrases", "vq, 1 of 1 levels", "rounded", decoded[0], "masked", decoded[1]]
    reconstructed, masked = rows["vq, 1 of 1 levels"], rows["masked"]
    assert reconstructed["codes/s"] == masked["codes/s"] == RATE / 64
    assert reconstructed["bits/s"] == 3 * RATE / 64
    assert masked["bits/s"].value > 0.9 * 3 * RATE / 64  # a network that begins knows nothing
    for name, column in itertools.product(decoded, ("rhythm", "harmony", "timbre")):  # through the same codes
        assert rows[name][column].value == pytest.approx(reconstructed[column].value, rel=0.05, abs=1e-3)
    config = tasks.saved(folders[0])
    config.data.test_split = "train"
    save_resolved(config, tmp_path / "other" / "config.json")
    with pytest.raises(ConfigError, match=f"--runs={tmp_path}/other: must be of the phrases of {folders[0]}"):
        evaluate_phrases.measure([folders[0], str(tmp_path / "other")], 20, 0)
