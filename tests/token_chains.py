"""Short chains that are counted out: all states of a few tokens, and the exact law of a sampler."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import autoregressive, discrete


def states(size, length):
    """All sequences, ``(size^length, length)``, in the order of a flattened table."""
    return jnp.array(list(itertools.product(range(size), repeat=length)))


def chain(seed=0, v=2, length=3):
    """``log p(x)`` of dependent tokens, a table with an axis for each."""
    p = np.random.default_rng(seed).dirichlet(np.full(v**length, 0.7))
    return jnp.log(jnp.asarray(p.reshape((v,) * length), jnp.float32))


def log_forward(process, x0, z, t):
    """``log q(z_t | x0)`` of pairs of sequences ``(..., n)``."""
    alpha, sigma = process.schedule.alpha(t), process.schedule.sigma(t)
    x0, z = jnp.broadcast_arrays(x0, z)
    each = process.noise.log_likelihood(z, alpha, sigma)
    return jnp.take_along_axis(each, x0[..., None], axis=-1)[..., 0].sum(-1)


def product(p):
    """The matrix ``(N, N)`` of independent tokens from their probabilities ``(N, n, S)``."""
    matrix = jnp.ones((p.shape[0], 1))
    for i in range(p.shape[1]):
        matrix = (matrix[:, :, None] * p[:, i, None, :]).reshape(p.shape[0], -1)
    return matrix


def step_matrix(process, solver, row, denoiser, z):
    """The transition matrix of a step over all states."""
    if isinstance(solver, discrete.PredictorCorrector):
        ancestral = discrete.Ancestral()
        matrix = step_matrix(process, ancestral, row.predictor, denoiser, z)
        back = row.corrector
        keep = back.alpha_t / back.alpha_s
        noise = jnp.zeros(process.num_states).at[process.num_tokens :].set(1.0)
        noise = jnp.full(process.num_states, 1 / process.num_tokens) if process.mask is None else noise
        renewed = keep * jax.nn.one_hot(z, process.num_states) + (1 - keep) * noise
        round_trip = product(renewed) @ step_matrix(process, ancestral, back, denoiser, z)
        return matrix @ jnp.linalg.matrix_power(round_trip, solver.num_corrections)
    return product(jnp.exp(solver.transition(z, row, denoiser)))


def law(process, solver, denoiser, steps, length):
    """The exact distribution of ``discrete.sample`` with equal steps: a table over the tokens.

    The number of steps may be traced, so that one program serves all.
    """
    size, v = process.num_states, process.num_tokens
    z = states(size, length)
    start = jnp.all(z == process.mask, axis=1) if process.mask is not None else jnp.ones(len(z))

    def body(k, p):
        row = solver.row(process, 1.0 - jnp.stack([k + 1, k]) / steps)
        matrix = step_matrix(process, solver, row, denoiser, z)
        return p @ jnp.where((p > 0)[:, None], matrix, 0.0)  # impossible states have no posterior

    p = jax.lax.fori_loop(0, steps, body, start / start.sum())
    return p.reshape((size,) * length)[(slice(0, v),) * length]


def distance(p, log_q):
    """The total variation between a table of probabilities and one of log-probabilities."""
    return 0.5 * float(jnp.sum(jnp.abs(p - jnp.exp(log_q))))


def frequencies(x, v):
    """The table of the frequencies of sampled sequences ``(N, n)``."""
    n = x.shape[1]
    codes = jnp.ravel_multi_index(tuple(x.T), (v,) * n, mode="clip")
    return jnp.bincount(codes, length=v**n).reshape((v,) * n) / len(x)


def markov(seed, v=3):
    """A Markov chain of codes with random logits."""
    rng = np.random.default_rng(seed)
    return autoregressive.markov_chain(jnp.asarray(rng.normal(size=v)), jnp.asarray(1.5 * rng.normal(size=(v, v))))
