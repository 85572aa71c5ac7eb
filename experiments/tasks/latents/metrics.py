"""Distances of reconstructions by an autoencoder, and the size of its latent."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Batch, in_blocks
from experiments.tasks.latents.model import Latent, num_levels
from scorekit import networks
from scorekit.typing import PyTree


def compression(built: Latent) -> dict[str, float]:
    """How much smaller the latent is: in values, and with codes in bits."""
    dataset = built.dataset
    size, latent = math.prod(dataset.shape), built.module.latent_shape(dataset.shape)
    values = math.prod(latent)
    found = {"values of an example": float(size), "values of its latent": float(values)}
    found["compression factor"] = size / values
    if built.module.codes is not None:
        positions = sum(math.prod(side // level for side in latent[:-1]) for level in built.module.levels)
        bits = math.log2(built.module.codes) * positions
        found["bits of its codes"] = bits
        found["compression factor in bits"] = size * dataset.bits_per_value() / bits
    return found


def measure(built: Latent, params: PyTree, part: Batch, batch_size: int = 50) -> dict[str, float]:
    """Distances of reconstructions from the originals, and the scale of the latent, as means over examples.

    Root mean square errors are in units of the network's input; ``error, share of power`` is a ratio of squares. Also
    the distances of the kind of data, and the perplexity of codes; of several levels of codes also the distances of
    reconstructions from the first levels alone.
    """
    found, index, z = reconstruct(built, params, part, batch_size)
    metrics, count = {}, len(found)
    for k, values in zip(range(count, 0, -1), reversed(found), strict=True):
        error, power, _ = (values.pop(name) for name in ("error", "power", "y"))
        means = {"RMSE": float(np.sqrt(error.mean())), "error, share of power": float(error.mean() / power.mean())}
        means.update({name: float(each.mean()) for name, each in values.items()})
        metrics.update({name + f", {k} of {count} levels" * (k < count): value for name, value in means.items()})
    metrics.update({"latent mean": float(z.mean()), "latent standard deviation": float(z.std())})
    for m, level in enumerate(index, 1):
        assert built.module.codes is not None
        counts, of = networks.code_counts(jnp.asarray(level), built.module.codes), f", level {m}" * (count > 1)
        metrics["perplexity of the codes" + of] = float(networks.perplexity(counts))
        metrics["codes in use" + of] = float((counts > 0).sum())
    return metrics


def reconstruct(
    built: Latent, params: PyTree, part: Batch, batch_size: int = 50
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray], np.ndarray]:
    """The reconstruction ``y`` of each example with its distances, by name, from the first level of codes, from two, …,
    from all levels; the codes of each level; and the latents. Continuous latents count as one level without codes."""
    module, dataset = built.module, built.dataset

    def apply(x: Any, method: str) -> Any:
        return module.apply(params, x, method=method)

    @jax.jit
    def run(x):
        x = dataset.to_model(x)
        z, axes = apply(x, "encode"), tuple(range(1, x.ndim))
        levels = apply(z, "code_levels") if num_levels(module) else []
        found = []
        for values in [level.values for level in levels[:-1]] + [apply(z, "quantise")]:
            y = apply(values, "decode")
            error, power = jnp.mean((y - x) ** 2, axes), jnp.mean(x**2, axes)
            found.append({"y": y, "error": error, "power": power, **dataset.distances(y, x)})
        return found, [level.index for level in levels], z

    return in_blocks(run, part["x"], min(batch_size, len(part["x"])))
