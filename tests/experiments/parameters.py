"""Parameters of networks without compiling their initialisation."""

import jax
import numpy as np


def random_params(model, std=0.1, seed=0):
    """Normal parameters of a model: its output is not zero and depends on all conditions."""
    return random_like(jax.eval_shape(model.init, jax.random.key(0)), std, seed)


def random_like(shapes, std=0.1, seed=0):
    """Normal arrays of these shapes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: (std * rng.normal(size=leaf.shape)).astype(leaf.dtype), shapes)
