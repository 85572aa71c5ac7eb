"""A user's own images as a data set: in memory and streamed, split, augmented, and what is wrong with a config."""

import re
import warnings

import jax
import numpy as np
import pytest
from PIL import Image
from programs import changed, error_of, validate

from experiments import data
from experiments.configs.images import smoke
from experiments.data import images
from experiments.data.dataset import preprocess
from experiments.data.transforms import augmented
from experiments.models.conditioning import conditions_for
from experiments.tasks.diffusion.build import build_model, dropout_rates, untrained_nulls
from experiments.tasks.diffusion.loss import make_prepare


def load(**fields):
    config = changed(smoke, *(f"data.{name}={value}" for name, value in fields.items()))
    validate(config)
    return data.build(config)


def write(path, x):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(x, np.uint8)).save(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """28 grey pictures of two classes, each of one value but for a pixel on the left."""
    root = tmp_path_factory.mktemp("own") / "pictures"
    for i in range(28):
        x = np.full((8, 8), 9 * i)
        x[4, 0] = 255
        write(root / ("even", "odd")[i % 2] / f"{i:02}.png", x)
    return root


def values(batch):
    return batch["x"][:, 0, 0, 0] // 9


def test_a_folder_in_memory_has_a_held_out_part(pictures):
    dataset = load(name="folder", path=pictures)
    assert (dataset.name, dataset.shape, dataset.num_classes, dataset.bins) == ("pictures", (8, 8, 1), 2, 256)
    assert (dataset.examples, dataset.streaming, len(dataset.test["x"])) == (20, False, 8)
    assert dataset.summary() == "pictures, 20 images, 2 classes (even, odd), 8 held out"
    assert dataset.named([1, 0, 2]) == ["odd", "even", "2"]
    assert [dataset.num_samples(given) for given in (None, 40)] == [20, 40]
    odd = pictures / "odd"
    assert f"config.data.path={odd}: there must be at least 8 images" in error_of(load, name="folder", path=odd)
    assert "there are 6 and 8" in error_of(load, name="folder", path=odd)
    words = "config.data.path=/nowhere: path must be a folder of pictures"
    assert error_of(load, name="folder", path="/nowhere").startswith(words)
    batch = dataset.batch(0, 3, 6)
    np.testing.assert_array_equal(batch["label"], values(batch) % 2)


def test_white_shapes_on_transparent_pixels_are_said_to_vanish(tmp_path):
    for i in range(20):
        x = np.full((8, 8, 4), 255 if i < 5 else 7 * i)
        x[:3, :, 3] = 0
        write(tmp_path / f"{i:02}.png", x)
    with pytest.warns(UserWarning, match="[1-5] of 12 images have one value only; the pixels behind transparent ones"):
        load(name="folder", path=tmp_path, image_mode="RGB")


def test_augmentations_differ_from_row_to_row_and_step_to_step():
    x = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(64, axis=0)
    changed_by = lambda name, step: augmented(name, {"x": x}, 256, seed=0, step=step, first_row=0)["x"]
    assert set(changed_by("crop", 0)[:, 4, 4, 0].tolist()) == {36 + 8 * i + j for i in (-1, 0, 1) for j in (-1, 0, 1)}
    first, second = (changed_by("flip", step)[:, 0, 0, 0] == 7 for step in (0, 1))
    assert 10 < first.sum() < 54
    assert (first != second).any()


def test_sets_of_tfds_stream_if_they_are_too_large_for_memory(monkeypatch):
    memory = load()
    words = "sklearn_digits, 1,500 images, 10 classes (0, 1, …), 297 held out"
    assert (memory.streaming, memory.summary(), memory.bins, memory.shape) == (False, words, 17, (8, 8, 1))
    monkeypatch.setattr(images, "IN_MEMORY", 1500 * 64 - 1)
    monkeypatch.setattr(images, "_SAMPLE_BYTES", 100 * 64)
    disk = load()
    assert (disk.streaming, disk.summary(), disk.class_names) == (True, words, tuple("0123456789"))
    assert (len(disk.train["x"]), len(disk.test["x"])) == (100, 100)
    rows = lambda part: sorted((int(k), x.tobytes()) for x, k in zip(part["x"], part["label"], strict=True))
    assert rows(disk.batch(0, 0, 1500)) == rows(memory.train)
    for streaming in (False, True):
        one = load(streaming=streaming, label="none")
        assert (one.streaming, one.num_classes, one.labelled) == (streaming, 1, False)
        assert not any([*one.batch(0, 0, 4)["label"], *one.test["label"]])


def test_folders_of_the_splits_are_the_sets_and_do_not_lead_out_of_the_data(tmp_path, pictures):
    for split, count in (("train", 9), ("val", 8)):
        for i in range(count):
            write(tmp_path / split / "a" / f"{i}.png", np.full((8, 8, 3), i))
    dataset = load(name="folder", path=tmp_path, test_split="val")
    assert (dataset.examples, len(dataset.test["x"]), dataset.num_classes) == (9, 8, 1)
    words = f"config.data.test_split=test: must be a folder in {tmp_path}, which has train, val"
    assert words in error_of(load, name="folder", path=tmp_path)
    write(tmp_path / "val" / "b" / "1.png", np.zeros((8, 8, 3)))
    words = "data.test_split=val: must be a folder with the classes of train"
    assert words in error_of(load, name="folder", path=tmp_path, test_split="val")
    linked = tmp_path / "linked"
    linked.symlink_to(pictures)
    assert load(name="folder", path=linked).num_classes == 2


@pytest.mark.parametrize("streaming", [False, True])
def test_a_damaged_picture_ends_the_run_or_is_left_out(pictures, tmp_path, streaming):
    for i in range(28):
        (tmp_path / f"{i:02}.png").write_bytes((pictures / ("even", "odd")[i % 2] / f"{i:02}.png").read_bytes())
    (tmp_path / "05.png").write_text("damaged")
    fields = {"name": "folder", "path": tmp_path, "streaming": streaming}

    def epoch(dataset):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read = values(dataset.batch(0, 0, 20)).tolist()
        return read, [str(warning.message) for warning in caught]

    message = error_of(lambda: epoch(load(**fields)))
    assert re.match("config.data.*05.png is not a picture; .*on_error=skip", message)
    with warnings.catch_warnings(record=True) as loading:
        warnings.simplefilter("always")
        dataset = load(**fields, on_error="skip")
        assert len(dataset.train["x"]) == 19
    assert len(loading) == 1  # of what is kept in memory
    read, warned = epoch(dataset)
    assert 5 not in read
    if streaming:
        assert read.count(6) == 2  # in its place
        assert len(warned) == 1
        assert warned[0].startswith("1 examples could not be read")


@pytest.mark.slow
def test_augmentation_of_edm_reaches_the_network_as_its_vector():
    config = changed(smoke, "data.augment=edm", "conditions.vector.name=augmentation")
    dataset = data.build(config)
    vector = data.build_conditions(config, dataset)["vector"]
    batch = dataset.batch(3, 4, 64)
    labels = np.asarray(vector(preprocess(dataset, batch)))
    assert labels.shape == (64, 9)
    untouched = (labels == 0).all(1)
    assert 0 < untouched.sum() < 64
    plain = load().batch(3, 4, 64)
    np.testing.assert_array_equal(batch["x"][untouched], plain["x"][untouched])
    assert (batch["x"] != plain["x"]).any((1, 2, 3)).sum() > 5
    assert batch["x"].dtype == np.uint8
    assert batch["x"].max() <= 16
    assert not np.asarray(vector(preprocess(dataset, dataset.test))).any()  # examples as they are, to sample at
    model = build_model(config, dataset)
    prepared = make_prepare(model, dataset, dropout_rates(config))(jax.random.key(0), batch)
    np.testing.assert_array_equal(prepared["conditions"]["vector"].present, ~untouched)  # never dropped
    assert untrained_nulls(config) == []  # guidance may use the null token, which means an image as it is
    assert not conditions_for(model, dataset, [0, 1])["vector"].present.any()
