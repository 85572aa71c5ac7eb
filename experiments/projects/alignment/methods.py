"""The methods: losses and training of a correction of the exact denoiser, and samplers without training."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.projects.alignment.laws import SCHEDULE, Problem, start, velocity
from scorekit import alignment, denoisers, networks, samplers, solvers

TRAINED = {"nft": (2, 0), "weighted": (1, 0), "policy": (0, 3), "gradient": (0, 2), "collapse": (0, 1)}
TRAINED |= dict.fromkeys(("adjoint", "adjoint_half", "adjoint_quiet"), (0, 3))
"""Evaluations of an example, and of each step of its path; ``collapse`` is the gradient of the reward without KL."""
BATCH, PATHS, PARTICLES, BEST = 512, 32, 64, 4
FREE = {"exact": 1, "twisted": PARTICLES, "steered": PARTICLES, "best_of": BEST}
"""Evaluations of each step of a sample without training; ``exact`` follows the exact denoiser of the tilted law."""
MLP = networks.MLP(features=64, blocks=1)


def model(p: Problem, params) -> Callable:
    """``v + sigma MLP``."""
    correction = denoisers.condition_on_log_snr(functools.partial(MLP.apply, params), SCHEDULE)
    old = velocity(p.data)
    return lambda x, t: old(x, t) + SCHEDULE.sigma(jnp.reshape(t, (-1, 1))) * correction(x, t)


def as_denoiser(network: Callable) -> Any:
    return denoisers.denoiser_from_network(network, SCHEDULE, "v")


def path_of(method: str, n: int):
    """The solver and times of a method: noise that is independent of the sample, or not."""
    solver = solvers.Ancestral(eta=0.3 if method == "adjoint_quiet" else 1.0)
    return solver, jnp.linspace(0.5 if method == "adjoint_half" else 1.0, 0.0, n + 1)


def loss(key, params, method: str, p: Problem, temperature: float, n: int):
    """The mean loss of a batch of new samples or paths."""
    network, old, (solver, ts) = model(p, params), velocity(p.data), path_of(method, n)
    for_x, key = jax.random.split(key)
    if method in ("nft", "weighted"):
        x = p.data.sample(for_x, (BATCH,))
        w = jnp.exp(p.reward(x) / temperature)
        if method == "nft":
            return alignment.nft_loss(key, network, old, SCHEDULE, x, w)[0].mean()
        return alignment.advantage_weighted_loss(key, network, SCHEDULE, x, w / w.mean())[0].mean()
    x, new, reference = start(for_x, p, ts[0], PATHS), as_denoiser(network), as_denoiser(old)
    close: dict[str, Any] = {"reference": reference, "kl": temperature}
    if method == "policy":
        fixed = as_denoiser(model(p, jax.lax.stop_gradient(params)))
        path = samplers.sample_with_log_probs(key, fixed, SCHEDULE, solver, x, ts)
        r = p.reward(path.x)
        return alignment.policy_gradient_loss(new, SCHEDULE, solver, path, ts, r - r.mean(), **close).mean()
    if method in ("gradient", "collapse"):
        options: dict[str, Any] = {"last": n} | (close if method == "gradient" else {})
        return alignment.reward_gradient_loss(new, SCHEDULE, solver, x, ts, p.reward, key=key, **options).mean()
    rest = SCHEDULE, solver, x, ts, p.reward
    return alignment.adjoint_matching_loss(key, new, reference, *rest, temperature=temperature).mean()


def trained(key, method: str, p: Problem, temperature: float, steps: int, n: int, rate: float, parts: int = 4):
    """The parameters and evaluations after each part of the training."""
    fixed, each = TRAINED[method]
    examples, cost = PATHS if each else BATCH, fixed + each * n
    updates = max(steps * BATCH // (cost * examples), parts)
    clipped = optax.clip_by_global_norm(10.0)
    optimiser = optax.chain(clipped, optax.adam(optax.cosine_decay_schedule(rate, updates), b2=0.99))

    def update(carry, key):
        grads = jax.grad(lambda params: loss(key, params, method, p, temperature, n))(carry[0])
        changes, state = optimiser.update(grads, carry[1])
        return (optax.apply_updates(carry[0], changes), state), None

    params = MLP.init(key, jnp.zeros((1, p.data.dim)), jnp.zeros(1))
    carry, run = (params, optimiser.init(params)), jax.jit(lambda carry, keys: jax.lax.scan(update, carry, keys)[0])
    keys, per_part = jax.random.split(key, updates), updates // parts
    for i in range(parts):
        carry = run(carry, keys[i * per_part : (i + 1) * per_part])
        yield jax.block_until_ready(carry[0]), (i + 1) * per_part * examples * cost


def by_paths(key, method: str, network: Callable, p: Problem, n: int, count: int):
    """Samples of the paths that the method is trained on, ``(count, D)``."""
    for_x, for_steps = jax.random.split(key)
    solver, ts = path_of(method, n)
    draw = lambda x: samplers.sample(as_denoiser(network), SCHEDULE, solver, x, ts, key=for_steps)
    return jax.jit(draw)(start(for_x, p, ts[0], count))


def without_training(key, method: str, p: Problem, temperature: float, n: int, count: int):
    """Samples ``(count, D)``: of weighted particles one of each run."""
    for_x, for_steps, for_pick = jax.random.split(key, 3)
    solver, ts, prior = solvers.DPMSolverPP2MSDE(), path_of(method, n)[1], denoisers.exact_denoiser(p.data, SCHEDULE)
    if method == "best_of":
        x = p.data.sample(for_x, (count * BEST,))
        return alignment.best_of(x, p.reward(x), BEST)
    if method == "exact":
        guided = denoisers.exact_denoiser(p.tilted, SCHEDULE)
        return samplers.sample(guided, SCHEDULE, solver, start(for_x, p, 1.0, count), ts, key=for_steps)

    def run(keys):
        problem = keys[1], prior, SCHEDULE, solver, start(keys[0], p, 1.0, PARTICLES), ts
        if method == "steered":
            result = alignment.steered_sample(*problem, p.reward, temperature=temperature)
        else:
            result = samplers.twisted_sample(*problem, lambda x: p.reward(x) / temperature)
        return result.x[jax.random.categorical(keys[2], result.log_weights)]

    return jax.lax.map(run, tuple(jax.random.split(k, count) for k in (for_x, for_steps, for_pick)), batch_size=500)
