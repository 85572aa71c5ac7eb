"""The Inception network, its input and the metrics of its features are those of the packages that papers use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors

from scorekit import metrics
from scorekit.io.formats import inception
from scorekit.io.tensors import Tensors


@pytest.fixture(scope="module")
def file():
    return random_tensors.load("inception")


@pytest.fixture(scope="module")
def golden(file):
    return file[2]


def relative(ours, theirs):
    return float(np.max(np.abs(np.asarray(ours) - theirs)) / np.max(np.abs(theirs)))


@pytest.mark.slow
def test_features_are_those_of_torch_fidelity_and_pytorch_fid(file, golden):
    tensors = file[0]
    assert inception.recognises(tensors)
    assert not inception.recognises(["fc.weight"])
    assert sum(value.size for value in tensors.values()) == 23_885_392
    network, params = inception.convert(Tensors(tensors))
    images = golden["images"]
    inputs = [metrics.inception_input(images, convention) for convention in ("tf1", "torch")]
    found = jax.jit(network.apply)({"params": params}, jnp.concatenate(inputs))
    errors = {f"tf1/{name}": relative(found[name][:2], golden[f"tf1/{name}"]) for name in found}
    errors["torch/2048"] = relative(found["2048"][2:], golden["torch/2048"])
    assert max(errors.values()) <= 1e-4, errors
    different = {name: relative(golden[name][:1], golden[name][1:]) for name in errors}
    assert min(different.values()) > 1e-2, different  # else the images would not matter
    assert relative(golden["torch/2048"], golden["tf1/2048"]) > 1e-3


def test_files_that_are_no_weights_are_named(tmp_path):
    for name in ("a.safetensors", "b.pth"):
        with pytest.raises(ValueError, match=f"path must be .*file of .* weights, got {tmp_path / name}"):
            inception.load(tmp_path / name)
        (tmp_path / name).write_bytes(b"neither")
        with pytest.raises(ValueError, match=str(tmp_path / name)):
            inception.load(tmp_path / name)


@pytest.mark.parametrize("side", [13, 5])
def test_images_are_resized_as_by_each_package(golden, side):
    images, name = golden["resize/input"], {13: "larger", 5: "smaller"}[side]
    ours = {c: np.asarray(metrics.resize(images, side, c)) for c in ("tf1", "torch", "clean")}
    theirs = {c: golden[f"resize/{c}/{name}"] for c in ours}
    np.testing.assert_array_equal(ours["tf1"], theirs["tf1"])
    np.testing.assert_allclose(ours["torch"], theirs["torch"], rtol=0, atol=5e-5)  # of 255
    np.testing.assert_allclose(ours["clean"], theirs["clean"], rtol=0, atol=1e-4)
    assert np.abs(theirs["tf1"] - theirs["torch"]).max() > 1
    assert np.abs(theirs["torch"] - theirs["clean"]).max() > 1


def test_grey_images_are_repeated_and_each_convention_has_its_scale():
    black_and_white = np.broadcast_to(np.array([0, 255], np.uint8)[:, None, None, None], (2, 4, 4, 1))
    for convention, ends in {"tf1": [-1, 127 / 128], "torch": [-1, 1]}.items():
        found = np.asarray(metrics.inception_input(black_and_white, convention))
        assert found.shape == (2, 299, 299, 3)
        np.testing.assert_array_equal(found, np.broadcast_to(np.reshape(ends, (2, 1, 1, 1)), found.shape))


def test_metrics_of_the_same_features_are_those_of_torch_fidelity(golden):
    fake, real, logits = (golden[f"metrics/{name}"] for name in ("fake", "real", "logits"))
    for name, number in {"many": 50, "few": 6}.items():
        both = [metrics.feature_statistics(part[:number]) for part in (fake, real)]
        np.testing.assert_allclose(metrics.fid(*both), golden[f"metrics/fid/{name}"], rtol=1e-7)
    np.testing.assert_allclose(
        metrics.kid(real, fake, num_subsets=7, subset_size=20), golden["metrics/kid"], rtol=1e-10
    )
    np.testing.assert_allclose(metrics.inception_score(logits, num_splits=4), golden["metrics/isc"], rtol=1e-12)
    found = jax.jit(metrics.precision_recall)(real, fake)
    np.testing.assert_allclose(found, golden["metrics/precision_recall"], rtol=1e-6)
    assert 0 < found.recall < found.precision < 1
