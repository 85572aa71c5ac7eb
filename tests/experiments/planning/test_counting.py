"""Operations of a program."""

import jax
import jax.numpy as jnp

from experiments.planning.counting import flops


def test_operations_are_those_of_products_as_often_as_they_run():
    def two_layers(w, x):
        x = jax.lax.scan(lambda x, _: (jax.jit(jnp.dot)(x, w), None), x, length=3)[0]
        return jax.lax.conv(x[None, None], jnp.ones((5, 1, 2, 2)), (1, 1), "VALID")

    jaxpr = jax.make_jaxpr(two_layers)(jnp.ones((4, 4)), jnp.ones((7, 4))).jaxpr
    assert flops(jaxpr) == 3 * 2 * 7 * 4 * 4 + 2 * 5 * 6 * 3 * 4
