"""A flow map: one evaluation of a network takes noise to data. Flax NNX.

    python examples/one_step.py        # or with another number of steps: python examples/one_step.py 500

Two CPU minutes: the energy distance of samples to held-out points is -0.0001 in one step, that of data -0.0002.

The data are points on two spirals; ``load_points`` is the function to replace by your own vectors. The loss is that of
shortcut models, two terms at once: where a jump has no length the map is the velocity (flow matching), and a jump is
two jumps of half its length. Under ``jax.set_mesh(jax.make_mesh((n,), ("data",)))`` each of the n devices has a part of
every batch. Needs ``pip install 'scorekit[experiments]'``.

Frans et al. 2024, "One step diffusion via shortcut models" (https://arxiv.org/abs/2410.12557).
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import PartitionSpec

import scorekit as sk
from scorekit import flow_maps

SCHEDULE = sk.schedules.RectifiedFlow()  # x_t = (1 - t) x0 + t eps
LEARNING_RATE, WIDTH, DEPTH, LEVELS = 2e-3, 128, 4, 7


# Data: replace this function.


def load_points(number=20_000):
    """Floats ``(N, D)`` with mean 0 and a standard deviation near 1."""
    rng = np.random.default_rng(0)
    radius, arm = np.sqrt(rng.uniform(0.05, 1, number)), rng.integers(2, size=number)
    angle = 3 * np.pi * radius + np.pi * arm
    points = 1.9 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (points + 0.04 * rng.normal(size=points.shape)).astype(np.float32)


def split(batch):
    """The batch, in parts on the devices of the mesh where one is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return batch if mesh.empty else jax.device_put(batch, PartitionSpec("data"))


# Network, loss and step.


class Network(nnx.Module):
    """``(x_t, t, s) -> u``, the average velocity from t to s: ``x_s = x_t + (s - t) u``; residual blocks."""

    def __init__(self, dim, rngs):
        self.input, self.times = nnx.Linear(dim, WIDTH, rngs=rngs), nnx.Linear(12, WIDTH, rngs=rngs)
        self.inner = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(DEPTH)])
        self.output = nnx.Linear(WIDTH, dim, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x, t, s):
        t, s = jnp.broadcast_to(t, x.shape[:1]), jnp.broadcast_to(s, x.shape[:1])
        waves = [f(k * time) for time in (t, t - s) for k in (1.0, 2.0, 4.0) for f in (jnp.sin, jnp.cos)]
        h = self.input(x) + self.times(jnp.stack(waves, axis=1))
        for layer in self.inner:
            h = h + layer(nnx.silu(h))
        return self.output(nnx.silu(h))


def loss(network, key, x0):
    """``E |u(x_t, t, t) - (eps - x0)|^2 / D``, and the same distance of a jump to its two halves, without gradient."""
    for_noise, for_times, for_jumps = jax.random.split(key, 3)
    flow_map = flow_maps.flow_map_from_network(network, SCHEDULE, "velocity")
    eps = jax.random.normal(for_noise, x0.shape)
    t = jax.random.uniform(for_times, x0.shape[:1])
    given = flow_map, SCHEDULE, x0, eps
    matching = flow_maps.eulerian_loss(*given, t, t)
    jump = flow_maps.shortcut_steps(for_jumps, SCHEDULE, len(x0), LEVELS)
    halves = jump.t, jump.middle, jump.s
    consistency = flow_maps.semigroup_loss(*given, *halves, shortest=2.0**-LEVELS)
    return (matching + consistency).mean()


@nnx.jit
def train_step(network, optimizer, key, x0):
    """Changes the network and the state of the optimiser; returns the loss."""
    value, gradient = nnx.value_and_grad(loss)(network, key, x0)
    optimizer.update(network, gradient)
    return value


# Samples.


@nnx.jit
def draw(network, noise, ts):
    """From noise at ``ts[0]`` to ``ts[-1]`` with one evaluation for each step of the grid."""
    flow_map = flow_maps.flow_map_from_network(network, SCHEDULE, "velocity")
    return sk.sample(flow_map, SCHEDULE, flow_maps.FlowMapSolver(), noise, ts)


def main(steps=6000, batch_size=512, num_samples=2000):
    points = load_points()
    held_out, x = points[:num_samples], points[num_samples:]

    @nnx.jit
    def init():
        network = Network(x.shape[1], nnx.Rngs(0))
        schedule = optax.cosine_decay_schedule(LEARNING_RATE, steps)
        return network, nnx.Optimizer(network, optax.adam(schedule), wrt=nnx.Param)

    network, optimizer = init()
    for i in range(steps):
        rows = np.random.default_rng(i).integers(len(x), size=batch_size)
        value = train_step(network, optimizer, jax.random.fold_in(jax.random.key(1), i), split(x[rows]))
        if (i + 1) % 500 == 0:
            print(f"step {i + 1}: loss {value:.4f}", flush=True)

    # The energy distance of two sets of points from one distribution is 0 on average.
    distance = lambda points: float(sk.metrics.energy_distance(np.asarray(points), held_out))
    noise = split(sk.sample_prior(jax.random.key(2), SCHEDULE, jnp.zeros(held_out.shape)))
    results = {"data": distance(x[:num_samples]), "noise": distance(noise)}
    for number in (1, 2, 4):
        samples = draw(network, noise, jnp.linspace(1.0, 0.0, number + 1))
        results[f"{number}-step"] = distance(samples)
    print("energy distance to held-out points:", ", ".join(f"{k} {v:.4f}" for k, v in results.items()))
    return results | {"samples": np.asarray(samples)}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
