"""The bounds of tokens: exact for the exact posterior, and those of the papers for any other."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_chains import chain, law, log_forward, states

from scorekit import discrete
from scorekit.discrete import schedules
from scorekit.times import Times

V, LENGTH = 2, 3
JOINT = chain()
X = states(V, LENGTH)
MAKE = {"absorbing": discrete.absorbing, "uniform": discrete.uniform}


def noisy(process, t):
    """Pairs of every sequence and every noisy one, and ``q(z_t | x0)``."""
    z = states(process.num_states, LENGTH)
    pairs = [jnp.repeat(X, len(z), axis=0), jnp.tile(z, (len(X), 1))]
    return pairs, jnp.exp(log_forward(process, *pairs, t))


def expectation(weights, values):
    return jnp.where(weights > 0, weights * values, 0.0).reshape(len(X), -1).sum(1)


def expected_loss(process, denoiser, t):
    """``E loss(t)`` of every sequence, by enumeration of the noisy ones: ``(N,)``."""
    pairs, weights = noisy(process, t)
    times = Times(jnp.full(len(weights), t), jnp.ones(len(weights)))
    return expectation(weights, discrete.token_loss_at(denoiser, process, *pairs, times)[0])


@jax.jit
def integrated_loss(process, denoiser):
    """The continuous-time bound of every sequence, by Gauss-Legendre quadrature in ``t = u^2``."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    u = jnp.asarray(0.5 * (1 + nodes), jnp.float32)
    values = jax.lax.map(lambda u: 2 * u * expected_loss(process, denoiser, u**2), u)
    return jnp.asarray(0.5 * weights, jnp.float32) @ values


def any_network(process, seed=3):
    """Logits that are a table over all noisy sequences: any denoiser that does not depend on the time."""
    size = process.num_states
    table = jax.random.normal(jax.random.key(seed), (size,) * LENGTH + (LENGTH, V))
    return discrete.denoiser_from_network(lambda z, t: table[tuple(jnp.moveaxis(z, -1, 0))], process)


@pytest.mark.parametrize(("noise", "schedule"), [("absorbing", "Linear"), ("uniform", "Cosine")])
def test_the_bound_of_the_exact_posterior_is_the_log_probability_of_every_sequence(noise, schedule):
    process = MAKE[noise](V, getattr(schedules, schedule)())
    found = integrated_loss(process, discrete.exact_denoiser(JOINT, process))
    np.testing.assert_allclose(found, -JOINT.reshape(-1), rtol=2e-4)


@pytest.mark.slow
def test_the_bound_with_masks_is_order_agnostic_autoregression_for_any_network():
    """``E_order sum_k -log p(x_k | the tokens before it in the order)``, for every schedule."""
    found = {}
    for schedule in (schedules.Linear(), schedules.Cosine()):
        process = discrete.absorbing(V, schedule)
        found[type(schedule)] = integrated_loss(process, any_network(process))
    linear, cosine = found.values()
    np.testing.assert_allclose(linear, cosine, rtol=1e-4)
    network = any_network(process)
    masked = jnp.array(list(itertools.product([False, True], repeat=LENGTH)))
    log_p = network(jnp.where(masked[:, None], process.mask, X), 0.5)  # (masks, X, LENGTH, V)
    chosen = np.asarray(jnp.take_along_axis(log_p, X[None, ..., None], axis=-1)[..., 0])
    index = {tuple(m): i for i, m in enumerate(np.asarray(masked).tolist())}
    total = np.zeros(len(X))
    orders = list(itertools.permutations(range(LENGTH)))
    for order in orders:
        hidden = [True] * LENGTH
        for place in order:
            total -= chosen[index[tuple(hidden)], :, place]
            hidden[place] = False
    np.testing.assert_allclose(linear, total / len(orders), rtol=1e-4)


def test_the_loss_of_uniform_noise_is_the_published_one():
    """Schiff et al. write it in the prediction from the other tokens, which replaces x0 in ``alpha V x0 + sigma``."""
    v, t = 3, 0.6
    process = discrete.uniform(v, schedules.Cosine())
    logits = jax.random.normal(jax.random.key(0), (9, 1, v))
    denoiser = discrete.denoiser_from_network(lambda z, t: logits, process)
    x0, z = (grid.reshape(-1, 1) for grid in jnp.meshgrid(jnp.arange(v), jnp.arange(v)))
    loss, _ = discrete.token_loss_at(denoiser, process, x0, z, Times(jnp.full(9, t), jnp.ones(9)))
    alpha, rate = float(process.schedule.alpha(t)), np.pi / 2 * np.cos(np.pi / 2 * t)
    bar = lambda p: v * alpha * np.asarray(p, float) + 1 - alpha
    data, model = bar(np.eye(v)[x0[:, 0]]), bar(jax.nn.softmax(logits)[:, 0])
    here = np.arange(9), np.asarray(z[:, 0])
    ratio = data / data[here][:, None]
    sums = (ratio * np.log(model[here][:, None] * data / (model * data[here][:, None]))).sum(1)
    published = -rate / (v * alpha) * (v / data[here] - v / model[here] - sums)
    np.testing.assert_allclose(loss, published, rtol=1e-4)


