"""The posterior of a simulator: trained once, sampled for any observation, and tested for calibration.

    python examples/posterior.py        # or with another number of steps: python examples/posterior.py 500

Two CPU minutes: of 400 tests, intervals of 50 % hold 46 and 48 % of the true parameters, and those of 90 % hold 91 and
87 % (standard errors 2.5 and 1.5 %).

The simulator is an epidemic whose rates of infection and recovery are inferred from how many are ill; ``simulate`` and
``PRIOR`` are what to replace by your own. The test is simulation-based calibration: among samples of an exact
posterior, the true parameters have every rank equally often. Under ``jax.set_mesh(jax.make_mesh((n,), ("data",)))``
each of the n devices has a part of every batch. Needs ``pip install 'scorekit[experiments]'``.

Talts et al. 2018, "Validating Bayesian inference algorithms with simulation-based calibration"
(https://arxiv.org/abs/1804.06788).
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

import scorekit as sk

SCHEDULE = sk.schedules.Cosine()
LEARNING_RATE, SAMPLING_STEPS, LEVELS = 1e-3, 20, np.array([0.5, 0.9])

# Parameters and simulator: replace these.

PARAMETERS = "infections per ill person and day", "recoveries per ill person and day"
LOWER, UPPER = np.array([0.2, 0.05]), np.array([1.5, 0.5])
PRIOR, BOUNDS = sk.densities.uniform(LOWER, UPPER), sk.densities.bounds(LOWER, UPPER)


def simulate(rng, theta):
    """Observations ``(N, K)`` given parameters ``(N, D)``: of 1,000 people, the logarithm of how many are ill."""
    infection, recovery = theta.T
    well, ill, counts = np.full(len(theta), 980), np.full(len(theta), 20), []
    for _ in range(30):
        infected = rng.binomial(well, 1 - np.exp(-infection * ill / 1000))
        ill, well = ill + infected - rng.binomial(ill, 1 - np.exp(-recovery)), well - infected
        counts.append(ill)
    return np.log1p(np.stack(counts[2::3], axis=1))


def split(batch):
    """The batch, in parts on the devices of the mesh where one is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return batch if mesh.empty else jax.device_put(batch, PartitionSpec("data"))


# Network, loss and step. The model is of parameters without bounds, standardised.


def conditioned(network, params, observed):
    """The network as scorekit takes it, ``(theta_t, t) -> v``, given observations ``(B, K)``."""
    apply = lambda theta, noise: network.apply(params, theta, noise, vector=observed)
    return sk.denoisers.condition_on_log_snr(apply, SCHEDULE)


def loss(params, network, key, theta, observed):
    """``E |v - v_hat(theta_t, t, observed)|^2 / D`` over times and noise."""
    predict = conditioned(network, params, observed)
    losses, _ = sk.denoising_loss(key, predict, SCHEDULE, theta, target="v")
    return losses.mean()


@partial(jax.jit, static_argnums=(0, 1))
def train_step(network, optimizer, params, moments, key, theta, observed):
    """The next parameters and state of the optimiser, and the loss."""
    value, gradient = jax.value_and_grad(loss)(params, network, key, theta, observed)
    updates, moments = optimizer.update(gradient, moments, params)
    return optax.apply_updates(params, updates), moments, value


# Samples.


@partial(jax.jit, static_argnums=0)
def draw(network, params, noise, observed):
    """From noise ``(B, D)`` to parameters given observations ``(B, K)``."""
    predict = conditioned(network, params, observed)
    denoiser = sk.denoiser_from_network(predict, SCHEDULE, "v")
    solver, ts = sk.samplers.recommended(SCHEDULE, SAMPLING_STEPS)
    return sk.sample(denoiser, SCHEDULE, solver, noise, ts)


def main(steps=4000, batch_size=512, features=128, num_simulations=50_000, num_tests=400, num_samples=100):
    # The table of simulations, and scales of order one.
    rng = np.random.default_rng(0)
    theta = np.asarray(PRIOR.sample(jax.random.key(0), (num_simulations,)))
    observed = simulate(rng, theta)
    free = np.asarray(BOUNDS.to_unconstrained(jnp.asarray(theta)))
    mean, std, x_mean, x_std = free.mean(0), free.std(0), observed.mean(0), observed.std(0)
    inputs, targets = ((observed - x_mean) / x_std).astype(np.float32), ((free - mean) / std).astype(np.float32)

    network = sk.networks.MLP(features=features, vector_size=inputs.shape[1], encoder_blocks=1)
    optimizer = optax.adamw(optax.cosine_decay_schedule(LEARNING_RATE, steps))
    params = jax.jit(network.init)(jax.random.key(1), targets[:1], jnp.zeros(1), vector=inputs[:1])
    moments = jax.jit(optimizer.init)(params)
    for i in range(steps):
        rows, key = rng.integers(num_simulations, size=batch_size), jax.random.fold_in(jax.random.key(2), i)
        batch = split((targets[rows], inputs[rows]))
        params, moments, value = train_step(network, optimizer, params, moments, key, *batch)
        if (i + 1) % 500 == 0:
            print(f"step {i + 1}: loss {value:.4f}", flush=True)

    def posterior(key, observed):
        """Samples ``(N, num_samples, D)`` of the posteriors given observations ``(N, K)``."""
        given = np.repeat(((observed - x_mean) / x_std).astype(np.float32), num_samples, axis=0)
        noise = sk.sample_prior(key, SCHEDULE, jnp.zeros((len(given), len(mean))))
        samples = np.asarray(draw(network, params, *split((noise, given))))
        return np.asarray(BOUNDS.from_unconstrained(samples * std + mean)).reshape(len(observed), num_samples, -1)

    # Calibration on new simulations: the rank of the truth among the samples is uniform, and intervals cover it.
    truth = np.asarray(PRIOR.sample(jax.random.key(3), (num_tests,)))
    samples = posterior(jax.random.key(4), simulate(rng, truth))
    p_values = sk.metrics.rank_test(sk.metrics.posterior_ranks(samples, truth), num_samples).p_value
    coverage = sk.metrics.interval_coverage(samples, truth, LEVELS)
    for name, p, covered, first in zip(PARAMETERS, p_values, coverage.T, samples[0].T, strict=True):
        low, high = np.quantile(first, [0.05, 0.95])
        print(f"{name}: {low:.3f} to {high:.3f} given the first test (90 %)")
        print(f"  intervals of 50 and 90 % cover {covered[0]:.1%} and {covered[1]:.1%}; p-value of the ranks {p:.3f}")
    print(f"of {num_tests} tests; the true parameters of the first: {', '.join(f'{value:.3f}' for value in truth[0])}")
    return {"samples": samples, "p_values": p_values, "coverage": coverage}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
