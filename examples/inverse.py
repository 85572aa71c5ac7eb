"""An inverse problem: a prior learned from data, one noisy measurement, and intervals that mean what they say. Equinox.

    python examples/inverse.py        # or with another number of steps: python examples/inverse.py 500

One CPU minute: intervals of 90 % hold 89.6 % of the exact posterior, and 58 % of the samples are of the first kind, as
they should be.

The data are signals of two kinds, random walks around one mean or around its opposite. Replace ``load_signals``,
``measure``, ``OBSERVATION`` and ``NOISE_STD`` by your own. The law of these signals is a mixture of Gaussians, so that
the posterior is known: ``compare`` compares the samples with it. For your own data delete ``compare``. Under
``jax.set_mesh(jax.make_mesh((n,), ("data",)))`` each of the n devices has a part of every batch. Needs
``pip install 'scorekit[experiments]' equinox``.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

import scorekit as sk

SCHEDULE = sk.schedules.Cosine()
LEARNING_RATE, WIDTH, DEPTH = 1e-3, 128, 3
LENGTH, WEIGHTS = 16, np.array([0.3, 0.7])

# Data and measurement: replace these.

OBSERVATION = np.array([0.2, 0.0], np.float32)  # what was measured, (K,)
NOISE_STD = 0.3  # the standard deviation of its noise

_PLACES = np.arange(1, LENGTH + 1)
COVARIANCE = 0.3 * np.minimum.outer(_PLACES, _PLACES) / LENGTH  # of random walks
MEANS = np.stack([np.sin(2 * np.pi * _PLACES / LENGTH), -np.sin(2 * np.pi * _PLACES / LENGTH)])


def load_signals(number=50_000):
    """Floats ``(N, D)`` of order one."""
    law = sk.densities.mixture(WEIGHTS, [sk.densities.gaussian(mean, covariance=COVARIANCE) for mean in MEANS])
    return np.asarray(law.sample(jax.random.key(0), (number,)))


def measure(x):
    """Linear, ``(B, D) -> (B, K)``: two of the values, near which the two kinds of signals cross."""
    return x[:, 6::8]


def split(batch):
    """The batch, in parts on the devices of the mesh where one is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return batch if mesh.empty else jax.device_put(batch, PartitionSpec("data"))


# Network, loss and step.


class Network(eqx.Module):
    """``(x, noise level) -> v``; residual blocks. The layers of Equinox take one example: ``jax.vmap``."""

    layers: list[eqx.nn.Linear]

    def __init__(self, dim, key):
        sizes = [(dim, WIDTH), (8, WIDTH), *[(WIDTH, WIDTH)] * DEPTH, (WIDTH, dim)]
        keys = jax.random.split(key, len(sizes))
        self.layers = [eqx.nn.Linear(*size, key=key) for size, key in zip(sizes, keys, strict=True)]

    def __call__(self, x, level):
        first, for_level, *inner, last = map(jax.vmap, self.layers)
        level = jnp.broadcast_to(level, x.shape[:1])
        waves = jnp.stack([f(k * level) for k in (0.5, 1.0, 2.0, 4.0) for f in (jnp.sin, jnp.cos)], axis=1)
        h = first(x) + for_level(waves)
        for layer in inner:
            h = h + layer(jax.nn.silu(h))
        return last(jax.nn.silu(h))


def loss(network, key, x0):
    """``E |v - v_hat(x_t, t)|^2 / D`` over times and noise."""
    predict = sk.denoisers.condition_on_log_snr(network, SCHEDULE)
    return sk.denoising_loss(key, predict, SCHEDULE, x0, target="v")[0].mean()


@eqx.filter_jit
def train_step(network, optimizer, moments, key, x0):
    """The next network and state of the optimiser, and the loss."""
    value, gradient = eqx.filter_value_and_grad(loss)(network, key, x0)
    updates, moments = optimizer.update(gradient, moments)
    return eqx.apply_updates(network, updates), moments, value


# Samples of the posterior.


@eqx.filter_jit
def draw(network, key, noise, y):
    """Particles that go from the prior to the posterior given ``y``; exact for many particles and small steps."""
    predict = sk.denoisers.condition_on_log_snr(network, SCHEDULE)
    prior = sk.denoiser_from_network(predict, SCHEDULE, "v")
    solver, ts = sk.solvers.DPMSolverPP2M(), sk.solvers.grids.uniform(20)
    given = noise, ts, measure, y, NOISE_STD
    return sk.samplers.annealed_posterior(key, prior, SCHEDULE, solver, *given)


# The comparison with the exact posterior: delete this for your own data.


def exact_posterior(y):
    """The law of the signals given ``y``: a mixture of the posteriors of its parts, weighted by their evidence."""
    observe = np.asarray(measure(np.eye(LENGTH))).T
    of_y = observe @ COVARIANCE @ observe.T + NOISE_STD**2 * np.eye(len(y))
    gain = COVARIANCE @ observe.T @ np.linalg.inv(of_y)
    left = COVARIANCE - gain @ observe @ COVARIANCE
    parts = [sk.densities.gaussian(mean + gain @ (y - observe @ mean), covariance=left) for mean in MEANS]
    log_evidence = [sk.densities.gaussian(observe @ mean, covariance=of_y).log_density(y) for mean in MEANS]
    return sk.densities.mixture(WEIGHTS * np.exp(log_evidence), parts)


def compare(samples, low, high):
    """Prints how much of the exact posterior the intervals hold, and the weight of its two kinds."""
    exact = np.asarray(exact_posterior(OBSERVATION).sample(jax.random.key(5), (100_000,)))
    covered = float(np.mean((low < exact) & (exact < high)))
    kinds = [float(np.mean(x @ MEANS[0] > 0)) for x in (samples, exact)]
    print(f"these intervals of 90 % hold {covered:.1%} of the exact posterior")
    print(f"probability of the first kind: {kinds[0]:.2f}, exact {kinds[1]:.2f}")
    return {"covered": covered, "kinds": kinds}


def main(steps=4000, batch_size=256, num_samples=4000):
    x = load_signals()
    if measure(x[:1]).shape != (1, *OBSERVATION.shape):
        raise SystemExit(f"measure must return (B, K) with K = {OBSERVATION.size}, got {measure(x[:1]).shape}")
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    @eqx.filter_jit
    def init(key):
        network = Network(x.shape[1], key)
        return network, optimizer.init(eqx.filter(network, eqx.is_inexact_array))

    network, moments = init(jax.random.key(1))
    for i in range(steps):
        rows, key = np.random.default_rng(i).integers(len(x), size=batch_size), jax.random.fold_in(jax.random.key(2), i)
        network, moments, value = train_step(network, optimizer, moments, key, split(x[rows]))
        if (i + 1) % 500 == 0:
            print(f"step {i + 1}: loss {value:.4f}", flush=True)

    noise = split(sk.sample_prior(jax.random.key(3), SCHEDULE, jnp.zeros((num_samples, x.shape[1]))))
    samples = np.asarray(draw(network, jax.random.key(4), noise, OBSERVATION).x)
    if not np.isfinite(samples).all():
        raise SystemExit("no sample is near the measurement: train for more steps, or measure is not linear")
    low, high = np.quantile(samples, [0.05, 0.95], axis=0)
    for place, ends in enumerate(zip(low, high, strict=True)):
        print("place {:2}: 90 % interval from {:5.2f} to {:5.2f}".format(place, *ends))
    return {"samples": samples} | compare(samples, low, high)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