@pytest.mark.parametrize("noise", MAKE)
@pytest.mark.slow
def test_bounds_of_finer_grids_decrease_to_the_continuous_one(noise):
    process = MAKE[noise](V)
    denoiser = discrete.exact_denoiser(JOINT, process)

    @jax.jit
    def bound(ts):
        def term(row):
            pairs, weights = noisy(process, row.t)
            each = process.noise.divergence(denoiser(pairs[1], row.t), *pairs, row).sum(1)
            return expectation(weights, each)

        return jax.lax.map(term, process.row(jnp.stack([ts[1:], ts[:-1]], -1))).sum(0)

    bounds = np.stack([bound(jnp.linspace(1.0, 0.0, n + 1)) for n in (1, 8, 16)])
    mean = bounds @ np.exp(JOINT.reshape(-1))
    assert np.any(bounds[1:] > bounds[:-1] + 1e-3)  # not for every sequence, and below its negative log-probability
    assert np.any(bounds < -JOINT.reshape(-1) - 1e-3)
    of_steps = law(process, discrete.Ancestral(), denoiser, 8, LENGTH).reshape(-1)
    assert np.all(bounds[1] > -jnp.log(of_steps))
    p = jnp.exp(JOINT)
    entropy = -float(jnp.sum(p * JOINT))
    marginals = [p.sum(tuple(j for j in range(LENGTH) if j != i)) for i in range(LENGTH)]
    np.testing.assert_allclose(mean[0], -sum(float(jnp.sum(m * jnp.log(m))) for m in marginals), rtol=1e-4)
    gaps = np.array(mean[1:]) - entropy
    assert np.all(gaps > 0)
    np.testing.assert_allclose(np.log2(gaps[:-1] / gaps[1:]), 1.0, atol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("noise", MAKE)
def test_estimates_of_the_bounds_agree_with_enumeration(noise):
    process = MAKE[noise](V, schedules.LogLinear(alpha_min=1e-2))
    x0 = jnp.tile(X, (400, 1))
    denoiser = any_network(process)
    exact = integrated_loss(process, denoiser)
    bound = jax.jit(discrete.variational_bound)(jax.random.key(0), denoiser, process, x0)
    loss, aux = jax.jit(discrete.token_loss)(jax.random.key(1), denoiser, process, x0)
    for values in (bound.diffusion, loss):  # averaged over sequences: the weight has heavy tails
        np.testing.assert_allclose(values.mean(), exact.mean(), rtol=0.06)
    alpha = 1e-2
    kept = alpha + (1 - alpha) / V
    prior = {"absorbing": alpha * np.log(V), "uniform": kept * np.log(V * kept) + (1 - kept) * np.log(V * (1 - kept))}
    np.testing.assert_allclose(bound.prior, LENGTH * prior[noise], rtol=1e-4)
    assert aux.z_t.shape == x0.shape
    assert np.all((aux.changed >= 0) & (aux.changed <= 1))
    assert np.all(aux.cross_entropy >= 0)


@pytest.mark.slow
def test_the_loss_under_jit_vmap_and_bfloat16():
    process = discrete.absorbing(4)
    weights = jax.random.normal(jax.random.key(0), (5, 4))

    def mean_loss(key, x0, weights, dtype=jnp.float32, where=None):
        network = lambda z, t: weights.astype(dtype)[z]
        denoiser = discrete.denoiser_from_network(network, process)
        return discrete.token_loss(key, denoiser, process, x0, where=where)[0].mean()

    x0, key = jnp.tile(jnp.arange(4), (8, 1)), jax.random.key(1)
    loss = jax.jit(mean_loss, static_argnames="dtype")
    full, half = loss(key, x0, weights), loss(key, x0, weights, dtype=jnp.bfloat16)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, rtol=0.02)
    gradients = jax.jit(jax.vmap(jax.grad(mean_loss, argnums=2), in_axes=(None, 0, None)))
    gradient, same = gradients(key, jnp.stack([x0, x0]), weights)
    np.testing.assert_array_equal(gradient, same)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient[4] != 0)
    assert np.all(gradient[:4] == 0)  # a token without a mask is carried over
    assert np.isnan(loss(key, x0.at[0, 0].set(4), weights))  # a code out of the vocabulary, traced
    assert loss(key, x0, weights, where=jnp.array([True, False, False, False])) < full


