"""Intermediate activations of a network as features, at any noise level.

A denoiser is an autoencoder whose layers represent its noisy input, and the noise level determines the scale of the
features (:mod:`scorekit.densities.spectra`). Works with any Flax Linen module, without changes to it.

>>> import jax.numpy as jnp
>>> from scorekit.networks import MLP
>>> network, x = MLP(features=8, blocks=2), jnp.ones((3, 2))
>>> variables = jax.jit(network.init)(jax.random.key(0), x, 0.0)
>>> layer_names(network, variables, x, 0.0)[-3:]
('close_1', 'norm_out', 'output')
>>> found = jax.jit(lambda x: features(network, variables, x, 0.0, layers=["dense_0", "dense_1"]))(x)
>>> jax.tree.map(jnp.shape, found)
{'dense_0': (3, 8), 'dense_1': (3, 8)}
>>> pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
Array([ 2.5,  4.5, 10.5, 12.5], dtype=float32)
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from scorekit.arguments import PositiveInt, checked
from scorekit.typing import Array, ArrayLike, PyTree


def _apply(module, variables, x, noise, labels, layers, **conditions):
    """The outputs of the named layers, and the names of all layers in order of completion."""
    names = []

    def wanted(layer, method):
        name = "/".join(layer.path)
        if method != "__call__" or not name:
            return False
        if name not in names:
            names.append(name)
        return name in layers

    _, state = module.apply(
        variables, x, noise, labels, capture_intermediates=wanted, mutable=["intermediates"], **conditions
    )
    found = {}
    for name in layers:
        node = state.get("intermediates", {})
        for part in (*name.split("/"), "__call__"):
            node = node.get(part, {})
        found[name] = node[-1] if node else None
    return found, tuple(names)


def layer_names(
    module: nn.Module,
    variables: PyTree,
    x: Array | jax.ShapeDtypeStruct,
    noise: ArrayLike,
    labels: ArrayLike | None = None,
) -> tuple[str, ...]:
    """The names of all layers of a network in the order of completion, nested ones as ``layer/inner``.

    Nothing is computed.

    Args:
      module: a network that is called as ``(x, noise, labels)``.
      variables: its parameters.
      x: an input, or its ``jax.ShapeDtypeStruct``.
      noise: its noise level.
      labels: integer labels, scalar or ``(B,)``, or None.
    """
    names = []

    def run(variables, x, noise, labels):
        names.extend(_apply(module, variables, x, noise, labels, ())[1])

    jax.eval_shape(run, variables, x, noise, labels)
    return tuple(names)


def features(
    module: nn.Module,
    variables: PyTree,
    x: Array,
    noise: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    layers: Sequence[str],
    **conditions: Any,
) -> dict[str, Array]:
    """The outputs of some layers of a network; under ``jit`` the layers that they do not depend on are not run.

    Outputs by name, each with a leading axis B; for a layer that is called several times, the last output.

    Args:
      module: a network that is called as ``(x, noise, labels)``.
      variables: its parameters.
      x: noisy inputs ``(B, ...)``.
      noise: their noise level, in the parameterisation that the network was trained with.
      labels: labels, or None for the null token.
      layers: names as given by :func:`layer_names`.
      conditions: further conditions of the network, by name.
    """
    found, names = _apply(module, variables, x, noise, labels, tuple(layers), **conditions)
    unknown = [name for name in layers if name not in names]
    if unknown:
        raise ValueError(f"layers must be among {', '.join(names)}, got {', '.join(unknown)}")
    return found


@checked
def pool(feature: Array, cells: PositiveInt) -> Array:
    """Average pooling of an image of features to ``cells x cells`` cells: ``(B, cells, cells, C)``.

    Args:
      feature: ``(B, H, W, C)``; H and W divisible by ``cells``.
      cells: cells along each side.
    """
    if feature.ndim != 4 or feature.shape[1] % cells or feature.shape[2] % cells:
        raise ValueError(f"feature must be (B, H, W, C) with H and W divisible by cells = {cells}, got {feature.shape}")
    batch, height, width, channels = feature.shape
    return feature.reshape(batch, cells, height // cells, cells, width // cells, channels).mean(axis=(2, 4))
