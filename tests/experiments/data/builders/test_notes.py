"""The data set of single notes: labels, amplitudes, splits, determinism; and reading it and NSynth into memory."""

import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from experiments.data.builders import notes
from experiments.data.builders.notes import NotesConfig, SoundfontNotes, is_test
from experiments.data.builders.sets import load_notes
from scorekit.data.tfds import tensorflow_stand_in

SMALL = {"sample_rate": 4000, "programs": (0, 40, 73), "pitches": range(60, 68), "velocities": (50, 127)}


def small(data_dir, **changes):
    config = NotesConfig(name="small", description="a few notes", **{**SMALL, **changes})
    builder = SoundfontNotes(data_dir=data_dir, config=config, file_format="array_record")
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    small(folder)
    return folder


@pytest.fixture(scope="module")
def sets(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SoundfontNotes, "BUILDER_CONFIGS", [NotesConfig(name="small", description="", **SMALL)])
        return {split: load_notes("soundfont_notes/small", split, folder) for split in ("train", "test")}


def test_labels_and_shapes(sets):
    train, test = sets["train"], sets["test"]
    assert (len(train.x), len(test.x)) == (42, 6)
    assert train.x.shape[1:] == (4096,)
    assert train.x.dtype == np.int16
    assert (train.sample_rate, train.name) == (4000, "soundfont_notes/small")
    np.testing.assert_array_equal(train.family, train.instrument // 8)
    assert {train.instruments[i] for i in train.instrument} == {"Acoustic Grand Piano", "Violin", "Flute"}
    assert {train.families[i] for i in train.family} == {"Piano", "Strings", "Pipe"}
    assert (len(train.instruments), len(train.families)) == (128, 16)


def test_splits_share_no_pitch_of_an_instrument(sets):
    pairs = {split: set(zip(s.instrument.tolist(), s.pitch.tolist(), strict=True)) for split, s in sets.items()}
    assert pairs["train"] | pairs["test"] == {(i, p) for i in SMALL["programs"] for p in SMALL["pitches"]}
    assert not pairs["train"] & pairs["test"]
    tested = np.array([[is_test(program, pitch) for pitch in range(36, 85)] for program in range(112)])
    assert set(tested.sum(axis=1)) == {6, 7}  # all instruments ...
    assert tested.sum(axis=0).min() >= 14  # ... and all pitches have test notes
    for s in sets.values():
        assert np.sum(s.velocity == 50) == np.sum(s.velocity == 127) == len(s.x) // 2


def test_peaks_are_proportional_to_the_squared_velocity(sets):
    train = sets["train"]
    peaks = np.abs(train.x.astype(int)).max(axis=1)
    np.testing.assert_array_equal(peaks[train.velocity == 127], round(0.9 * 32768))
    np.testing.assert_allclose(peaks[train.velocity == 50], 0.9 * 32768 * (50 / 127) ** 2, rtol=1e-3)


def test_notes_have_the_pitch_of_their_label(sets):
    """The strongest partial of every note is an integer multiple of its fundamental."""
    for s in sets.values():
        spectra = np.abs(np.fft.rfft(s.x * np.hanning(4096)))
        strongest = spectra[:, 40:].argmax(axis=1) + 40
        harmonic = strongest * 4000 / 4096 / (440 * 2 ** ((s.pitch - 69) / 12))
        assert np.all(np.abs(harmonic - np.round(harmonic)) < 0.02)


def test_preparation_is_deterministic(sets, folder, tmp_path):
    digest = lambda source: hashlib.sha256(b"".join(e["audio"].tobytes() for e in source)).hexdigest()
    one, two = (b.as_data_source("train+test") for b in (small(folder), small(tmp_path)))
    assert digest(one) == digest(two)


def test_silent_notes_are_left_out(tmp_path, monkeypatch):
    render = notes.render_note
    monkeypatch.setattr(notes, "render_note", lambda f, p, pitch, *a, **k: render(f, p, pitch, *a, **k) * (pitch != 61))
    builder = small(tmp_path, programs=(0,), velocities=(100,))
    assert {int(e["pitch"]) for e in builder.as_data_source("train+test")} == set(range(60, 68)) - {61}


def test_builder_configs(tmp_path):
    assert [c.name for c in SoundfontNotes.BUILDER_CONFIGS] == ["4khz", "8khz", "16khz"]
    for rate, length in ((4, 4096), (8, 8192), (16, 16384)):
        builder = tfds.builder(f"soundfont_notes/{rate}khz", data_dir=tmp_path, file_format="array_record")
        assert builder.info.features["audio"].shape == (length,)
        assert builder.info.metadata["sample_rate"] == 1000 * rate


class Nsynth(tfds.core.GeneratorBasedBuilder):
    """Features and config of TFDS's own nsynth, which cannot be constructed without TensorFlow."""

    VERSION = tfds.core.Version("2.3.3")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="gansynth_subset", description="")]  # noqa: RUF012

    def _info(self):
        f = tfds.features
        kinds = {
            "label": f.ClassLabel(names=["guitar_acoustic_001", "flute_acoustic_002"]),
            "family": f.ClassLabel(names=["flute", "guitar"]),
            "source": f.ClassLabel(names=["acoustic", "electronic"]),
        }
        features = {
            "id": f.Text(),
            "audio": f.Audio(shape=(64000,), dtype=np.float32, sample_rate=16000),
            "pitch": f.ClassLabel(num_classes=128),
            "velocity": f.ClassLabel(num_classes=128),
            "instrument": kinds,
            "qualities": {"bright": np.bool_},
        }
        return tfds.core.DatasetInfo(builder=self, features=f.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            yield (
                i,
                {
                    "id": f"note_{i}",
                    "audio": np.full(64000, 0.25 * i, np.float32),
                    "pitch": 60 + i,
                    "velocity": 100,
                    "instrument": {"label": i % 2, "family": 1 - i % 2, "source": 0},
                    "qualities": {"bright": True},
                },
            )


@pytest.fixture(scope="module")
def nsynth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nsynth")
    with tensorflow_stand_in():
        Nsynth(data_dir=folder, config="gansynth_subset", file_format="array_record").download_and_prepare()
    return folder


def test_load_notes_reads_a_prepared_nsynth(nsynth):
    read = load_notes("nsynth/gansynth_subset", "train", nsynth)
    assert (read.sample_rate, read.name) == (16000, "nsynth/gansynth_subset")
    order = np.argsort(read.pitch)
    np.testing.assert_array_equal(read.pitch[order], [60, 61, 62])
    np.testing.assert_array_equal(read.x[order, 0], [0, 8192, 16384])
    np.testing.assert_array_equal(read.family[order], [1, 0, 1])
    assert read.instruments == ("guitar_acoustic_001", "flute_acoustic_002")
    assert len(load_notes("nsynth/gansynth_subset", "train[:2]", nsynth).x) == 2
