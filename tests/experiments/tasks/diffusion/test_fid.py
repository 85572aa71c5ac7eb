"""FID of a run and its references: their files, what they must agree on, and continuing where a program was killed.

A small network stands for the Inception network, which has the tests of its package.
"""

import re

import numpy as np
import pytest
import small_inception
from parameters import random_params
from small_inception import CHECKSUM, IMAGES

from experiments import data
from experiments.cli.config import ConfigError
from experiments.configs.images import digits
from experiments.models.samples import PartialSamples
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion.build import build_model, make_sampler
from experiments.tasks.diffusion.metrics import fid, inception
from experiments.tasks.diffusion.report import inception_tables
from scorekit import metrics


@pytest.fixture
def small(monkeypatch, tmp_path):
    return small_inception.install(monkeypatch, tmp_path)


@pytest.fixture
def extract(small):
    return inception.Extractor(str(small), "tf1", "--weights=…")


def read(path, extract):
    return inception.read_reference(str(path), extract, "reference")


def test_references_are_written_and_read_and_images_of_others_are_measured(extract, tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "ROWS", 8)
    features = extract.of_bytes(IMAGES)
    assert features.shape == (20, 12)
    np.testing.assert_allclose(extract(IMAGES / 127.5 - 1), features, rtol=1e-6)
    found = inception.reference_of(extract, iter([IMAGES[:3], IMAGES[3:15], IMAGES[15:]]), 9, "here")
    np.testing.assert_array_equal(found.features, features[:9, :5])
    pool, spatial = (metrics.feature_statistics(part) for part in (features[:, :5], features[:, 5:9]))
    for ours, theirs in ((found.pool, pool), (found.spatial, spatial)):
        np.testing.assert_allclose(ours.covariance, theirs.covariance, rtol=1e-6)
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-6)

    again = read(inception.write_reference(tmp_path / "own.npz", found, extract), extract)
    np.testing.assert_array_equal(again.spatial.covariance, found.spatial.covariance)
    assert again.pool.count == 20
    assert again.about == "own.npz, 20 images"
    np.savez(tmp_path / "edm.npz", mu=pool.mean, sigma=pool.covariance)
    edm = read(tmp_path / "edm.npz", extract)
    assert metrics.fid(edm.pool, found.pool) < 1e-6 * np.trace(pool.covariance)
    assert edm.pool.count is edm.spatial is edm.features is None
    assert edm.about == "edm.npz, of others: how they resized is not in it"
    np.savez(tmp_path / "adm.npz", arr_0=IMAGES[:7], mu=pool.mean, sigma=pool.covariance)
    adm = read(tmp_path / "adm.npz", extract)
    np.testing.assert_array_equal(adm.pool.mean, pool.mean)  # not those of the few images
    np.testing.assert_array_equal(adm.features, features[:7, :5])
    np.savez(tmp_path / "images.npz", IMAGES)
    np.testing.assert_allclose(read(tmp_path / "images.npz", extract).pool.mean, pool.mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"resize": "clean"}, "features have resize clean, the samples have tf1"),
        ({"weights": "1" * 64}, "have weights 1{64}, the samples have 0{64}"),
        ({"x": np.zeros(2)}, "must hold mu and sigma, or images as arr_0; it has x"),
        ({"mu": np.zeros(4), "sigma": np.eye(4)}, r"must be \(5,\) and \(5, 5\), got \(\(4,\), \(4, 4\)\)"),
        ({"arr_0": np.zeros((3, 4, 4, 3))}, r"uint8 images \(N, H, W, 3\), at least 2, got float64 \(3, 4, 4, 3\)"),
    ],
)
def test_references_that_do_not_fit_are_named(extract, tmp_path, arrays, message):
    np.savez(tmp_path / "reference.npz", **arrays)
    with pytest.raises(ConfigError, match=f"reference: .*{message}"):
        read(tmp_path / "reference.npz", extract)


class Killed(Exception):
    """In place of the end of a process."""


@pytest.mark.slow
def test_the_fid_continues_where_it_was_killed_and_is_printed_with_what_decides_it(small, tmp_path, monkeypatch):
    config = digits.get_config("dit")
    config.network.update(width=16, depth=1, heads=1)
    config.sampling.update(steps=2, batch_size=8)
    config.evaluation.update(guidance_scales=(1.0,))
    config.evaluation.fid.update(weights=str(small), num_samples=20, repeats=2)
    dataset = data.build(config)
    model = build_model(config, dataset)
    params, generate = random_params(model, 0.02), make_sampler(config, model, dataset)
    batches, drawn, most = PartialSamples.batches, [], [2]

    def counting(self, digest, num, size, draw):
        def once(i):
            if len(drawn) == most[0]:
                raise Killed
            drawn.append(i)
            return draw(i)

        return batches(self, digest, num, size, once)

    def metrics_with(partial):
        return fid.inception_metrics(config, dataset, params, generate, fid.prepare(config, dataset), partial)

    monkeypatch.setattr(PartialSamples, "batches", counting)
    partial = PartialSamples(tmp_path / "partial")
    with pytest.raises(Killed):
        metrics_with(partial)
    assert drawn == [0, 1]
    assert np.load(next((tmp_path / "partial").glob("*/batch_00001.npy"))).shape == (8, 12)  # features, no samples
    most[0] = 100
    found = metrics_with(partial)
    assert drawn == [0, 1, 2, 0, 1, 2]  # the first set once, then the second
    assert found == metrics_with(None)

    row = found.rows["γ = 1"]
    mean, error, least = (row[name] for name in ("FID", "standard error", "minimum of 2"))
    np.testing.assert_allclose(mean - error, least, rtol=1e-6)  # of two values
    assert error > 0
    assert list(row)[3:] == ["sFID", "Inception score", "KID", "precision", "recall"]
    assert found.values()["Inception/γ = 1/FID"] == mean
    text = tables_as_text(inception_tables(found))
    assert re.search(rf"^20 +2 +tf1 +{CHECKSUM} +training images of .*, 1,500 images$", text, re.MULTILINE), text
