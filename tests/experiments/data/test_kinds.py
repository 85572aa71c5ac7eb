"""The contract of every kind of data: batches by seed and step, parts of processes, held-out examples, samples."""

import itertools
import tarfile

import numpy as np
import pytest
import sound_sets
from PIL import Image
from programs import changed

from experiments import data
from experiments.configs.images import smoke
from experiments.data import KINDS
from experiments.data.builders import sets
from experiments.data.dataset import preprocess
from scorekit import audio
from scorekit.data import midi
from scorekit.data.phrases import random_phrase

SONGS = "train_split=train[:6] test_split=test[:3]"
FIELDS = {
    "captioned": "label=style",
    "captioned, cropped": "image_crop=4 augment=flip",
    "folder": "path={}/images",
    "folder, streamed": "path={}/images streaming=True workers=2 augment=flip",
    "midi": "path={}/songs",
    "notes": "label=family peak=0.5",
    "performances": SONGS,
    "phrases": "crop=1024",
    "ring": "",
    "rolls": SONGS,
    "simulator": "simulator=two_moons simulations=100",
    "sounds": "path={}/sounds crop=512 streaming=False",
    "sounds, streamed": "path={}/sounds crop=512 peak=0.5",
    "table": "path={}/table.csv condition=c",
    "tar": "path={}/images.tar streaming=True image_size=4 image_mode=L",
    "tfds": "image_size=4",
    "tfds, streamed": "train_split=train[:24] test_split=test[:9] streaming=True",
}
"""The fields of each kind, and of some of them in other ways; ``{}`` is a folder of files."""
DRAWN = (
    "captioned, cropped",
    "folder, streamed",
    "midi",
    "performances",
    "phrases",
    "ring",
    "rolls",
    "sounds, streamed",
)
"""Rows whose batches have windows, or transformed examples; of others an epoch has each training example once."""


def captioned(name, split, *_):
    """Images of two styles."""
    x = np.random.default_rng(split == "test").integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    style = np.arange(12, dtype=np.int32) % 2
    texts = tuple((f"a, {i}", "b") for i in style)
    return sets.CaptionedImages(x, texts, ("a",) * 12, style, ("noto", "twitter"), 0 * style, ("Symbols",))


def notes(name, split, *_):
    rng, i = np.random.default_rng(split == "test"), np.arange(12)
    return sound_sets.note_set(rng.uniform(-0.3, 0.3, (12, 2048)), 50 + i, i % 4, i % 4 // 2)


def phrases(name, split, *_):
    rng = np.random.default_rng(split == "test")
    return sound_sets.phrase_set(rng.integers(-9000, 9000, (6, 2048)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of images, the same as a tar file, songs, sounds and a table."""
    root, rng = tmp_path_factory.mktemp("kinds"), np.random.default_rng(0)
    for i in range(28):
        path = root / "images" / ("even", "odd")[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    with tarfile.open(root / "images.tar", "w") as tar:
        for path in sorted((root / "images").rglob("*.png")):
            tar.add(path, f"{path.parent.name}_{path.name}")
    (root / "songs").mkdir()
    for i in range(4):
        midi.write_score(root / "songs" / f"{i}.mid", random_phrase(i, 9.0))
        (root / "sounds" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        audio.write(root / "sounds" / "ab"[i % 2] / f"{i}.wav", rng.uniform(-0.5, 0.5, 3000), 4000)
    np.savetxt(root / "table.csv", rng.normal(size=(60, 3)), delimiter=",", header="a,b,c", comments="")
    return root


@pytest.fixture
def open_data(files, monkeypatch):
    """Opens the set of a row of the table."""
    monkeypatch.setattr(sets, "load_notes", notes)
    monkeypatch.setattr(sets, "load_phrases", phrases)
    monkeypatch.setattr(sets, "load_captioned", captioned)

    def opened(name):
        fields = [f"data.{text}" for text in FIELDS[name].format(files).split()]
        return data.build(changed(smoke, f"data.name={name.split(',')[0]}", *fields))

    return opened


def equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_the_table_has_every_kind():
    assert {name.split(",")[0] for name in FIELDS} == {*KINDS}


@pytest.mark.parametrize("name", FIELDS)
def test_batches_are_functions_of_seed_and_step_however_many_processes_read_them(open_data, name):
    dataset = open_data(name)
    batches = list(itertools.islice(dataset.batches(7, 0, 8), 4))
    assert {len(value) for batch in batches for value in batch.values()} == {8}
    for step in (1, 3):  # read anew, and as a run that begins there
        assert equal(dataset.batch(7, step, 8), batches[step])
        assert equal(next(dataset.batches(7, step, 8)), batches[step])
    assert not equal(dataset.batch(7, 1, 8), batches[0])
    assert not equal(dataset.batch(8, 1, 8), batches[1])
    for count in (2, 4):
        parts = [list(itertools.islice(dataset.batches(7, 2, 8, p, count), 2)) for p in range(count)]
        for i in (0, 1):
            joined = {field: np.concatenate([part[i][field] for part in parts]) for field in batches[0]}
            assert equal(joined, batches[2 + i])
    with pytest.raises(ValueError, match="batch_size must be a multiple of process_count = 3"):
        next(dataset.batches(7, 0, 8, 0, 3))


@pytest.mark.parametrize("name", FIELDS)
def test_held_out_examples_are_others_and_an_epoch_has_each_training_example_once(open_data, name):
    dataset = open_data(name)
    rows = lambda part: sorted(one.tobytes() for one in np.asarray(part["x"]))
    assert not {*rows(dataset.train)} & {*rows(dataset.test)}
    assert dataset.held_out() >= len(dataset.test["label"]) > 0
    for part in (dataset.train, dataset.test, dataset.batch(0, 0, 4)):
        assert part["label"].dtype == np.int32
        assert 0 <= part["label"].min() <= part["label"].max() < dataset.num_classes
    if name not in DRAWN:
        assert rows(dataset.batch(0, 0, dataset.examples)) == rows(dataset.train)


@pytest.mark.parametrize("name", FIELDS)
def test_examples_have_the_shape_of_the_network_and_real_ones_are_shown_as_samples(open_data, name):
    dataset = open_data(name)
    inputs = preprocess(dataset, dataset.batch(0, 0, 4))
    assert inputs["x"].shape[1:] == dataset.shape or dataset.only_symbols
    samples = dataset.real(dataset.test) if not dataset.only_symbols else dataset.test["x"]
    assert np.isfinite(samples).all()
    preview = dataset.preview()
    (shown, *_) = dataset.view(samples)
    assert len(shown) == len(samples)
    assert len(dataset.named(preview.labels)) == len(preview.labels)
    if not dataset.only_symbols:
        np.testing.assert_allclose(dataset.from_model(dataset.inputs(dataset.test)), samples, atol=1e-4)
