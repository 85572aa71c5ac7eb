"""Exports and folders of diffusers that are damaged, changed or hostile: each is an error that names the file."""

import dataclasses
import json
import os
import shutil
import struct

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors
from safetensors.numpy import load_file, save_file

from scorekit import io, predictions, schedules
from scorekit.io import Loaded
from scorekit.io.preconditioning import ClockInput, LogSNRInput, Preconditioning, ddpm, edm
from scorekit.networks import MLP, AutoencoderKL, UNet

MODULE = MLP(features=8, blocks=1, num_classes=3)
AUTOENCODER = AutoencoderKL(data_channels=1, latent_channels=2, channels=4, multipliers=(1,), blocks=1, groups=2)


def parameters(module, *arguments):
    shapes = jax.eval_shape(module.init, jax.random.key(0), *arguments)
    return jax.tree.map(lambda leaf: jnp.asarray(random_tensors.draw("", leaf.shape)), shapes)


PARAMS = parameters(MODULE, jnp.ones((1, 2)), 0.0)
LOADED = Loaded(MODULE, PARAMS, edm(), (2,))
V = predictions.V()
MEANINGS = {
    "edm": edm(),
    "shifted": Preconditioning(schedules.shifted(schedules.Cosine(), 2.0), V, LogSNRInput()),
    "ddpm": ddpm(np.linspace(0.1, 0.2, 4)),
    "learned": Preconditioning(schedules.learned(2), V, ClockInput(), 0.5),
}
WRONG = {
    "null": None,
    "list": [],
    "dict": {},
    "string": "text",
    "huge": 10**30,
    "NaN": float("nan"),
    "negative": -1,
    "boolean": True,
    "numbers": [1.0, 2.0],
}
RIGHT = {
    "null": {"vector_size", "map_shape", "token_size", "sigma_data", "sample_size", "trained_betas"},
    "negative": {"scale", "offset", "shift", "log_snr_max", "log_snr_min"},
    "numbers": {"heights", "trained_betas"},
}
"""Fields that may have such a value."""


def paths(fields, above=()):
    """The paths of all fields, those of others included."""
    for name, value in fields.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths(value, (*above, name))


def put(fields, path, value):
    return {**fields, path[0]: put(fields[path[0]], path[1:], value) if path[1:] else value}


def read_wrongly(folder, file, kind, without=()):
    """The fields of a file of JSON with which the folder is read, or an error does not name the folder."""
    fields = json.loads(file.read_text())
    found = []
    for path in paths(fields):
        if path[0] in without or path[-1] in RIGHT.get(kind, ()):
            continue
        file.write_text(json.dumps(put(fields, path, WRONG[kind])))
        try:
            io.load(folder)
            found.append(f"{path} is read")
        except ValueError as error:
            if str(folder) not in str(error):
                found.append(f"{path}: {error}")
    return found


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("meaning", ["edm", *(pytest.param(name, marks=pytest.mark.slow) for name in [*MEANINGS][1:])])
def test_wrong_fields_of_a_config_are_named(tmp_path, meaning, kind):
    folder = io.export(tmp_path / "out", dataclasses.replace(LOADED, preconditioning=MEANINGS[meaning]))
    assert read_wrongly(folder, folder / "config.json", kind, without=("version", "facts")) == []


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in ("null", "huge", "NaN") else pytest.mark.slow) for kind in WRONG]
)
@pytest.mark.parametrize("part", ["transformer/config.json", "scheduler/scheduler_config.json"])
def test_wrong_fields_of_diffusers_are_named(tmp_path, part, kind):
    """The network is that of the golden file of DiT, of which nothing is converted while the first fields are wrong."""
    tensors = random_tensors.load("dit")[0]
    first = "transformer_blocks.0."
    tensors = {n: tensors[first + n.split(".", 2)[2]] if "embedder" in n else a for n, a in tensors.items()}
    fields = {
        "transformer/config.json": {"sample_size": 8, "in_channels": 3, "num_attention_heads": 2},
        "scheduler/scheduler_config.json": {"beta_schedule": "linear", "num_train_timesteps": 10, "beta_end": 0.1}
        | {"beta_start": 0.01, "prediction_type": "epsilon"},
    }
    for name, content in fields.items():
        io.write_atomic(tmp_path / name, json.dumps(content))
    save_file(tensors, tmp_path / "transformer" / "diffusion_pytorch_model.safetensors")
    assert read_wrongly(tmp_path, tmp_path / part, kind) == []


def rewritten(folder, **changes):
    """The folder with other parameters or fields, without the SHA-256, as earlier versions wrote it."""
    config = json.loads((folder / "config.json").read_text())
    config.pop("sha256", None)
    tensors = load_file(folder / "model.safetensors")
    for name, value in changes.items():
        if name in config:
            config[name] = value
        elif value is None:
            del tensors[name]
        else:
            tensors[name] = value
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