AT, KEY = Times(jnp.full(1, 0.5), jnp.ones(1)), jax.random.key(0)
DENOISER, ONE = (lambda z, t: jnp.full((*z.shape, 2), -jnp.log(2.0))), jnp.array([[0, 1]])
LOGITS, GRID = (lambda z, t: jnp.full((*z.shape, 2), 4.0)), [1.0, 0.5, 0.0]
LOSSES = {
    "token_loss": lambda denoiser, process, x0: discrete.token_loss(KEY, denoiser, process, x0)[0],
    "token_loss_at": lambda denoiser, process, x0: discrete.token_loss_at(
        denoiser, process, x0, x0.at[0, 0].set(process.num_states - 1), AT
    )[0],
    "variational_bound": lambda denoiser, process, x0: discrete.variational_bound(KEY, denoiser, process, x0).total,
    "discrete_variational_bound": lambda denoiser, process, x0: discrete.discrete_variational_bound(
        KEY, denoiser, process, x0, GRID
    ).total,
}


@pytest.mark.parametrize(
    ("name", "noise"),
    [("token_loss_at", noise) for noise in MAKE]
    + [pytest.param(name, "uniform", marks=pytest.mark.slow) for name in LOSSES if name != "token_loss_at"],
)
def test_logits_in_the_place_of_a_denoiser_have_no_loss(name, noise):
    """An error where they can be seen, else NaN; rounding to bfloat16 is neither, also of a large vocabulary."""
    process, loss = MAKE[noise](2), LOSSES[name]
    run = jax.jit(lambda x0, value: loss(lambda z, t: jnp.full((*z.shape, 2), value), process, x0))
    assert np.isfinite(run(ONE, -np.log(2.0))).all()
    assert np.isnan(run(ONE, 4.0)).all()
    if name.startswith("token_loss"):
        with pytest.raises(ValueError, match=r"denoiser must return normalised log-probabilities .* got 109\.196"):
            loss(LOGITS, process, ONE)
        large, v = MAKE[noise](3000), 3000
        assert np.isfinite(loss(lambda z, t: jnp.full((*z.shape, v), -jnp.log(v), jnp.bfloat16), large, ONE)).all()


@pytest.mark.parametrize("noise", MAKE)
def test_codes_and_times_that_are_missing_have_no_loss(noise):
    """-1 of a compiled sampler is not the last code, and a time that is NaN has no weight of 0."""
    process = MAKE[noise](2)
    run = jax.jit(lambda x0, z, t: discrete.token_loss_at(DENOISER, process, x0, z, Times(t, jnp.ones(1)))[0])
    assert np.isfinite(run(ONE, ONE, jnp.array([0.5])))
    for changed in ((ONE.at[0, 1].set(-1), ONE), (ONE, ONE.at[0, 1].set(-1))):
        assert np.isnan(run(*changed, jnp.array([0.5])))
    assert np.isnan(run(ONE, ONE, jnp.array([jnp.nan])))


@pytest.mark.parametrize(
    ("process", "dtype"),
    [(discrete.uniform(256), np.uint8), (discrete.absorbing(255), np.int8), (discrete.absorbing(127), np.uint32)],
)
def test_tokens_of_small_integers_are_those_of_large_ones(process, dtype):
    v, seen = process.num_tokens, []
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(256, v)), jnp.float32)
    network = lambda z, t: seen.append(z) or logits[z]
    denoiser, times = discrete.denoiser_from_network(network, process), Times(jnp.array([0.5]), jnp.ones(1))
    x0, top = np.array([[1, 0, 3]]), min(process.num_states - 1, np.iinfo(dtype).max)
    z_t = np.array([[1, top, 7]])
    exact, found = (
        discrete.token_loss_at(denoiser, process, x0.astype(kind), z_t.astype(kind), times)[0]
        for kind in (np.int32, dtype)
    )
    np.testing.assert_array_equal(found, exact)
    assert np.isfinite(found).all()
    assert int(seen[-1][0, 1]) == top
    z_s = discrete.posterior(process, z_t[:, :1].astype(dtype), x0[:, :1].astype(dtype), 0.5, 0.2)
    np.testing.assert_allclose(z_s.sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(denoiser(np.array([[0, 7]], dtype), 0.5)).sum(-1), 1.0, rtol=1e-5)


def test_no_noise_of_an_infinitely_steep_schedule_costs_nothing():
    process = discrete.uniform(3, schedules.Polynomial(power=0.5))
    denoiser = discrete.denoiser_from_network(lambda z, t: jnp.zeros((*z.shape, 3)), process)
    x, times = jnp.array([[1, 2]]), Times(jnp.zeros(1), jnp.ones(1))
    assert discrete.token_loss_at(denoiser, process, x, x, times)[0].tolist() == [0.0]


def test_a_grid_of_the_enclosing_function_is_compiled_in():
    process, x0 = discrete.absorbing(2), jnp.array([[0, 1], [1, 1]])
    denoiser = discrete.exact_denoiser(jnp.log(jnp.full((2, 2), 0.25)), process)
    ts = jnp.linspace(1.0, 0.0, 3)
    bound = lambda key: discrete.discrete_variational_bound(key, denoiser, process, x0, ts).total
    np.testing.assert_allclose(jax.jit(bound)(jax.random.key(0)), bound(jax.random.key(0)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"ts must end at 0, got 0\.5"):
        discrete.discrete_variational_bound(jax.random.key(0), denoiser, process, x0, jnp.array([1.0, 0.5]))
