"""The U-Net of DDPM: dropout, and what its sizes must satisfy; the rest is in the contracts and the golden file."""

import jax
import numpy as np
import pytest

from scorekit.networks import DDPMUNet
from scorekit.networks._ddpm_blocks import ResidualBlock

KEY = jax.random.key(0, impl="rbg")


def test_dropout_is_active_where_a_key_is_given():
    x, block = np.random.default_rng(0).normal(size=(1, 2, 2, 4)).astype(np.float32), ResidualBlock(4, 2, dropout=0.5)
    params = block.init(KEY, x)
    plain, same = block.apply(params, x), block.clone(dropout=0.0).apply(params, x, rngs={"dropout": KEY})
    np.testing.assert_array_equal(plain, same)
    assert np.abs(block.apply(params, x, rngs={"dropout": KEY}) - plain).max() > 1e-2


@pytest.mark.parametrize(
    ("sizes", "shape", "message"),
    [
        ({"attention_levels": (2,)}, (1, 4, 4, 1), r"attention_levels must be among the levels 0 to 1, got \(2,\)"),
        ({"channels": 5, "groups": 1}, (1, 4, 4, 1), r"channels must be even and at least 4, got 5"),
        ({"groups": 3}, (1, 4, 4, 1), r"groups must divide the 8 channels of a level, got 3"),
        ({}, (1, 4, 5, 1), r"x must have sides divisible by the stride 2, got \(4, 5\)"),
        ({}, (1, 4, 1), r"x must have shape \(B, H, W, C\), got \(1, 4, 1\)"),
    ],
)
def test_sizes_that_do_not_fit_are_an_error(sizes, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(DDPMUNet(**{"channels": 8, **sizes}).init, KEY, np.ones(shape, np.float32), 0.0)
