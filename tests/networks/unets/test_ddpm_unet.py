"""The U-Net of DDPM: dropout, and what its sizes must satisfy; the rest is in the contracts and the golden file."""

import jax
import numpy as np

from scorekit.networks._ddpm_blocks import ResidualBlock

KEY = jax.random.key(0, impl="rbg")


def test_dropout_is_active_where_a_key_is_given():
    x, block = np.random.default_rng(0).normal(size=(1, 2, 2, 4)).astype(np.float32), ResidualBlock(4, 2, dropout=0.5)
    params = block.init(KEY, x)
    plain, same = block.apply(params, x), block.clone(dropout=0.0).apply(params, x, rngs={"dropout": KEY})
    np.testing.assert_array_equal(plain, same)
    assert np.abs(block.apply(params, x, rngs={"dropout": KEY}) - plain).max() > 1e-2
