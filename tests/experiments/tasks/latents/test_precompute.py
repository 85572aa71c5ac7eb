"""``experiments.tasks.latents.precompute``, and the latents that training reads from its folder."""

import json
import os

import jax
import numpy as np
import pytest
from golden import random_tensors
from PIL import Image
from programs import error_of, succeeds

from experiments import data
from experiments.cli.config import ConfigError
from experiments.configs.images import smoke
from experiments.tasks.latents import pretrained
from experiments.tasks.latents.pretrained import open_autoencoder

RNG = np.random.default_rng(0)


def save_weights(folder):
    """The autoencoder of the golden file ``autoencoder_kl.npz``, as diffusers stores it."""
    save_file = pytest.importorskip("safetensors.numpy").save_file
    named, *_ = random_tensors.load("autoencoder_kl")
    folder.mkdir()
    own = {name.removeprefix("quant."): value for name, value in named.items() if name.startswith("quant.")}
    save_file(own, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps({"scaling_factor": 0.5, "norm_num_groups": 4}))
    return folder


def config_of(pictures, latents, **fields):
    config = smoke.get_config()
    config.data.update({"name": "folder", "path": str(pictures), "image_size": 8, "image_mode": "RGB", **fields})
    config.latents = str(latents)
    return config


@pytest.mark.slow
def test_latents_are_written_once_and_read_by_training(tmp_path):
    weights, pictures, out = save_weights(tmp_path / "vae"), tmp_path / "pictures", tmp_path / "out"
    for i in range(30):
        path = pictures / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    flags = [f"--weights={weights}", f"--data={pictures}", f"--out={out}", "--batch=8"]
    assert "22 of 22 images" in succeeds("tasks.latents.precompute", *flags, "--config.data.image_size=8")

    kept = data.load(config_of(pictures, out))
    assert kept.shape == (2, 2, 4)
    first = open_autoencoder(weights, "--weights")
    encode = jax.jit(lambda x: first.module.apply(first.params, kept.inner.to_model(x), method="encode"))
    batch = kept.batch(0, 3, 8)
    rows = [np.flatnonzero((np.load(out / "x.npy") == z).all((1, 2, 3)))[0] for z in batch["x"]]
    np.testing.assert_allclose(batch["x"], encode(kept.inner.train["x"][rows]), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(batch["label"], kept.inner.train["label"][rows])
    x = np.load(out / "x.npy")
    np.save(out / "x.npy", 2 * x)
    streamed = data.load(config_of(pictures, out, streaming=True))
    assert streamed.streaming
    np.testing.assert_array_equal(streamed.batch(0, 3, 8)["x"], 2 * batch["x"])
    np.testing.assert_allclose(streamed.train["x"], x, rtol=1e-4, atol=1e-5)  # a sample, encoded to be evaluated
    assert kept.from_model(batch["x"]).shape == (8, 8, 8, 3)

    words = f"config.latents={out}: is of images with image_size=8, these have 16"
    assert words in error_of(data.load, config_of(pictures, out, image_size=16))
    (weights / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"its autoencoder is no longer in .*; correct the path in precomputed.json"):
        data.load(config_of(pictures, out))
    (pictures / "a" / "00.png").unlink()
    assert "is of images with examples=22, these have 21" in error_of(data.load, config_of(pictures, out))


def test_weights_need_a_network_and_a_scale(tmp_path):
    weights = save_weights(tmp_path / "vae")
    assert open_autoencoder(tmp_path, "--weights").module.scaling_factor == 0.5  # a pipeline
    (weights / "config.json").write_text('{"act_fn": "relu"}')
    words = "--weights: config.json: act_fn must be 'silu' or 'swish', got 'relu'"
    assert words in error_of(open_autoencoder, weights, "--weights")
    (weights / "config.json").unlink()
    words = "--weights: must be a folder with config.json and one of diffusion_"
    assert words in error_of(open_autoencoder, weights, "--weights")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", b"\x93NUMPY\1\0\x4c\0{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000,)}".ljust(88)),
        ("x.npy", None),
        ("label.npy", "/dev/zero"),
        ("precomputed.json", b"[" * 10**5),
        ("precomputed.json", b'{"data": {}, "examples": 3}'),
    ],
)
def test_damaged_latents_on_disk_are_named(tmp_path, name, content):
    config = config_of(tmp_path, tmp_path)
    fields = {field: config.data.get(field) for field in pretrained.FIELDS}
    about = {"weights": "none", "options": {}, "examples": 3, "data": fields}
    (tmp_path / "precomputed.json").write_text(json.dumps(about))
    np.save(tmp_path / "x.npy", np.zeros((3, 2, 2, 4), np.float32))
    np.save(tmp_path / "label.npy", np.zeros(3, np.int32))
    with pytest.raises(ConfigError, match=r"^given: its autoencoder is no longer in none"):
        pretrained.read_latents(tmp_path, config, "given", 3)
    path = tmp_path / name
    path.unlink()
    if content is None:
        os.mkfifo(path)
    elif isinstance(content, str):
        path.symlink_to(content)
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^given: is damaged: .*; run experiments.tasks.latents.precompute again$"):
        pretrained.read_latents(tmp_path, config, "given", 3)