KERNEL = np.zeros((8, 2), np.float32)
SHIFTED = json.loads('{"kind": "Shifted", "shift": 0.1, "base": ' * 8 + '{"kind": "Cosine"}' + "}" * 8)
BROKEN = {
    "integers": ({"output.kernel": KERNEL.astype(np.int32)}, r"\['kernel'\] must be floating, got dtype int32"),
    "booleans": ({"output.kernel": KERNEL > 0}, r"\['kernel'\] must be floating, got dtype bool"),
    "NaN": ({"output.kernel": KERNEL * np.nan}, "params must be finite, but 16 of "),
    "both": ({"output.kernel.x": KERNEL}, "has a tensor 'output.kernel' and others below this name"),
    "missing": ({"output.bias": None}, r"parameter .*'bias'\] is missing"),
    "kind": ({"network": {"kind": "Big"}}, "kind must be a network of scorekit.networks, got 'Big'"),
    "schedule": ({"preconditioning": {"schedule": {"kind": "New"}}}, ".*written by another version"),
    "unknown": ({"input/kernel": KERNEL}, r"\['input'\]\['kernel'\] is not one of the network"),
    "shape": ({"shape": None}, "shape must be known, to check the parameters: give it to load, got None"),
    "blocks": ({"network": {"kind": "MLP", "blocks": 10**9}}, "blocks must be at most 1,048,576, got 1000000000"),
    "layers": ({"network": {"kind": "MLP", "blocks": 60_000}}, "has more layers than its 17 arrays of parameters"),
    "type": ({"network": {"kind": "MLP", "features": 8.0}}, "features must be of PositiveInt, got 8.0"),
    "bound": ({"network": {"kind": "MLP", "features": 0}}, "features must be an integer >= 1, got 0"),
    "choice": ({"network": {"kind": "DiT", "attention": "flash"}}, "attention must be 'xla' or 'fused', got 'flash'"),
    "name": ({"network": {"kind": "MLP", "name": "x"}}, "network must have the fields features, .* got 'name'"),
    "depth": ({"preconditioning": {"schedule": SHIFTED}}, "must hold at most 6 parts within each other"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_exports_that_were_changed_are_named(tmp_path, name):
    changes, message = BROKEN[name]
    folder = rewritten(io.export(tmp_path / "out", LOADED), **changes)
    with pytest.raises(ValueError, match=f"{folder}/.*{message}"):
        io.load(folder)


def test_exports_of_earlier_versions_are_read(tmp_path):
    """Without the SHA-256, and where the shape of an example was not known."""
    folder = rewritten(io.export(tmp_path / "out", LOADED))
    chex.assert_trees_all_equal(io.load(folder).params, PARAMS)
    assert io.load(rewritten(io.export(tmp_path / "out", LOADED), shape=None), shape=(2,)).shape == (2,)


def test_one_flipped_bit_is_named(tmp_path):
    folder = io.export(tmp_path / "out", LOADED)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-4] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"out/model.safetensors: its SHA-256 is not that of config.json"):
        io.load(folder)


def test_damaged_safetensors_are_named(tmp_path):
    folder = io.export(tmp_path / "out", LOADED)
    path, data = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])

    def written(content):
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    first = ("input.kernel",)
    fields = [first, *((*first, field) for field in ("dtype", "shape", "data_offsets"))]
    damages = [data[:cut] for cut in (0, 4, 8, 8 + size // 2, 8 + size, len(data) - 1)]
    damages += [written(put(header, at, value)) for at in fields for value in WRONG.values()]
    damages += [written(put(header, (*first, "dtype"), dtype)) for dtype in ("F8_E5M2", "I32", "BOOL", "U64")]
    damages += [written(b"[" * 10**5), written(b"{" + b'"a":{' * 10**5), struct.pack("<Q", 2**62) + data[8:]]
    for damage in damages:
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=f"{path}: "):
            io.load(folder)
    path.write_bytes(data[:-4])
    with pytest.raises(ValueError, match=r"model.safetensors: not a complete safetensors file"):
        io.load(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=f"{path}: must be a regular file"):
        io.load(folder)


def changed(**arrays):
    return {"params": {**PARAMS["params"], "output": {**PARAMS["params"]["output"], **arrays}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": changed(bias=np.full(2, np.nan, np.float32))}, "params must be finite, but 2 of "),
        ({"params": changed(bias=np.zeros(5, np.float32))}, r"\['bias'\] must have shape \(2,\), got \(5,\)"),
        ({"params": changed(bias=np.zeros(2, np.int32))}, r"\['bias'\] must be floating, got dtype int32"),
        ({"params": changed(scale=np.zeros(2, np.float32))}, r"\['scale'\] is not one of the network"),
        ({"shape": None}, "shape must be known"),
        ({"preconditioning": edm()._replace(sigma_data=0.0)}, "sigma_data must be finite and > 0, got 0.0"),
        ({"module": UNet(channels=8, multipliers=(1,), remat="no")}, "remat must be of bool, got 'no'"),
        ({"module": dataclasses.replace(MODULE, num_classes=np.int64(3))}, "that are JSON, got num_classes="),
    ],
)
def test_what_could_not_be_loaded_is_not_exported(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        io.export(tmp_path / "out", dataclasses.replace(LOADED, **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_autoencoders_are_checked_too(tmp_path):
    network, inner = UNet(channels=8, multipliers=(1,)), parameters(AUTOENCODER, jnp.ones((1, 4, 4, 1)))
    params = parameters(network, jnp.ones((1, 4, 4, 2)), 0.0)
    folder = io.export(tmp_path / "out", Loaded(network, params, edm(), (4, 4, 2), (AUTOENCODER, inner)))
    chex.assert_trees_all_equal(io.load(folder).autoencoder[1], inner)
    shutil.copy(folder / "model.safetensors", folder / "autoencoder.safetensors")
    with pytest.raises(ValueError, match=r"autoencoder.safetensors: parameter .* is missing"):
        io.load(folder)
