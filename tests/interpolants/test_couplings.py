"""Couplings: permutations with the cost of an independent solver, that keep the marginals and the classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from scipy.optimize import linear_sum_assignment
from tables import in_float64

from scorekit import densities, samplers, schedules, solvers
from scorekit.denoisers import exact_denoiser
from scorekit.interpolants import couplings
from scorekit.training import optimal_assignment

transport = jax.jit(lambda x0, eps, labels=None: couplings.pair(x0, eps, optimal_assignment, labels))


def draws(n, *shape):
    return np.asarray(jax.random.normal(jax.random.key(1), (2, n, *shape)))


def cost(x0, eps):
    return np.square(x0 - np.asarray(eps)).sum()


def test_cost_is_that_of_scipy_and_in_one_dimension_it_sorts():
    x0, eps = draws(24, 1)
    found = np.asarray(transport(x0, eps))[:, 0]
    np.testing.assert_array_equal(found[np.argsort(x0[:, 0])], np.sort(eps[:, 0]))
    x0, eps = draws(24, 3)
    found = np.asarray(transport(x0, eps))
    rows, columns = linear_sum_assignment(np.square(x0[:, None] - eps).sum(-1))
    np.testing.assert_allclose(cost(x0, found), cost(x0[rows], eps[columns]), rtol=1e-5)
    assert cost(x0, found) < 0.9 * cost(x0, eps)
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(eps, axis=0))  # the noise is the same noise


@pytest.mark.parametrize("loudest", [1.0, 1e4])
def test_noise_stays_with_its_class(loudest):
    """Also where one example is so large that the costs of other classes are 1e11, and float32 has no digits after."""
    x0, eps = draws(24, 3)
    labels = np.arange(24) % 4
    x0 = x0 + 3.0 * labels[::-1, None]  # the costs ask for a change of class
    x0[0] *= loudest
    found = np.asarray(transport(x0, eps, labels))
    for k in range(4):
        mine = labels == k
        _, columns = linear_sum_assignment(np.square(x0[mine][:, None] - eps[mine]).sum(-1))
        np.testing.assert_array_equal(found[mine], eps[mine][columns])
    assert not np.array_equal(found, np.asarray(transport(x0, eps)))


@pytest.mark.slow
def test_blocks_are_paired_by_themselves_and_trees_by_all_leaves():
    x0, eps = draws(24, 3)
    greedy = lambda cost: jnp.argsort(cost[0])  # a permutation too
    blocks = couplings.pair(x0, eps, greedy, block_size=10)
    for part in (slice(10), slice(10, 20), slice(20, 24)):
        np.testing.assert_array_equal(blocks[part], couplings.pair(x0[part], eps[part], greedy))
    assert not np.array_equal(blocks, couplings.pair(x0, eps, greedy))
    tree = couplings.pair({"a": x0[:, :1], "b": x0[:, 1:]}, {"a": eps[:, :1], "b": eps[:, 1:]}, greedy)
    np.testing.assert_array_equal(np.hstack([tree["a"], tree["b"]]), couplings.pair(x0, eps, greedy))


def test_not_a_number_stays_where_it_is():
    x0, eps = draws(24, 3)
    broken = np.where(np.arange(24)[:, None] == 5, np.nan, x0)
    found = np.asarray(transport(broken, eps))
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(eps, axis=0))


NO_PERMUTATION = "must be a permutation of 0 ... {}, got"
test_bad_arguments_are_named = raising(
    [
        (r"labels must be integers of shape \(24,\)", {"labels": jnp.zeros(23, jnp.int32)}),
        ("eps", {"eps": jnp.zeros((24, 2))}),
        ("assign must return the column of each of 24 rows", {"assign": lambda cost: cost[0]}),
        (r"assign\(cost\) " + NO_PERMUTATION.format(23), {"assign": lambda cost: jnp.zeros(24, int)}),
        (
            NO_PERMUTATION.format(23),
            {"assign": lambda cost: jnp.argmin(cost, axis=1)},
        ),  # two have the same nearest noise
        (NO_PERMUTATION.format(23), {"assign": lambda cost: jnp.arange(24) - 1}),
        (NO_PERMUTATION.format(6), {"assign": lambda cost: jnp.arange(len(cost)) // 2, "block_size": 7}),
        (r"cost must be square, got shape \(2, 3\)", {"assign": lambda cost: optimal_assignment(jnp.ones((2, 3)))}),
    ],
    lambda changes: couplings.pair(
        **{"x0": draws(24, 3)[0], "eps": draws(24, 3)[1], "assign": optimal_assignment, **changes}
    ),
)


def test_a_traced_assignment_that_is_no_permutation_gives_nan_in_its_block():
    x0, eps = draws(24, 3)
    assign = lambda cost: jnp.where(jnp.isclose(cost[0, 0], np.square(x0[0] - eps[0]).sum()), 0, jnp.arange(len(cost)))
    found = jax.jit(lambda x0, eps: couplings.pair(x0, eps, assign, block_size=10))(x0, eps)
    assert np.isnan(found[:10]).all()
    np.testing.assert_array_equal(found[10:], eps[10:])


@in_float64
def test_straightness_of_gaussian_paths_is_their_integral():
    """``x_t = sqrt(K_t) x_1`` of data N(0, s^2), of which the integral is computed by quadrature."""
    s, schedule = 0.5, schedules.RectifiedFlow()
    data, ts = densities.gaussian(jnp.zeros(1), std=s), solvers.grids.uniform(64)
    x = jnp.array([[1.0], [2.0]])
    run = lambda x: samplers.trajectory(exact_denoiser(data, schedule), schedule, solvers.RK4(), x, ts)
    states = jnp.concatenate([x[None], jax.jit(run)(x)[1]])
    t = (np.arange(20000) + 0.5) / 20000
    slope = (t - (1 - t) * s**2) / np.sqrt((1 - t) ** 2 * s**2 + t**2)
    exact = np.mean(np.square(slope - (1 - s)))
    np.testing.assert_allclose(couplings.straightness(states, ts), exact * np.array([1.0, 4.0]), rtol=5e-3)
    with pytest.raises(ValueError, match="ts must hold the time of each of the 65 states"):
        couplings.straightness(states, ts[1:])
    with pytest.raises(ValueError, match="decreasing"):
        couplings.straightness(states, ts[::-1])
