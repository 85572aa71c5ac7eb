"""A user's own images as a data set: in memory and streamed, split, augmented, and what is wrong with a config."""

import io
import itertools
import re
import tarfile
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
    assert sorted([*values(dataset.train), *values(dataset.test)]) == list(range(28))
    odd = pictures / "odd"
    assert f"config.data.path={odd}: there must be at least 8 images" in error_of(load, name="folder", path=odd)
    assert "there are 6 and 8" in error_of(load, name="folder", path=odd)
    words = "config.data.path=/nowhere: path must be a folder of pictures"
    assert error_of(load, name="folder", path="/nowhere").startswith(words)
    batch = dataset.batch(0, 3, 6)
    np.testing.assert_array_equal(batch["label"], values(batch) % 2)
    np.testing.assert_array_equal(batch["x"], next(dataset.batches(0, 3, 6))["x"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("augment", [None, "flip"])
def test_batches_are_a_function_of_the_seed_and_step(pictures, streaming, augment):
    dataset = load(name="folder", path=pictures, streaming=streaming, workers=2, augment=augment)
    assert dataset.streaming == streaming
    whole = list(itertools.islice(dataset.batches(7, 0, 8), 4))
    for count in (2, 4):
        parts = [list(itertools.islice(dataset.batches(7, 2, 8, p, count), 2)) for p in range(count)]
        for step in (0, 1):
            for name in ("x", "label"):
                joined = np.concatenate([part[step][name] for part in parts])
                np.testing.assert_array_equal(joined, whole[2 + step][name])
    np.testing.assert_array_equal(dataset.batch(7, 1, 8)["x"], whole[1]["x"])
    left = np.concatenate([batch["x"][:, 4, 0, 0] == 255 for batch in whole])
    assert left.all() if augment is None else 4 < left.sum() < 28
    seen = np.concatenate([values(batch) for batch in whole])[:20]
    assert sorted(seen) == sorted(values(dataset.train))  # an epoch
    with pytest.raises(ValueError, match="batch_size must be a multiple of process_count = 3"):
        dataset.batches(7, 0, 8, 0, 3)


def test_tfds_streams_the_examples_that_are_in_memory():
    memory, disk = (load(streaming=streaming) for streaming in (False, True))
    assert memory.class_names == disk.class_names == tuple("0123456789")
    words = "sklearn_digits, 1,500 images, 10 classes (0, 1, …), 297 held out"
    assert memory.summary() == disk.summary() == words
    assert not load().streaming
    assert (disk.examples, disk.bins, disk.shape) == (memory.examples, 17, (8, 8, 1))
    batches = list(itertools.islice(disk.batches(0, 0, 500), 3))
    x, label = (np.concatenate([batch[name] for batch in batches]) for name in ("x", "label"))
    rows = lambda x, label: sorted((int(k), image.tobytes()) for image, k in zip(x, label, strict=True))
    assert rows(x, label) == rows(memory.train["x"], memory.train["label"])
    np.testing.assert_array_equal(disk.test["x"], memory.test["x"])
    for streaming in (False, True):
        one = load(streaming=streaming, label="none")
        assert (one.num_classes, one.labelled, *one.batch(0, 0, 4)["label"], *one.test["label"]) == (
            1,
            False,
            *[0] * 301,
        )


def test_sets_that_are_too_large_for_memory_stream_by_default(monkeypatch):
    monkeypatch.setattr(images, "IN_MEMORY", 1500 * 64)
    assert not load().streaming
    monkeypatch.setattr(images, "IN_MEMORY", 1500 * 64 - 1)
    monkeypatch.setattr(images, "_SAMPLE_BYTES", 100 * 64)
    dataset = load()
    assert dataset.streaming
    assert (dataset.examples, len(dataset.train["x"]), len(dataset.test["x"])) == (1500, 100, 100)
    assert not load(streaming=False).streaming


def test_folders_of_the_splits_are_the_sets(tmp_path):
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


def test_tar_files_are_found_by_folder_file_and_pattern(tmp_path):
    for shard in range(3):
        with tarfile.open(tmp_path / f"train-{shard}.tar", "w") as file:
            for i in range(16):
                content = io.BytesIO()
                Image.new("RGB", (12, 8), (shard, i, 0)).save(content, "png")
                info = tarfile.TarInfo(f"{i}.png")
                info.size = len(content.getvalue())
                file.addfile(info, io.BytesIO(content.getvalue()))
    for path, count in ((tmp_path, 48), (tmp_path / "train-1.tar", 16), (tmp_path / "train-[01].tar", 32)):
        dataset = load(name="tar", path=path, image_size=8, image_mode="L", streaming=True)
        assert dataset.examples == count - 8
        assert next(dataset.batches(0, 0, 4))["x"].shape == (4, 8, 8, 1)
    for path in (tmp_path / "nothing-*.tar", tmp_path / "x"):
        words = f"config.data.path={path}: paths must be a folder of tar files, one tar file, or"
        assert error_of(load, name="tar", path=path).startswith(words)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_damaged_picture_ends_the_run_or_is_left_out(pictures, tmp_path, streaming):
    for i in range(28):
        (tmp_path / f"{i:02}.png").write_bytes((pictures / ("even", "odd")[i % 2] / f"{i:02}.png").read_bytes())
    (tmp_path / "05.png").write_text("damaged")
    fields = {"name": "folder", "path": tmp_path, "streaming": streaming}

    def epoch(dataset):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            batches = dataset.batches(0, 0, 20)
            found = sorted(values(next(batches)).tolist())
            batches.close()
        return found, [str(warning.message) for warning in caught]

    message = error_of(lambda: epoch(load(**fields)))
    assert re.match("config.data.*05.png is not a picture; .*on_error=skip", message)
    with warnings.catch_warnings(record=True) as loading:
        warnings.simplefilter("always")
        dataset = load(**fields, on_error="skip")
        assert len(dataset.train["x"]) == 19
    assert len(loading) == 1  # of what is kept in memory
    found, warned = epoch(dataset)
    assert 5 not in found
    if streaming:
        assert found.count(6) == 2  # in its place
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


def test_augmentations_differ_from_row_to_row_and_step_to_step():
    x = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(64, axis=0)
    changed_by = lambda name, step: augmented(name, {"x": x}, 256, seed=0, step=step, first_row=0)["x"]
    assert set(changed_by("crop", 0)[:, 4, 4, 0].tolist()) == {36 + 8 * i + j for i in (-1, 0, 1) for j in (-1, 0, 1)}
    first, second = (changed_by("flip", step)[:, 0, 0, 0] == 7 for step in (0, 1))
    assert 10 < first.sum() < 54
    assert (first != second).any()
    assert changed_by(None, 0) is x


def test_links_do_not_lead_out_of_the_data(tmp_path, pictures):
    """Neither folders of the splits nor tar files that are found in a folder; a path that is typed may be a link."""
    linked = tmp_path / "linked"
    linked.symlink_to(pictures)
    assert load(name="folder", path=linked).num_classes == 2
    root = tmp_path / "data"
    root.mkdir()
    for split in ("train", "test"):
        (root / split).symlink_to(pictures)
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "a.tar").symlink_to("/dev/zero")
    for name, path, words in (
        ("folder", root, r"data: .*train: must be in .*data, it is .*pictures"),
        ("tar", tmp_path / "tars", r": .*a\.tar: must be in .*tars, it is /dev/zero"),
        ("tar", tmp_path / "tars" / "a.tar", r": .*a\.tar: must be a regular file, it is a device"),
    ):
        assert re.fullmatch(f"config.data.path=.*{words}", error_of(load, name=name, path=path))
