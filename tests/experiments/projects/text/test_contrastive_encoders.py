"""Contrastive encoders of images and captions from a config: training, opening, what is no negative, errors."""

import json
import os
import types

import chex
import jax
import numpy as np
import optax
import pytest
import small_configs
from programs import SQUARES, fails, succeeds

from experiments import data
from experiments.cli.config import ConfigError, save_resolved
from experiments.data.captions import subjects
from experiments.tasks.contrastive import embeddings, task
from experiments.tasks.contrastive.embeddings import open_encoder
from experiments.tasks.contrastive.task import retrieval
from scorekit import training

RNG = np.random.default_rng(0)


@pytest.mark.slow
def test_encoders_are_trained_continued_and_opened(runs, tmp_path):
    save_resolved(runs.config(small_configs.contrastive), tmp_path / "config_file.json")
    train = ("train", f"--config={tmp_path / 'config_file.json'}", f"--workdir={tmp_path / 'run'}")
    succeeds(*train)
    out = succeeds(*train, "--config.training.steps=4")
    assert "resuming  from step 2" in out
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert found["held-out data"]["chance, R@1"] == 0.375  # three subjects
    encoder = open_encoder(tmp_path / "run", "--encoder")
    texts = encoder.embed_texts(SQUARES)
    x = RNG.uniform(-1, 1, (5, 8, 8, 3))
    images = encoder.embed_pictures(x)
    assert images.shape == (5, 4)
    for found in (texts, images):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(encoder.embed_pictures(x.repeat(2, 1).repeat(2, 2)), images, atol=1e-5)
    with pytest.raises(ValueError, match="H a multiple or a divisor of 8"):
        encoder.embed_pictures(np.zeros((1, 12, 12, 3)))
    succeeds("evaluate", f"--workdir={tmp_path / 'run'}")
    again = json.loads((tmp_path / "run" / "evaluation_4.json").read_text())
    assert again["held-out data"]["chance, R@1"] == 0.375
    assert "has embeddings and draws nothing" in fails("sample", f"--workdir={tmp_path / 'run'}", at_once=False)


@pytest.mark.slow
def test_a_step_does_not_depend_on_the_number_of_devices(runs):
    config = runs.config(small_configs.contrastive)
    dataset, optimizer = data.build(config), optax.sgd(1.0)
    module, batch = task.DUAL_ENCODERS.build(config, "dual_encoder"), dataset.batch(0, 0, 8)
    after = []
    for axes, number in ((("data", "fsdp"), 4), ((), 1)):
        mesh = training.make_mesh(devices=jax.devices()[:number])
        params = task.init_params(module, dataset, jax.random.key(0))
        state = training.init_state(jax.random.key(0), params, optimizer)
        step = training.make_train_step(task.make_prepare(dataset), task.make_loss(module, axes), optimizer, mesh=mesh)
        state, metrics = step(state, batch)
        after.append((state.params, metrics["per_example_loss"]))
    chex.assert_trees_all_close(*after, atol=2e-5)


def test_recall_counts_what_is_not_closer_than_the_right_one():
    images, texts = np.eye(7), np.eye(7)
    texts[1, :2] = 0.9, 0.5  # closer to the first image
    texts[6] = 0.36, 0.32, 0.28, 0.24, 0.2, 0, 0.04  # to five others
    found = retrieval(images, texts, np.arange(7))
    assert found["caption of an image, R@1"] == 1.0
    assert found["image of a caption, R@1"] == pytest.approx(5 / 7)
    assert found["image of a caption, R@5"] == pytest.approx(6 / 7)
    found = retrieval(np.ones((8, 2)), np.ones((8, 2)), np.arange(8))
    assert found["caption of an image, R@1"] == found["chance, R@1"] == 0.125, "ties are in a random order"
    found = retrieval(images, texts, np.array([0, 0, 1, 2, 3, 4, 5]))  # the first two are of one subject
    assert found["image of a caption, R@1"] == pytest.approx(6 / 7)
    assert found["chance, R@1"] == pytest.approx((2 + 2 + 5) / 49, abs=1e-6)
    with pytest.raises(ConfigError, match="1 of 7 embeddings of captions are not finite"):
        retrieval(images, np.where(texts == 0.9, np.nan, texts), np.arange(7))


def test_subjects_are_names_where_there_are_and_first_captions_elsewhere():
    train, test = subjects([["a cat", ["a cat", "x"], "y"], ["y"]], [None, None])
    assert train[0] == train[1] != train[2] == test[0]
    train, test = subjects([["cat, noto", "cat, twitter"], ["dog"]], [["cat", "cat"], ["dog"]])
    assert train[0] == train[1] != test[0]


def encoder_that_counts(seen):
    embed = lambda x: seen.append(len(x)) or np.eye(3, dtype=np.float32)
    return types.SimpleNamespace(params={}, embed_pictures=embed)


def damage(path, content):
    path.unlink()
    os.mkfifo(path) if content is None else path.write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY", None])
def test_damaged_embeddings_are_made_anew(tmp_path, content):
    seen, images = [], types.SimpleNamespace(to_model=lambda x: x)
    find = lambda: embeddings._embedded(encoder_that_counts(seen), tmp_path, images, np.zeros((3, 2, 2, 1), np.uint8))
    first = find()
    np.testing.assert_array_equal(find(), first)
    assert len(seen) == 1
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    damage(path, content)
    np.testing.assert_array_equal(find(), first)
    assert path.read_bytes() == good
    np.save(path, first[:2])  # of other images
    np.testing.assert_array_equal(find(), first)
    assert len(seen) == 3
