"""Round trips, determinants against dense Jacobians, and densities against closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import Masked
from scorekit.networks.flows import AutoregressiveFlow, CouplingFlow
from scorekit.networks.flows._splines import num_parameters, spline

BATCH = 3
CASES = {
    "images, splines": (CouplingFlow(features=8, steps=2, transform="spline"), (4, 4, 1)),
    "images, affine": (CouplingFlow(features=8, steps=1, levels=1), (2, 4, 2)),
    "signals, additive": (CouplingFlow(features=8, levels=1, patch=8, transform="additive"), (16, 1)),
    "one step in two dimensions": (CouplingFlow(features=8, levels=1, steps=1, transform="spline"), (2,)),
    "16 dimensions": (CouplingFlow(features=8, levels=2, steps=1), (16,)),
    "one dimension": (AutoregressiveFlow(channels=8, transform="spline"), (1,)),
    "masked": (AutoregressiveFlow(channels=8, depth=2, cycle=2), (6, 2)),
    "inverse": (AutoregressiveFlow(channels=8, depth=2, cycle=2, parallel="sampling", transform="spline"), (5,)),
}
CASES["masked"] = (CASES["masked"][0].clone(data_channels=2), CASES["masked"][1])

SLOW = set(CASES) - {"16 dimensions"}


def perturbed(params, scale=0.1):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: np.asarray(p + scale * rng.normal(size=p.shape), np.float32), params)


@functools.cache
def case(name):
    """The flow, perturbed parameters, and data."""
    flow, shape = CASES[name]
    x = jax.random.normal(jax.random.key(0), (BATCH, *shape))
    return flow, perturbed(jax.jit(flow.init)(jax.random.key(1), x)), x


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES])
def test_both_directions_are_inverse_with_the_determinant_of_the_dense_jacobian(name):
    flow, params, x = case(name)

    @jax.jit
    def run(params, x):
        z, log_det = flow.apply(params, x)
        y, back = flow.apply(params, z, method="inverse")
        dense = jax.jacfwd(lambda x: flow.apply(params, x)[0].reshape(BATCH, -1).sum(0))(x)  # examples do not mix
        return z, log_det, y, back, jnp.moveaxis(dense, 1, 0).reshape(BATCH, x[0].size, x[0].size)

    z, log_det, y, back, dense = map(np.asarray, run(params, x))
    assert z.shape == x.shape
    assert z.dtype == np.float32
    np.testing.assert_allclose(y, x, atol=1e-5)
    exact = np.linalg.slogdet(dense.astype(np.float64))[1]
    np.testing.assert_allclose(log_det, exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back, -log_det, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_density_of_a_linear_flow_is_that_of_its_gaussian():
    flow, _, x = case("16 dimensions")
    params = jax.jit(flow.init)(jax.random.key(1), x)  # couplings begin as the identity
    parts = {
        name: {k: np.asarray(v, np.float64) for k, v in p.items()}
        for name, p in params["params"].items()
        if name.startswith(("norms", "mixes"))
    }

    def step(h, i):
        norm = parts[f"norms_{i}"]
        return (h + norm["bias"]) * np.exp(norm["log_scale"]) @ parts[f"mixes_{i}"]["kernel"]

    def linear(h):
        h = step(h, 0)
        return np.concatenate([step(h[:, :8], 1), h[:, 8:]], axis=-1)

    at_zero, matrix = linear(np.zeros((1, 16))), linear(np.eye(16)) - linear(np.zeros((1, 16)))
    z = np.asarray(x, np.float64) @ matrix + at_zero
    expected = -0.5 * (z**2).sum(1) - 8 * np.log(2 * np.pi) + np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(flow.apply(params, x, method="log_prob"), expected, rtol=1e-5)


@pytest.mark.slow
def test_latents_of_the_first_batch_have_mean_zero_and_variance_one():
    flow = CouplingFlow(features=8, levels=1, steps=3)
    x = 5.0 + 3.0 * jax.random.normal(jax.random.key(0), (64, 4))
    z, _ = flow.apply(jax.jit(flow.init)(jax.random.key(1), x), x)
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(jnp.square(z).sum(1).mean(), 4.0, rtol=1e-3)
    same = jax.jit(flow.init)(jax.random.key(1), jnp.ones((2, 4)))  # no spread to divide by
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(same))


def test_a_spline_is_monotone_and_meets_the_identity_at_its_ends():
    rng = np.random.default_rng(0)
    x = jnp.asarray(np.linspace(-5.0, 5.0, 400), jnp.float32)
    raw = jnp.asarray(np.broadcast_to(3.0 * rng.normal(size=num_parameters(6)), (400, num_parameters(6))), jnp.float32)
    y, log_slope = jax.jit(spline)(x, raw, 4.0)
    assert (np.diff(y) > 0).all()
    outside = np.abs(x) >= 4.0
    np.testing.assert_array_equal(y[outside], x[outside])
    numeric = jax.jit(jax.vmap(jax.grad(lambda x, raw: spline(x[None], raw[None], 4.0)[0][0])))(x, raw)
    np.testing.assert_allclose(log_slope, np.log(numeric), atol=1e-4)
    unchanged, zeros = spline(x, jnp.zeros_like(raw), 4.0)
    np.testing.assert_allclose(unchanged, x, atol=1e-5)
    np.testing.assert_allclose(zeros, 0.0, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 5.0, 20.0])
def test_a_steep_spline_is_inverted_to_the_precision_of_its_knots(scale):
    """Slopes are between e^-17 and e^15 here; in float64 also x is found again."""
    raw = scale * np.random.default_rng(0).normal(size=(4001, num_parameters(8)))

    def there_and_back(x, raw):
        y = spline(x, raw, 4.0)[0]
        back, log_slope = spline(y, raw, 4.0, inverse=True)
        again, forward = spline(back, raw, 4.0)
        return y, back, again, jnp.abs(log_slope + forward), jax.grad(lambda y: spline(y, raw, 4.0, True)[0].sum())(y)

    x = np.linspace(-4.0, 4.0, 4001)
    y, _, again, difference, slope = jax.jit(there_and_back)(x.astype(np.float32), raw.astype(np.float32))
    np.testing.assert_allclose(again, y, atol=2e-5)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(difference, 0.0, atol=1e-3)
    with jax.enable_x64(True):
        y, back, again, *_ = jax.jit(there_and_back)(x, raw)
        np.testing.assert_allclose(again, y, atol=1e-13)
        np.testing.assert_allclose(back, x, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flow",
    [
        CouplingFlow(features=8, levels=1, steps=1, patch=4, num_classes=3, map_shape=(2, 5)),
        AutoregressiveFlow(channels=8, depth=2, cycle=2, num_classes=3, map_size=5),
    ],
    ids=["coupling", "autoregressive"],
)
def test_conditions_change_the_density_and_both_directions_alike(flow):
    x, labels = jax.random.normal(jax.random.key(0), (BATCH, 8, 1)), jnp.arange(BATCH)
    rows = 8 if isinstance(flow, AutoregressiveFlow) else 2
    given = {"labels": labels, "dense_map": jax.random.normal(jax.random.key(2), (BATCH, rows, 5))}
    params = perturbed(jax.jit(flow.init)(jax.random.key(1), x, **given), 0.3)
    run = jax.jit(lambda x, given: flow.apply(params, x, **given))
    z, _ = run(x, given)
    y, _ = jax.jit(lambda z, given: flow.apply(params, z, **given, method="inverse"))(z, given)
    np.testing.assert_allclose(y, x, atol=1e-5)
    for name in given:
        other, _ = run(x, {**given, name: given[name][::-1]})
        changed = np.abs(np.asarray(other - z)).reshape(BATCH, -1).max(1)
        assert (changed > 1e-4).tolist() == [True, False if name == "labels" else bool(changed[1] > 1e-4), True], name
        null, _ = run(x, {k: v for k, v in given.items() if k != name})
        assert np.abs(np.asarray(null - z)).max() > 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["density", "sampling"])
def test_a_map_of_some_examples_or_one_for_all_is_inverted_as_well(parallel):
    flow = AutoregressiveFlow(channels=4, depth=1, cycle=1, map_size=2, parallel=parallel)
    x, value = jax.random.normal(jax.random.key(0), (3, 3)), jax.random.normal(jax.random.key(1), (3, 3, 2))
    params = perturbed(jax.jit(flow.init)(jax.random.key(0), x, dense_map=value), 0.3)
    run = jax.jit(lambda x, dense_map: flow.apply(params, x, dense_map=dense_map))
    back = jax.jit(lambda z, dense_map: flow.apply(params, z, dense_map=dense_map, method="inverse"))
    for batch in (3, 2):
        for present in (jnp.array([True, False, True])[:batch], jnp.array(True), jnp.array(False)):
            some = Masked(value[:batch], present)
            z, log_det = run(x[:batch], some)
            y, of_inverse = back(z, some)
            np.testing.assert_allclose(y, x[:batch], atol=1e-5)
            np.testing.assert_allclose(of_inverse, -log_det, atol=1e-5)
    for found, expected in zip(run(x, value[0]), run(x, jnp.stack([value[0]] * 3)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
