"""Why denoising: bias, variance and cost of the objectives of score matching, and networks of the ring by each of them.

    python -m experiments.projects.denoising.score_matching --out=docs/score_matching

The first tables are of the loss of one score of noisy data by dimension, whose mean is known, and of the CPU time of a
gradient step. The last one is of score networks and energies that are trained on a ring of eight modes: the energy
distance of their samples, whether their field is conservative, and the log-density of the energies against the exact
one. ``--out`` is a folder for the figure of the variance.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.reporting.curves import Panel, curves, lines
from experiments.reporting.tables import Cell, Table, tables_as_text
from scorekit import densities, samplers, schedules
from scorekit.denoisers import denoiser_from_log_density, denoiser_from_score, score_from_log_density
from scorekit.losses import score_matching as sm
from scorekit.metrics import energy_distance
from scorekit.networks import MLP
from scorekit.trees import expand
from scorekit.typing import Array

_OUT = shared.out("folder for the figure", "docs/score_matching")
_NUM = shared.count("num", 8000, "Examples of each variance.", 100)
_STEPS = shared.count("steps", 1500, "Steps of training on the ring.")
_SEEDS = shared.count("seeds", 2, "Seeds of the networks of the ring.", 1)
_TURNS = shared.count("turns", 7, "Repetitions of each timing.")
STDS, DIMS, TIMED = (0.1, 1.0), (1, 2, 4, 16, 64), (2, 16, 64)


def denoising(key, score: Callable, log_density: Callable, x: Array, std) -> Array:
    """``|s(x + std eps) + eps / std|^2 / 2``; the log-density is not used."""
    eps = jax.random.normal(key, x.shape)
    return 0.5 * jnp.sum((score(x + std * eps) + eps / std) ** 2, axis=-1)


def _on_noisy(objective: Callable) -> Callable:
    def run(key, score, log_density, x, std):
        for_noise, for_probes = jax.random.split(key)
        return objective(for_probes, score, log_density, x + std * jax.random.normal(for_noise, x.shape))

    return run


OBJECTIVES: dict[str, Callable] = {
    "denoising": lambda k, s, f, x, std: denoising(k, s, f, x, std) - 0.5 * x.shape[-1] / std**2,
    "implicit, exact divergence": _on_noisy(lambda k, s, f, x: sm.implicit_loss(None, s, x)),
    "sliced, reduced variance": _on_noisy(lambda k, s, f, x: sm.implicit_loss(k, s, x, divergence="rademacher")),
    "sliced": _on_noisy(lambda k, s, f, x: sm.sliced_loss(k, s, x)),
    "FD-SSM": _on_noisy(lambda k, s, f, x: sm.finite_difference_loss(k, f, x)),
    "FD-DSM": lambda k, s, f, x, std: (
        sm.finite_difference_denoising_loss(k, f, x, std, step=0.1 * std) - 0.5 * x.shape[-1] / std**2
    ),
}
"""``(key, score, log_density, x, std) -> (B,)``, all with the mean ``F - E|grad log p_std|^2 / 2``."""


def data(dim: int) -> densities.Mixture:
    """Two Gaussians."""
    mean = np.full(dim, 1.0 / np.sqrt(dim))
    return densities.mixture(np.array([1, 2]), [densities.gaussian(jnp.asarray(m), std=0.5) for m in (-mean, mean)])


def moments(dim: int, num: int) -> dict[float, dict[str, tuple[float, float]]]:
    """By noise level and objective: the mean minus its truth in standard errors, and the deviation of the loss.

    The score is the one of the data with twice the variance of the noise, which is wrong but not far off.
    """
    density = data(dim)

    @jax.jit
    def run(key, std):
        for_x, for_noise, for_loss = jax.random.split(key, 3)
        exact, wrong = density.marginal(1.0, std), density.marginal(1.0, 2**0.5 * std)
        x = density.sample(for_x, (num,))
        noisy = x + std * jax.random.normal(for_noise, x.shape)
        score, best = score_from_log_density(wrong.log_density), score_from_log_density(exact.log_density)(noisy)
        truth = 0.5 * jnp.sum((score(noisy) - best) ** 2 - best**2, axis=-1)
        return truth, {name: each(for_loss, score, wrong.log_density, x, std) for name, each in OBJECTIVES.items()}

    def summary(std):
        truth, losses = jax.tree.map(lambda v: np.asarray(v, float), run(jax.random.key(dim), std))
        error = lambda loss: np.hypot(loss.std(), truth.std()) / num**0.5
        return {name: (float((x.mean() - truth.mean()) / error(x)), float(x.std())) for name, x in losses.items()}

    return {std: summary(std) for std in STDS}


def energy(params: list[Array], x: Array) -> Array:
    """A network with two hidden layers and a quadratic part, ``(B, D) -> (B,)``."""
    h = jax.nn.silu(jax.nn.silu(x @ params[0]) @ params[1])
    return h @ params[2] - 0.5 * jnp.sum(x**2, axis=-1)


def costs(turns: int) -> dict[int, dict[str, float]]:
    """CPU time of a gradient step of an energy network over the one of denoising, the median over rounds."""
    found, key, rng = {}, jax.random.key(0), np.random.default_rng(0)
    for dim in TIMED:
        x, steps = data(dim).sample(key, (256,)), {}
        params = [jnp.asarray(rng.normal(size=s) / s[0] ** 0.5, jnp.float32) for s in ((dim, 128), (128, 128), (128,))]
        for name, each in OBJECTIVES.items():

            def loss(params, each=each, x=x):
                f = lambda x: energy(params, x)
                return each(key, score_from_log_density(f), f, x, STDS[0]).mean()

            steps[name] = jax.jit(jax.grad(loss))
            jax.block_until_ready(steps[name](params))
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(turns):  # in turns: a busy machine slows all alike
            for name, step in steps.items():
                start = time.process_time()
                jax.block_until_ready([step(params) for _ in range(5)])
                seconds[name].append(time.process_time() - start)
        over = lambda each, seconds=seconds: float(np.median(np.divide(each, seconds["denoising"])))
        found[dim] = {name: over(each) for name, each in seconds.items()}
    return found


SCHEDULE = schedules.cosine()
BATCH, LEARNING_RATE, T_MIN, T_MAX, SAMPLES = 512, 3e-3, 0.02, 0.995, 4000
LEVELS = (0.05, 0.2, 0.5)
"""Times at which log-densities and Jacobians are compared."""


def _output(params: Any, x: Array, t: Array) -> Array:
    return jnp.asarray(MLP(features=64).apply(params, x, 0.25 * SCHEDULE.log_snr(jnp.broadcast_to(t, x.shape[:1]))))


def score(params: Any, x: Array, t: Array) -> Array:
    """A network of the noise, ``s = -eps(x, t) / sigma``."""
    return -_output(params, x, t) / expand(SCHEDULE.sigma(t), x)


def log_density(params: Any, x: Array, t: Array) -> Array:
    """An energy: ``f = -x . h(x, t) / (2 sigma)``, so that its gradient is as large as a score."""
    return -0.5 * jnp.sum(x * _output(params, x, t), axis=-1) / SCHEDULE.sigma(t)


def _differences(key, score, log_density, x, std):
    """FD-DSM with the noise level of each example: in units of the noise, of which the standard deviation is 1."""
    scaled = lambda y: log_density(std * y)
    return sm.finite_difference_denoising_loss(key, scaled, x / std, 1.0, step=0.1) / std[:, 0] ** 2


RUNS: dict[str, tuple[bool, Callable]] = {
    "score, denoising": (False, denoising),
    "score, implicit": (False, OBJECTIVES["implicit, exact divergence"]),
    "score, sliced, reduced variance": (False, OBJECTIVES["sliced, reduced variance"]),
    "score, sliced": (False, OBJECTIVES["sliced"]),
    "energy, denoising": (True, denoising),
    "energy, FD-DSM": (True, _differences),
}
"""Whether the network is an energy, and its objective, as in :data:`OBJECTIVES`."""


def train(name: str, seeds: int, steps: int) -> list[Any]:
    """Parameters of every seed after ``steps`` of a batch of the ring at random times, losses weighted by sigma^2."""
    is_energy, objective = RUNS[name]
    optimizer, data = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps)), densities.ring()

    def loss(params, key):
        for_data, for_times, for_loss = jax.random.split(key, 3)
        x0 = data.sample(for_data, (BATCH,))
        t = T_MIN + (T_MAX - T_MIN) * (jnp.arange(BATCH) + jax.random.uniform(for_times)) / BATCH
        f = lambda x: log_density(params, x, t)
        s = score_from_log_density(f) if is_energy else lambda x: score(params, x, t)
        alpha, sigma = (expand(c(t), x0) for c in (SCHEDULE.alpha, SCHEDULE.sigma))
        return jnp.mean(SCHEDULE.sigma(t) ** 2 * objective(for_loss, s, f, alpha * x0, sigma))

    @jax.jit
    def fit(key):
        def step(carry, key):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params, key), state)
            return (optax.apply_updates(params, updates), state), None

        for_params, for_steps = jax.random.split(key)
        params = MLP(features=64).init(for_params, jnp.zeros((1, 2)), jnp.zeros(1))
        return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(for_steps, steps))[0][0]

    return [fit(jax.random.key(seed)) for seed in range(seeds)]


def measure(name: str, trained: list[Any]) -> list[dict[str, float]]:
    """Energy distance of samples; the antisymmetric part of the Jacobian of the score; of energies log-densities.

    The log-density is compared with the exact one of the noisy data, on samples of it: the correlation, and the root
    mean square of the difference after its mean is taken away, in nats.
    """
    solver, ts = samplers.recommended(SCHEDULE, 50, t_max=T_MAX, t_min=T_MIN)
    is_energy, _ = RUNS[name]
    make, network = (denoiser_from_log_density, log_density) if is_energy else (denoiser_from_score, score)
    at = lambda t: densities.ring().marginal(SCHEDULE.alpha(t), SCHEDULE.sigma(t))

    @jax.jit
    def compare(key, params):
        for_sampler, for_start, for_data, *for_levels = jax.random.split(key, 3 + len(LEVELS))
        draw = lambda key, t: at(t).sample(key, (SAMPLES,))
        denoise = make(functools.partial(network, params), SCHEDULE)
        drawn = samplers.sample(for_sampler, denoise, SCHEDULE, solver, draw(for_start, T_MAX), ts)
        found = {"energy distance": energy_distance(drawn, draw(for_data, T_MIN))}
        for key, t in zip(for_levels, LEVELS, strict=True):
            x = draw(key, t)
            jacobian = jax.vmap(jax.jacfwd(lambda x, t=t: denoise(x[None], jnp.asarray(t)).eps[0]))(x[:500])
            size = lambda j: jnp.linalg.norm(j, axis=(1, 2))
            curl = size(jacobian - jacobian.swapaxes(1, 2)) / (2 * size(jacobian))
            found[f"antisymmetry, t = {t:g}"] = jnp.mean(curl)
            if is_energy:
                ours, truth = log_density(params, x, jnp.asarray(t)), at(t).log_density(x)
                found[f"correlation, t = {t:g}"] = jnp.corrcoef(ours, truth)[0, 1]
                found[f"RMSE, t = {t:g}"] = jnp.std(ours - truth)
        return found

    return [jax.tree.map(float, compare(jax.random.key(seed), params)) for seed, params in enumerate(trained)]


def main(_) -> None:
    out = shared.results_folder(_OUT, names=("objectives.png",))
    found, cost = {dim: moments(dim, _NUM.value) for dim in DIMS}, costs(_TURNS.value)
    tables = []
    for std in STDS:
        cell = lambda each: f"{each[1]:.3g} ({each[0]:+.1f})"
        rows: list[list[Cell]] = [[name, *(cell(found[dim][std][name]) for dim in found)] for name in OBJECTIVES]
        caption = (
            f"Standard deviation of the loss of an example at noise {std:g}; in brackets its mean minus the Fisher "
        )
        caption += "divergence without its constant, in standard errors."
        tables.append(Table(["objective", *(f"D = {dim}" for dim in found)], rows, caption))
    rows = [[name, *(f"{cost[dim][name]:.2f}" for dim in cost)] for name in OBJECTIVES]
    caption = "CPU time of a gradient step of an energy network, 256 examples, over the one of denoising."
    tables.append(Table(["objective", *(f"D = {dim}" for dim in cost)], rows, caption))
    print(tables_as_text(tables))
    deviations = lambda std: {name: [found[dim][std][name][1] for dim in found] for name in OBJECTIVES}
    label, axes = "standard deviation of the loss", {"xscale": "log", "yscale": "log"}
    of_noise = lambda std: Panel(
        lines([*found], deviations(std)), "dimension", label, f"noise {std:g}, data of deviation 0.5", axes=axes
    )
    print(curves(out / "objectives.png", [of_noise(std) for std in STDS], share=True))
    runs = {}
    for name in RUNS:
        runs[name] = measure(name, train(name, _SEEDS.value, _STEPS.value))
        print(f"{name}: energy distance {runs[name][0]['energy distance']:.4f}", flush=True)
    names = list(dict.fromkeys(name for each in runs.values() for one in each for name in one))
    of_seeds = lambda v: f"{np.mean(v):.3g} ± {np.std(v):.2g}" if v else ""
    rows = [
        [run, *(of_seeds([one[name] for one in each if name in one]) for name in names)] for run, each in runs.items()
    ]
    caption = (
        f"The ring after {_STEPS.value:,} steps, mean ± deviation over seeds. Antisymmetry is |J - J'| / 2 |J| of the "
        "score; correlation and RMSE (nats) are of the log-density of noisy data, up to a constant."
    )
    print(tables_as_text([Table(["network and objective", *names], rows, caption)]))


if __name__ == "__main__":
    command_line.run(main)
