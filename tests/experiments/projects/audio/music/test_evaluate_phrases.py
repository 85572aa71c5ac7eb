"""Phrases of runs of any kind, compared with the held-out ones."""

import json

import jax
import numpy as np
import pytest
from parameters import random_like
from programs import save_run
from sound_sets import RATE, phrase_set

from experiments import data as data_sets
from experiments import tasks
from experiments.cli.config import ConfigError
from experiments.configs.latents import phrases_latent, phrases_vq_rounded
from experiments.configs.sequences import phrases_vq_masked
from experiments.data.builders import sets
from experiments.projects.audio.music import drawn_phrases
from experiments.tasks.latents import model as autoencoder
from experiments.tasks.latents.latent_data import STATISTICS


@pytest.fixture
def phrases(monkeypatch):
    """Twelve phrases that are tones; those of the test set are louder."""
    rng, n = np.random.default_rng(0), np.arange(16_384)
    tones = np.sin(2 * np.pi * rng.uniform(200, 400, (12, 1)) * n / RATE)

    def load(name, split, *_):
        loud = 20_000 if split == "test" else 5_000
        return phrase_set(loud * tones, instrument=np.arange(12) % 2, name=name)

    monkeypatch.setattr(sets, "load_phrases", load)


def test_the_table_has_distances_of_samples_and_of_decoded_phrases(phrases, monkeypatch):
    configs = {"runs/a": phrases_vq_rounded.get_config(), "runs/b": phrases_vq_masked.get_config()}
    configs["runs/a"].latents = None
    monkeypatch.setattr(drawn_phrases.tasks, "saved", configs.__getitem__)
    held_out = drawn_phrases.phrases_of("runs/a", configs["runs/a"])
    same = held_out.real(held_out.test)

    def draw(folder, config, labels, scale, seed):
        assert labels.tolist() == [0, 1] * 6
        return drawn_phrases.Drawn(same if folder == "runs/a" else 0.1 * same, same if config.latents else None, 2)

    monkeypatch.setattr(drawn_phrases, "draw", draw)
    table = drawn_phrases.table(["runs/a", "runs/b"], 12, 1.0, 0)
    found = {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows}
    assert list(found) == ["training phrases", "a", "b", "b: held-out phrases, decoded"]
    assert found["a"]["timbre"] == pytest.approx(found["b: held-out phrases, decoded"]["timbre"])
    assert abs(found["a"]["timbre"]) < 1e-2 < found["training phrases"]["timbre"] < found["b"]["timbre"]
    assert found["b"]["CPU s per phrase"] == 2
    configs["runs/b"].data.test_split = "train"
    with pytest.raises(ConfigError, match="--runs=runs/b: must be of the phrases of runs/a"):
        drawn_phrases.table(["runs/a", "runs/b"], 12, 1.0, 0)
    configs["runs/a"].data.crop = 4096
    with pytest.raises(ConfigError, match=r"--runs=runs/a: must be of phrases of at least 3.2 s, these have 1.024 s"):
        drawn_phrases.table(["runs/a"], 12, 1.0, 0)


@pytest.fixture
def vq(phrases, tmp_path):
    """The folder of an autoencoder of phrases with codes that is not trained."""
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
@pytest.mark.parametrize("make", [phrases_vq_rounded, phrases_vq_masked], ids=["rounded", "masked"])
def test_sounds_of_both_models_of_codes_are_drawn(vq, tmp_path, make):
    config = make.get_config()
    config.latents = str(vq)
    config.network.update(depth=1, width=8, heads=2)
    config.sampling.update(steps=2, batch_size=3, ema="none")
    task = tasks.of(config)
    built = task.build(config, task.load(config))
    shapes = jax.eval_shape(built.init, jax.random.key(0))
    save_run(tmp_path / "run", config, random_like(shapes, 0.02))
    found = drawn_phrases.draw(str(tmp_path / "run"), config, np.array([0, 1, 1]), 1.0, 0)
    assert found.sounds.shape == (3, 16_384)
    assert found.decoded is not None
    assert found.decoded.shape == (12, 16_384)
    assert found.seconds > 0
