"""A user's program with something of every package of the core: pyright in its strict mode finds no error in it."""

import jax
import jax.numpy as jnp

import scorekit as sk
from scorekit import forcing
from scorekit.typing import Array, Denoiser, Key, Schedule, Solver


def draw(key: Key, denoiser: Denoiser, schedule: Schedule, solver: Solver, ts: Array) -> Array:
    noise = sk.sample_prior(key, schedule, jnp.zeros((16, 2)))
    return sk.sample(denoiser, schedule, solver, noise, ts)


def network(x_t: Array, t: Array) -> Array:
    return jnp.tanh(x_t) * (1 - jnp.reshape(t, (-1, 1)))


def first(leaf: Array) -> Array:
    return leaf[0]


key, schedule = jax.random.key(0), sk.schedules.Cosine()
data = sk.densities.ring()
x0 = data.sample(key, (16,))

# losses, weightings, times; denoisers, guidance, predictions
weighting, times = sk.weightings.min_snr(), sk.times.Uniform(t_min=1e-3)
loss, aux = sk.denoising_loss(key, network, schedule, x0, target="v", weighting=weighting, times=times)
learned = sk.denoiser_from_network(network, schedule, target="v")
exact = sk.denoisers.exact_denoiser(data, schedule)
guided = sk.guidance.classifier_free(exact, learned, guidance_scale=2.0)
rescaled = sk.guidance.dynamic_threshold(guided, schedule, percentile=0.99)
prediction: sk.Prediction = exact(x0, jnp.array(0.5))
eps, x_0 = prediction.eps, prediction.x0

# solvers, samplers
ts = sk.solvers.grids.uniform(8)
solver = sk.solvers.Heun()
x: Array = draw(key, exact, schedule, solver, ts)
best, grid = sk.samplers.recommended(schedule, 8)
noise = sk.samplers.invert(exact, schedule, solver, x, ts)
solved = sk.samplers.adaptive_ode(exact, schedule, noise)
rows, state = best.plan(schedule, grid), best.init(noise)
row = jax.tree.map(first, rows)
x_s, state = best.step(state, noise, row, exact)

# likelihood, typicality, process, trees
found = sk.likelihood.log_likelihood(exact, schedule, x0)
bits = sk.likelihood.bits_per_dim(found.log_p, 2, bins=256, dequantisation="uniform")
scores = sk.typicality.gaussian_score(x0)(x)
norm = sk.trees.sum_per_example(jnp.square, x)

# two-time models, two data sets, tokens, factorised models, frames
consistency = sk.flow_maps.consistency_function(learned, sk.schedules.EDM())
pinned = sk.interpolants.bridge_noise(sk.interpolants.brownian_schedule(), x0, x0, x0, 0.5)
tokens = sk.discrete.absorbing(3)
logits = sk.discrete.denoiser_from_network(lambda z, t: jnp.zeros((*z.shape, 3)), tokens)
next_one = sk.autoregressive.Categorical(num_codes=256).log_prob(jnp.zeros((1, 256)), jnp.array([17]))
pair = sk.densities.gaussian(jnp.zeros(2), covariance=jnp.array([[1.0, 0.8], [0.8, 1.0]]))
frames = forcing.exact_denoiser(pair, schedule, 2)(jnp.ones((1, 2, 1)), jnp.array([[0.0, 1.0]]))

print(loss.mean(), aux, rescaled(x0, jnp.array(0.5)).x0.shape, eps.shape, x_0.shape, solved.x.shape, x_s.shape)
print(bits.bits_per_dim, scores.shape, norm.shape, consistency(x0, jnp.array(0.5)), pinned.shape)
print(logits(jnp.zeros((1, 4), int), jnp.array(0.5)).shape, next_one, frames.x0)
