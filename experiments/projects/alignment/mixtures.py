"""Fine-tuning and steering to a reward on mixtures, against exact tilted laws at equal evaluations of the network.

    python -m experiments.projects.alignment.mixtures --out=runs/alignment_mixtures
    python -m experiments.projects.alignment.mixtures --law=2 --reward=kink --method=adjoint,steered --steps=500

The network is the exact denoiser of a mixture of four modes and the correction of a small MLP that starts at 0, so that
the law before fine-tuning is exact. A row is one method. Columns: the KL divergence in nats of the law of the model (of
its probability-flow ODE) from the limit of the method, with the standard error over exact samples of the limit; that of
the tilted law from the limit; the energy distance of samples to those of the tilted law and the p-value of its
permutation test; mean reward; the weight in the tilted law of modes that have less than half of it; evaluations of the
network (of one sample for methods without training); CPU seconds with compilation.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.reporting.curves import Line, Panel, curves
from experiments.reporting.tables import Table, tables_as_text
from scorekit import alignment, denoisers, densities, networks, process, samplers, schedules, solvers
from scorekit.io import write_atomic
from scorekit.likelihood import log_likelihood

TRAINED = {"nft": (2, 0), "weighted": (1, 0), "policy": (0, 3), "gradient": (0, 2), "collapse": (0, 1)}
TRAINED |= dict.fromkeys(("adjoint", "adjoint_half", "adjoint_quiet"), (0, 3))
"""Evaluations of an example, and of each step of its path; ``collapse`` is the gradient of the reward without KL."""
FREE = ("exact", "twisted", "steered", "best_of")
"""Methods without training; ``exact`` follows the exact denoiser of the tilted law."""
REWARDS = ("quadratic", "kink")
HEADER = ["D", "reward", "method", "KL from limit", "limit from tilted", "energy", "p", "mean reward", "exact", "lost"]
SCHEDULE, BATCH, PATHS, PARTICLES, BEST = schedules.Cosine(), 512, 64, 64, 4
_LAW = flags.DEFINE_list("law", ["all"], "Dimensions of the mixture: 2, 16.")
_REWARD = flags.DEFINE_list("reward", ["all"], f"Rewards: {', '.join(REWARDS)}.")
_METHOD = flags.DEFINE_list("method", ["all"], f"Methods: {', '.join([*TRAINED, *FREE])}.")
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "lambda.", lower_bound=0.05, upper_bound=100.0)
_STEPS = shared.count("steps", 2000, f"Updates, of {BATCH} examples, of the cheapest method; others get as many evals.", 4)
_PATH = shared.count("path", 24, "Steps of a path.", 2)
_SAMPLES = shared.count("samples", 2000, "Samples of a comparison.", 16)
_RATE = flags.DEFINE_float("rate", 5e-3, "Largest step size of Adam.", lower_bound=1e-6, upper_bound=1.0)
_SEED = shared.seed("Seed of training and samples.")
_OUT = shared.out("folder for the table and curves", "runs/alignment_mixtures")


class Problem(NamedTuple):
    """Data, ``x -> r``, the tilted law, and data tilted by ``1 + exp(r / lambda)``; r is at most 0."""

    data: densities.Mixture
    reward: Callable
    tilted: Any
    raised: Any


def problem(dim: int, name: str, temperature: float) -> Problem:
    """A quadratic reward of two coordinates, or ``-2 |x_0 - 0.3|``, of a mixture."""
    means = 0.5 * np.random.default_rng(0).normal(size=(4, dim))
    means[:, :2] = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    data = densities.mixture([4, 3, 2, 1], [densities.gaussian(jnp.asarray(m, jnp.float32), std=0.4) for m in means])
    if name == "kink":
        reward = lambda x: -2.0 * jnp.abs(x[..., 0] - 0.3)
        of = lambda f: densities.tilt(data, lambda a: f(reward(a) / temperature), (0,), 201)
        return Problem(data, reward, of(lambda r: r), of(lambda r: jnp.log1p(jnp.exp(r))))
    seen, centre = jnp.zeros(dim).at[:2].set(2.0), jnp.zeros(dim).at[:2].set(jnp.array([0.8, 0.4]))
    reward = lambda x: -0.5 * jnp.sum(seen * jnp.square(x - centre), -1)
    parts = [densities.quadratic_tilt(data, s * centre, jnp.diag(s)) for s in (seen * 0, seen / temperature)]
    log_z = parts[1].log_normalizer - 0.5 * jnp.sum(seen * centre**2) / temperature
    (plain, _), (tilted, _) = parts
    log_weights = jnp.concatenate([plain.log_weights, tilted.log_weights + log_z])
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), plain.components, tilted.components)
    return Problem(data, reward, tilted, densities.Mixture(log_weights=jax.nn.log_softmax(log_weights), components=both))


def velocity(density) -> Callable:
    """The exact v ``(x_t, t) -> v`` of a density."""
    exact = denoisers.exact_denoiser(density, SCHEDULE)

    def network(x, t):
        at, (x0, eps) = jnp.reshape(t, (-1, 1)), exact(x, t)
        return SCHEDULE.alpha(at) * eps - SCHEDULE.sigma(at) * x0

    return network


def nft_limit(p: Problem) -> Callable:
    """``v + 2 Cov(w, v | x_t)`` of ``w = exp(r / lambda)``, from the v of data times w and times 1 + w."""
    data, tilted, raised = map(velocity, (p.data, p.tilted, p.raised))

    def network(x, t):
        v = data(x, t)
        a, b = tilted(x, t) - v, raised(x, t) - v  # Cov / E[w], Cov / (1 + E[w])
        share = jnp.sum(a * b, -1, keepdims=True) / jnp.maximum(jnp.sum(a * a, -1, keepdims=True), 1e-30)
        return v + 2.0 * a * share / (1.0 - share)

    return network


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


def start(key, p: Problem, t, count: int):
    return p.data.marginal(SCHEDULE.alpha(t), SCHEDULE.sigma(t)).sample(key, (count,))


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
    close = {"reference": reference, "kl": temperature}
    if method == "policy":
        fixed = as_denoiser(model(p, jax.lax.stop_gradient(params)))
        path = samplers.sample_with_log_probs(key, fixed, SCHEDULE, solver, x, ts)
        r = p.reward(path.x)
        return alignment.policy_gradient_loss(new, SCHEDULE, solver, path, ts, r - r.mean(), **close).mean()
    if method in ("gradient", "collapse"):
        options = {"last": n} | (close if method == "gradient" else {})
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


def energy_test(x: np.ndarray, y: np.ndarray, seed: int = 0, permutations: int = 200) -> tuple[float, float]:
    """The energy distance of two sets of equal size (with the distances of a point to itself) and its p-value."""
    both, n = np.concatenate([x, y]).astype(np.float32), len(x)
    squares = np.sum(both**2, 1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * both @ both.T, 0))
    signs = np.where(np.arange(2 * n) < n, 1, -1).astype(np.float32)
    random = np.random.default_rng(seed)
    signs = np.stack([signs, *(random.permutation(signs) for _ in range(permutations))], 1)
    values = -np.sum(signs * (apart @ signs), 0) / n**2
    return float(values[0]), float(np.mean(values >= values[0]))


def lost(data: densities.Mixture, x, exact) -> float:
    """The weight in exact samples of the modes of which x has less than half."""
    has, due = (np.asarray(data.responsibilities(s)).mean(0) for s in (x, exact))
    return float(np.sum(due[has < 0.5 * due]))


def divergence(p: Problem, limit: Callable | None, key, count: int):
    """``params -> (KL, standard error)`` from exact samples of the limit, None for the tilted law, and its own KL."""
    log_p = jax.jit(lambda network, x: log_likelihood(as_denoiser(network), SCHEDULE, x, rtol=1e-4, atol=1e-4).log_p)
    if limit is None:
        x = p.tilted.sample(key, (count,))
        reference, own = p.tilted.log_density(x), None
    else:
        limit = jax.tree_util.Partial(limit)
        x = drawn(key, limit, p, count)
        reference = log_p(limit, x)
        own = mean_and_error(reference - p.tilted.log_density(x))
    of = jax.jit(lambda params: log_likelihood(as_denoiser(model(p, params)), SCHEDULE, x, rtol=1e-4, atol=1e-4).log_p)
    return (lambda params: mean_and_error(reference - of(params))), own


def mean_and_error(values) -> tuple[float, float]:
    values = np.asarray(values, float)
    return values.mean(), values.std(ddof=1) / len(values) ** 0.5


def drawn(key, network: Callable, p: Problem, count: int):
    """Samples of the probability-flow ODE of a network."""
    ts = jnp.linspace(1.0, 0.0, 65)
    run = lambda x: samplers.sample(as_denoiser(network), SCHEDULE, solvers.DPMSolverPP2M(), x, ts)
    return jax.jit(run)(start(key, p, 1.0, count))


def show(pair) -> str | None:
    return None if pair is None else f"{pair[0]:.4f} ± {pair[1]:.4f}"


def measured(method: str, p: Problem, exact: np.ndarray):
    """The cells of a method from its divergence on, its samples, and its curve (evaluations, divergences, errors)."""
    lam, n, count, dim = _TEMPERATURE.value, _PATH.value, _SAMPLES.value, p.data.dim
    for_training, for_samples, for_limit = jax.random.split(jax.random.key(_SEED.value + 1), 3)
    begin, kl, own, curve = time.process_time(), None, None, []
    if method in FREE:
        x = jax.jit(lambda key: without_training(key, method, p, lam, n, count))(for_samples)
        evals = {"exact": n, "best_of": BEST * n}.get(method, PARTICLES * n)
        seconds = time.process_time() - begin
    else:
        of, seconds = None, 0.0
        if method not in ("collapse", "adjoint_half", "adjoint_quiet"):
            of, own = divergence(p, nft_limit(p) if method == "nft" else None, for_limit, count // (2 if dim == 2 else 8))
        begin = time.process_time()
        for params, evals in trained(for_training, method, p, lam, _STEPS.value, n, _RATE.value):
            seconds += time.process_time() - begin
            if of is not None and (dim == 2 or evals >= 0):
                kl = of(params)
                curve.append((evals, *kl))
            begin = time.process_time()
        if method.startswith("adjoint_"):
            solver, ts = path_of(method, n)
            draw = lambda x, key: samplers.sample(as_denoiser(model(p, params)), SCHEDULE, solver, x, ts, key=key)
            x = jax.jit(draw)(start(for_samples, p, ts[0], count), for_samples)
        else:
            x = drawn(for_samples, model(p, params), p, count)
    x = np.asarray(x)
    rewards = [float(np.mean(p.reward(s))) for s in (x, exact)]
    row = [show(kl), show(own), *energy_test(x, exact), *rewards, lost(p.data, x, exact), evals, seconds]
    return row, x, curve


def histogram(x: np.ndarray) -> Line:
    edges = np.linspace(-2.5, 2.5, 51)
    return Line(edges, np.histogram(x[:, 0], edges, density=True)[0])


def main(_) -> None:
    dims = [int(d) for d in shared.chosen("law", _LAW.value, ("2", "16"))]
    rewards = shared.chosen("reward", _REWARD.value, REWARDS)
    methods = shared.chosen("method", _METHOD.value, (*TRAINED, *FREE))
    folder, rows = shared.results_folder(_OUT, continues=".mixtures"), []
    for dim in dims:
        for name in rewards:
            p = problem(dim, name, _TEMPERATURE.value)
            exact, also = np.asarray(p.tilted.sample(jax.random.key(_SEED.value), (2 * _SAMPLES.value,))).reshape(
                2, _SAMPLES.value, dim
            )
            of_methods = {}
            for method in methods:
                row, *of_methods[method] = measured(method, p, exact)
                rows.append([dim, name, method, *row])
                print(tables_as_text([Table([*HEADER, "evaluations", "CPU s"], rows[-1:])]).splitlines()[-1], flush=True)
            training = {m: Line(*np.transpose(curve)) for m, (_, curve) in of_methods.items() if curve}
            shown = {"tilted law": histogram(also)} | {m: histogram(x) for m, (x, _) in of_methods.items()}
            biased = [m for m in shown if m in ("tilted law", "adjoint", "adjoint_half", "adjoint_quiet")]
            steep = [m for m in shown if m in ("tilted law", "gradient", "collapse", "best_of")]
            panels = [
                Panel({m: shown[m] for m in chosen}, "first coordinate", "density", title)
                for chosen, title in ((biased, "noise of the paths"), (steep, "KL and none"))
            ]
            if training:
                axes = {"yscale": "log", "xscale": "log"}
                title = "KL of the model from its limit"
                panels = [Panel(training, "evaluations", "nats", title, {"goal": 0.02}, axes=axes), *panels]
            curves(folder / f"{name}_{dim}.png", panels)
    text = tables_as_text([Table([*HEADER, "evaluations", "CPU s"], rows)])
    print(f"\n{text}", flush=True)
    write_atomic(folder / "table.txt", text.encode())


if __name__ == "__main__":
    command_line.run(main)
