"""Gaussian processes and Markov chains as autoregressive models: joints, scores, samples and noise levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from scorekit import autoregressive as ar
from scorekit import denoisers, likelihood, schedules
from scorekit.densities import gaussian

COEFFICIENTS, STD, LENGTH = np.array([0.9, -0.5, 0.2]), 0.7, 8
MODEL = ar.ar_process(COEFFICIENTS, STD)
SCHEDULE = schedules.Cosine()


def covariance():
    """Of the stationary process, from the moving average ``x_i = s sum_k h_k z_{i-k}``, in float64."""
    h = np.zeros(2000)
    h[0] = 1.0
    for k in range(1, len(h)):
        h[k] = sum(a * h[k - j] for j, a in enumerate(COEFFICIENTS, 1) if k >= j)
    r = np.array([STD**2 * h[: len(h) - k] @ h[k:] for k in range(LENGTH)])
    return r[np.abs(np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH)))]


C = covariance()
JOINT = gaussian(jnp.zeros(LENGTH), covariance=C)
X = jnp.asarray(np.random.default_rng(0).multivariate_normal(np.zeros(LENGTH), C, 5), jnp.float32)


def test_conditionals_of_an_ar_process_multiply_to_the_joint_gaussian():
    found = jax.jit(ar.position_log_probs)(MODEL, X[..., None])
    assert found.shape == (5, LENGTH)
    quadratic = np.einsum("bi,ij,bj->b", X, np.linalg.inv(C), X)
    expected = -0.5 * (quadratic + np.linalg.slogdet(C)[1] + LENGTH * np.log(2 * np.pi))
    np.testing.assert_allclose(found.sum(1), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(JOINT.log_density(X), expected, rtol=1e-4, atol=1e-4)


def test_score_of_an_ar_process_is_the_product_with_the_precision():
    score = jax.jit(denoisers.score_from_log_density(Partial(ar.log_prob, MODEL)))
    expected = -np.asarray(X, np.float64) @ np.linalg.inv(C)
    np.testing.assert_allclose(score(X[..., None])[..., 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, ar.gaussian_sequence(JOINT)], ids=["process", "cholesky"])
def test_steps_and_all_positions_at_once_are_the_same_conditionals(model):
    @jax.jit
    def both(model, x):
        step = lambda state, previous: model.step(state, previous)[::-1]
        previous = jnp.concatenate([jnp.full((1, 5, 1), 9.0), jnp.moveaxis(x, 1, 0)[:-1]])
        return model.outputs(x), jax.lax.scan(step, model.init_state(5, LENGTH), previous)[1]

    parallel, one_by_one = both(model, X[..., None])
    np.testing.assert_allclose(one_by_one.swapaxes(0, 1), parallel, rtol=1e-4, atol=1e-5)
    expected = -0.5 * np.asarray(JOINT.log_density(X))
    np.testing.assert_allclose(0.5 * -ar.log_prob(model, X[..., None]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_samples_have_the_covariance():
    run = jax.jit(ar.sample, static_argnums=(2, 3))
    x = np.asarray(run(jax.random.key(0), MODEL, 20_000, LENGTH))[..., 0]
    assert np.abs(np.cov(x.T) - C).max() < 5 * C[0, 0] * np.sqrt(2 / 20_000)
    continued = run(jax.random.key(1), MODEL, 5, LENGTH, prefix=X[:, :3, None])
    np.testing.assert_array_equal(continued[:, :3, 0], X[:, :3])
    assert not np.allclose(continued[:, 3:, 0], X[:, 3:])


@pytest.mark.slow
def test_bits_of_a_markov_chain_approach_its_entropy():
    p = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.0, 0.6, 0.4]])
    values, vectors = np.linalg.eig(p.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    chain = ar.markov_chain(jnp.log(stationary), jnp.log(p))
    x = jax.jit(ar.sample, static_argnums=(2, 3))(jax.random.key(0), chain, 500, 60)
    bits = jax.jit(ar.bits_per_sample)(chain, x)
    assert isinstance(bits, likelihood.BitsPerDim)
    rows = -np.sum(p * np.log2(np.where(p > 0, p, 1.0)), 1)
    first = -np.sum(stationary * np.log2(stationary))
    expected = (first + 59 * stationary @ rows) / 60
    assert abs(float(bits.bits_per_dim.mean()) - expected) < 0.02
    impossible = ar.log_prob(chain, jnp.array([[0, 2, 1]]))
    assert impossible == -jnp.inf


class Breaking:
    """Codes of which the second of three sequences has none from its third position on; it keeps what it is given."""

    conditional = ar.Categorical(num_codes=3)

    def __init__(self):
        self.seen = []

    def init_state(self, batch, length):
        return jnp.zeros((), jnp.int32)

    def step(self, state, previous):
        jax.debug.callback(lambda previous: self.seen.append(np.asarray(previous)), previous)
        fails = (jnp.arange(3) == 1) & (state == 2)
        return jnp.where(fails[:, None], jnp.nan, jnp.zeros((3, 3))), state + 1


@pytest.mark.parametrize("transform", [None, lambda logits: ar.nucleus(ar.temperature(logits, 0.5), 0.9)])
def test_a_sequence_without_a_possible_code_ends_there(transform):
    model, prefix = Breaking(), jnp.ones((3, 1), jnp.int32)
    draw = lambda key: ar.sample(key, model, 3, 5, prefix=prefix, transform=transform)
    x = np.asarray(jax.jit(draw)(jax.random.key(0)))
    jax.effects_barrier()
    assert (x < 0).tolist() == [[False] * 5, [False, False, True, True, True], [False] * 5]
    assert x.min() == -1
    assert len(model.seen) == 5
    assert all(previous.min() >= 0 for previous in model.seen)
    with pytest.raises(ValueError, match="model must give outputs with a finite largest logit, but for 1 of 3"):
        draw(jax.random.key(0))


def test_compiled_conditionals_of_many_long_sequences_are_those_of_single_ones():
    """Of a fusion that XLA has computed wrongly: 30,000 values and more, in a compiled program."""
    model = ar.ar_process([1.9, -0.97], std=0.05)
    x = np.random.default_rng(0).normal(size=(500, 400, 1)).astype(np.float32)
    many = jax.jit(ar.position_log_probs)(model, x)
    np.testing.assert_allclose(many[-2:], ar.position_log_probs(model, x[-2:]), rtol=1e-3)


@pytest.mark.slow
def test_smoothed_models_are_the_exact_denoiser():
    """The explicit densities of all noise levels as one diffusion model."""
    model_at = lambda t: ar.gaussian_sequence(JOINT.marginal(SCHEDULE.alpha(t), SCHEDULE.sigma(t)))
    denoiser = denoisers.denoiser_from_log_density(ar.smoothed_log_density(model_at), SCHEDULE)
    exact = denoisers.exact_denoiser(JOINT, SCHEDULE)
    for t in (0.1, 0.6, 1.0):
        found, expected = jax.jit(denoiser)(X[..., None], t), exact(X, t)
        np.testing.assert_allclose(found.eps[..., 0], expected.eps, rtol=1e-3, atol=2e-4)
