"""Sampling with one MLP, at the same weights, as a module of Flax Linen, Flax NNX and, if installed, Equinox.

The network crosses ``jit`` as an argument. A figure is a ratio to Linen: the median of the ratio within a repetition,
followed in brackets by the ratio of the two minima.
"""

import importlib.util

import flax.linen as nn
import jax
import numpy as np
from absl import flags
from jax.tree_util import Partial

from experiments.benchmarks.cost.samplers import SCHEDULE, forward, grid, on_mlp, solver_of
from experiments.benchmarks.measuring import in_turns
from scorekit import denoisers, samplers
from scorekit.typing import Array, Network


def linen(weights: list[Array]) -> Network:
    """Flax Linen: its ``apply`` with the parameters."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, t):
            return forward([nn.Dense(w.shape[1], use_bias=False) for w in weights], x, t)

    return Partial(Net().apply, {"params": {f"Dense_{i}": {"kernel": w} for i, w in enumerate(weights)}})


def nnx(weights: list[Array]) -> Network:
    """Flax NNX: the module itself."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self):
            self.layers = nnx.List([nnx.Linear(*w.shape, use_bias=False, rngs=nnx.Rngs(0)) for w in weights])
            for layer, w in zip(self.layers, weights, strict=True):
                layer.kernel[...] = w

        def __call__(self, x, t):
            return forward(self.layers, x, t)

    return Net()


def equinox(weights: list[Array]) -> Network:
    """Equinox: the module itself, whose layers take one example."""
    import equinox as eqx

    class Net(eqx.Module):
        layers: list[eqx.nn.Linear]

        def __call__(self, x, t):
            return forward(map(jax.vmap, self.layers), x, t)

    layers = [eqx.nn.Linear(*w.shape, use_bias=False, key=jax.random.key(0)) for w in weights]
    return eqx.tree_at(lambda net: [layer.weight for layer in net.layers], Net(layers), [w.T for w in weights])


@jax.jit
def draw(network: Network, x: Array, solver, ts: Array) -> Array:
    """Samples with any network."""
    return samplers.sample(None, denoisers.denoiser_from_network(network, SCHEDULE), SCHEDULE, solver, x, ts)


def run(options: flags.FlagValues) -> None:
    """Prints a row for each library, a column for each batch size."""
    solver, ts, found = solver_of("DDIM"), grid(options.steps), {}
    for batch in map(int, options.batches):
        weights, x, _ = on_mlp(batch)
        sides = {"Flax Linen": linen(weights), "Flax NNX": nnx(weights)}
        if importlib.util.find_spec("equinox"):
            sides["Equinox"] = equinox(weights)
        calls = {name: Partial(draw, network, x, solver, ts) for name, network in sides.items()}
        for name, call in calls.items():
            np.testing.assert_allclose(call(), calls["Flax Linen"](), rtol=1e-4, atol=1e-5)
            found.setdefault(name, []).append(in_turns(call, calls["Flax Linen"], options.turns).shown)
    print(f"MLP 3 x 128, 64 dimensions, {options.steps} steps of DDIM; ratios to Flax Linen: median (of the minima)")
    print(f"{'':12}" + "".join(f"{f'batch {batch}':>18}" for batch in options.batches))
    for name, cells in found.items():
        print(f"{name:12}" + "".join(f"{cell:>18}" for cell in cells))
