"""Captions as conditions of a config: which are drawn, empty ones, the file of an encoder of one's own, crops."""

import re

import jax
import numpy as np
import pytest
import small_configs
from PIL import Image
from programs import changed, error_of

from experiments import data
from experiments.configs.images import smoke as digits
from experiments.data import captions, transforms
from experiments.data.conditions import sizes
from experiments.data.dataset import preprocess
from experiments.models.conditioning import conditions
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.loss import make_prepare
from scorekit.data import EncodedCaptions

RNG = np.random.default_rng(0)
TEXTS = ("a red square", "a green square", "a blue square")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 pictures with captions, every third without, and an encoder of these captions."""
    root = tmp_path_factory.mktemp("captioned")
    (root / "pictures").mkdir()
    for i in range(30):
        x = np.zeros((8, 8, 3), np.uint8)
        x[..., i % 3] = 200
        x[:, 0] = np.arange(8)[:, None] + 10 * i
        Image.fromarray(x).save(root / "pictures" / f"{i:02}.png")
        (root / "pictures" / f"{i:02}.txt").write_text("" if i % 3 == 2 else TEXTS[i % 3])
    states = RNG.normal(size=(3, 5, 6)).astype(np.float32)
    mask = np.array([[True] * 5, [True] * 4 + [False], [True] * 3 + [False] * 2])
    pooled = RNG.normal(size=(3, 4)).astype(np.float32)
    np.savez(root / "encoder.npz", captions=np.array(TEXTS), states=states, mask=mask, pooled=pooled)
    return root


def config_of(folder, **fields):
    config = small_configs.captioned()
    config.data.path, config.conditions.captions.encoder = str(folder / "pictures"), str(folder / "encoder.npz")
    config.data.update(fields)
    return config


@pytest.fixture(scope="module")
def dataset(folder):
    return data.build(config_of(folder))


def test_a_batch_has_the_tokens_of_its_captions_and_the_null_token_for_empty_ones(folder, dataset):
    batch = preprocess(dataset, dataset.batch(0, 0, 12))
    encoder = np.load(folder / "encoder.npz")
    kind = batch["raw"][:, 4, 4].argmax(-1)
    assert {0, 1, 2} == set(kind)
    expected = np.where((kind == 2)[:, None], False, encoder["mask"][kind])
    np.testing.assert_array_equal(batch["caption_mask"], expected)
    np.testing.assert_array_equal(batch["caption_states"][kind == 1][0], encoder["states"][1])
    config = config_of(folder)
    extracts = data.build_conditions(config, dataset)
    assert sizes(extracts, dataset) == {"vector_size": 4, "map_shape": None, "token_size": 6}
    model = build_model(config, dataset)
    given = conditions(model, batch)
    np.testing.assert_array_equal(given["vector"].present, kind != 2)
    assert given["tokens"].value.dtype == np.float32
    for name in ("caption_states", "caption_mask", "caption_pooled"):  # what metrics and held-out losses read
        assert len(dataset.train[name]) == 22
        assert len(dataset.test[name]) == 8


def test_the_caption_of_a_picture_is_drawn_from_all_of_its_own_by_seed_step_and_row():
    encoded = EncodedCaptions(np.arange(6.0)[:, None, None], np.ones((6, 1), bool), np.zeros((6, 1)))
    of_set = captions.Captions([*"abcdef"], encoded)
    batch = {"captions": of_set.rows_of([["a", "b ", "c"], ["d", "e", "f"]])[[0, 1] * 100]}
    assert of_set.rows_of(["b", [], ["c", "a"]]).tolist() == [[1, 1], [6, 6], [2, 0]]  # 6 is the empty caption
    drawn = of_set.drawn(batch, seed=0, step=1, first_row=0)["caption_states"].ravel()
    assert set(drawn[::2]) == {0, 1, 2}
    assert set(drawn[1::2]) == {3, 4, 5}
    part = of_set.drawn({"captions": batch["captions"][100:]}, seed=0, step=1, first_row=100)
    np.testing.assert_array_equal(part["caption_states"].ravel(), drawn[100:])
    assert np.any(of_set.drawn(batch, seed=0, step=2, first_row=0)["caption_states"].ravel() != drawn)


@pytest.mark.slow
def test_dropped_captions_are_dropped_with_the_class_and_the_map_stays(folder):
    config = config_of(folder)
    config.conditions.map.name = "average_pool"
    dataset = data.build(config)
    model = build_model(config, dataset)
    rates = {"labels": 0.0, "vector": 0.0, "tokens": 0.0, "dense_map": 0.0}
    prepare = jax.jit(make_prepare(model, dataset, rates, 0.0, 0.5))
    batch = dataset.batch(0, 0, 16)
    given = prepare(jax.random.key(0), batch)["conditions"]
    captioned, kept = batch["caption_mask"].any(1), np.asarray(given["labels"]) == 0
    assert 2 < kept.sum() < 14
    np.testing.assert_array_equal(given["vector"].present, kept & captioned)
    np.testing.assert_array_equal(np.asarray(given["tokens"].present).any(1), kept & captioned)
    assert np.all(given["dense_map"].present)


def test_a_crop_is_a_square_of_the_picture(folder):
    config = config_of(folder, image_crop=4)
    dataset = data.build(config)
    assert dataset.shape == dataset.test["x"].shape[1:] == (4, 4, 3)
    at_left = [x for step in range(8) for x in dataset.batch(0, step, 8)["x"] if x[0, 0, 0] == x[0, 0, 1]]
    tops = {int(x[0, 0, 0]) % 10 for x in at_left}
    assert len(tops) >= 4  # of the five positions
    message = error_of(data.build, config_of(folder, image_crop=9))
    assert re.search("config.data.image_crop=9: must be at most the side .* 8 x 8 here", message)


def test_images_are_averaged_down_to_a_size_that_divides_them():
    small, full = (data.build(changed(digits, f"data.image_size={size}")) for size in (4, None))
    assert small.shape == (4, 4, 1)
    np.testing.assert_array_equal(small.test["x"][7], transforms.pooled(full.test["x"][7], 2))
    message = error_of(data.build, changed(digits, "data.image_size=3"))
    assert re.search("config.data.image_size=3: must be a divisor of the side .* 8 x 8 here", message)


def test_captions_may_be_unused_and_are_needed_once_pictures_are_read(folder):
    unused = changed(config_of(folder), "conditions.tokens.name=none")
    checks.build(unused, data.build(unused))
    assert data.on_captions(changed(unused, "conditions.tokens.name=captions", "conditions.vector.name=none"))
    assert not data.on_captions(changed(unused, "conditions.vector.name=none", "conditions.captions.encoder=None"))
    lacking = changed(config_of(folder), "data.name=tfds")
    words = "config.conditions: tokens and vector must not be captions of sklearn_digits, which has none"
    assert error_of(checks.build, lacking, data.build(lacking)) == words
