"""Which guidance rule: fidelity against diversity of every rule.

    python -m experiments.benchmarks.guidance --workdir=runs/guidance                     # a mixture, exact denoisers
    python -m experiments.benchmarks.guidance --digits=runs/digits                        # and a trained network

Fidelity is precision and the fraction of samples that are classified as the class they are conditioned on (by the exact
posterior, or by a reference classifier fitted to real images); diversity is recall, coverage, and the Vendi score
within a class. The energy and Fréchet distances measure both. All rules start from the same noise.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.tree_util import Partial

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.endings import one_line
from experiments.reporting.curves import Line, Panel, curves
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_score
from scorekit import densities, guidance, metrics, process, samplers, schedules, solvers
from scorekit.solvers import grids
from scorekit.typing import Array, Denoiser, Prediction, Schedule

_DIGITS = flags.DEFINE_string("digits", None, "folder of a trained run, to measure its network too")
_SCALES = flags.DEFINE_list("scales", ["0", "1", "2", "3", "5", "10"], "guidance scales")
_SAMPLES = flags.DEFINE_integer("samples", 300, "samples of the network; the mixture has four times as many")
_STEPS = flags.DEFINE_integer("steps", 16, "steps of the sampler")
_WORKDIR = shared.out("folder for the plots", "runs/guidance", "workdir")

LOW, HIGH = 0.15, 4.0
"""Bounds of the guidance interval, in sigma / alpha."""
RULES: dict[str, Callable[..., Denoiser]] = {
    "CFG": lambda c, u, s, g: guidance.classifier_free(c, u, g),
    "interval": lambda c, u, s, g: guidance.interval(guidance.classifier_free(c, u, g), c, s, LOW, HIGH),
    "increasing γ(t)": lambda c, u, s, g: guidance.classifier_free(c, u, guidance.weight_schedule(1.0, 2.0 * g - 1.0)),
    "APG": lambda c, u, s, g: guidance.apg(c, u, s, g, norm_threshold=2.5),
    "APG, momentum": lambda c, u, s, g: guidance.apg(c, u, s, g, momentum=-0.5, norm_threshold=2.5),
    "CFG++": lambda c, u, s, g: guidance.cfg_plus_plus(c, u, g / 10.0),  # at gamma / 10, and defined for DDIM
    "CFG-Zero*": lambda c, u, s, g: guidance.cfg_zero_star(c, u, s, g),
    "tangential": lambda c, u, s, g: guidance.tangential(c, u, s, g),
}
"""``(cond, uncond, schedule, gamma) -> denoiser`` by the name in tables and plots."""
OF_IMAGES: dict[str, Callable[..., Denoiser]] = {
    "rescale": lambda c, u, s, g: guidance.rescale(guidance.classifier_free(c, u, g), c, s, 0.7),
    "threshold": lambda c, u, s, g: guidance.dynamic_threshold(guidance.classifier_free(c, u, g), s, 0.99, 1.0),
    "frequency": lambda c, u, s, g: guidance.frequency_decoupled(c, u, g, (1.0, 0.5)),
}
METRICS = ("class accuracy", "precision", "recall", "coverage", "Vendi", "energy", "Fréchet")
Rows = dict[str, dict[float, np.ndarray]]
"""The values of ``METRICS``, by rule and scale."""


class Problem(NamedTuple):
    """A conditional denoiser, and what its samples are compared with.

    Attributes:
      conditional: ``(x_t, t, labels) -> Prediction``, on the ``schedule``.
      labels: classes of the samples, each of this ``shape``; ``null`` is the null label and the number of classes.
      accuracy: ``samples -> class accuracy``; ``real_accuracy`` is the accuracy of real data.
      real: real data ``(N, D)``; ``by_class``: ``(classes, samples / classes, D)``.
      bandwidth: bandwidth of the Vendi score.
      rules: by name, with those that this problem has models for.
    """

    conditional: Callable[[Array, Array, Array], Prediction]
    schedule: Schedule
    labels: np.ndarray
    null: int
    shape: tuple[int, ...]
    accuracy: Callable[[np.ndarray], float]
    real_accuracy: float
    real: np.ndarray
    by_class: np.ndarray
    bandwidth: float
    rules: dict[str, Callable[..., Denoiser]]


CLASSES, MODES = 4, 3


def _of_class(data, schedule, x, t, label):
    noisy = data.marginal(schedule.alpha(t), schedule.sigma(t))
    joint = jax.vmap(lambda c: c.log_density(x))(noisy.components) + noisy.log_weights[:, None]
    belongs = (label[None] == CLASSES) | (jnp.arange(CLASSES * MODES)[:, None] % CLASSES == label[None])
    weights = jax.nn.softmax(jnp.where(belongs, joint, -jnp.inf), axis=0)[..., None]
    each = jax.vmap(lambda c: c.predict(x, schedule.alpha(t), schedule.sigma(t)))(data.components)
    return jax.tree.map(lambda leaf: jnp.sum(weights * leaf, axis=0), each)


def _posterior(data, x):
    return data.responsibilities(x).reshape(len(x), MODES, CLASSES).sum(axis=1)


def _log_posterior(data, schedule, labels, x, t):
    noisy = data.marginal(schedule.alpha(t), schedule.sigma(t))
    return jnp.log(_posterior(noisy, x)[jnp.arange(len(labels)), labels])


def mixture_problem(samples: int) -> Problem:
    """Twelve overlapping modes on a circle; every fourth one has the same class, with the weights 5 : 3 : 2.

    The denoisers are exact, and so is the classifier of every noise level.
    """
    schedule, ring = schedules.Cosine(), densities.ring(CLASSES * MODES, 1.4, 0.3)
    data = densities.mixture(np.repeat([0.5, 0.3, 0.2], CLASSES), [ring.component(k) for k in range(CLASSES * MODES)])
    labels = np.arange(samples, dtype=np.int32) % CLASSES
    drawn, modes = map(np.asarray, data.sample_with_labels(jax.random.key(9), (12 * samples,)))
    of_class = [drawn[modes % CLASSES == k][: samples // CLASSES] for k in range(CLASSES)]
    accuracy = lambda x, labels=labels: float(np.mean(_posterior(data, jnp.asarray(x)).argmax(axis=1) == labels))
    posterior = Partial(_log_posterior, data, schedule, labels)
    return Problem(
        conditional=Partial(_of_class, data, schedule),
        schedule=schedule,
        labels=labels,
        null=CLASSES,
        shape=(2,),
        accuracy=accuracy,
        real_accuracy=accuracy(drawn, modes % CLASSES),
        real=np.concatenate(of_class),
        by_class=np.stack(of_class),
        bandwidth=0.3,
        rules=RULES | {"classifier": lambda c, u, s, g: guidance.classifier_guidance(u, posterior, s, g)},
    )


def digits_problem(workdir: str, samples: int) -> Problem:
    """The network of a finished run, with its oldest checkpoint as the weaker model of autoguidance."""
    config, folder = diffusion.saved(workdir), Path(workdir).expanduser()
    run = open_score(config, folder)
    dataset, model = run.dataset, run.model
    train, test = (np.asarray(dataset.to_model(part["x"])) for part in (dataset.train, dataset.test))
    classifier = metrics.fit_reference_classifier(train, dataset.train["label"])
    labels = np.arange(samples, dtype=np.int32) % dataset.num_classes
    flat = train.reshape(len(train), -1)
    by_class = [flat[dataset.train["label"] == k][:60] for k in range(dataset.num_classes)]
    distances = np.concatenate([np.linalg.norm(x[:, None] - x[None], axis=-1).ravel() for x in by_class])
    conditional = lambda params: Partial(lambda params, x, t, labels: model.denoiser(params, labels)(x, t), params)
    rules = RULES | OF_IMAGES
    oldest = min(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    if oldest < run.step:
        weak = guidance.branches(conditional(open_score(config, folder, oldest).params), labels)[0]
        rules["autoguidance"] = lambda c, u, s, g: guidance.autoguidance(c, weak, g)
    return Problem(
        conditional=conditional(run.params),
        schedule=model.schedule,
        labels=labels,
        null=dataset.num_classes,
        shape=model.shape,
        accuracy=lambda x: metrics.class_accuracy(classifier, x, labels),
        real_accuracy=metrics.class_accuracy(classifier, test, dataset.test["label"]),
        real=flat,
        by_class=np.stack([x[: samples // dataset.num_classes] for x in by_class]),
        bandwidth=0.5 * float(np.median(distances[distances > 0])),
        rules=rules,
    )


@jax.jit
def compared(real: Array, x: Array, by_class: Array, bandwidth: float) -> list[Array]:
    """``METRICS`` of samples ``(N, D)`` but for the class accuracy."""
    vendi = jnp.mean(jax.vmap(lambda one: metrics.vendi_score(one, bandwidth))(by_class))
    distances = metrics.energy_distance(real, x), metrics.frechet_distance(real, x)
    return [*metrics.precision_recall(real, x), metrics.density_coverage(real, x).coverage, vendi, *distances]


def measure(problem: Problem, scales: list[float], steps: int) -> Rows:
    """The metrics of every rule and scale."""
    cond, uncond = guidance.branches(problem.conditional, problem.labels, problem.null)
    like = jax.ShapeDtypeStruct((len(problem.labels), *problem.shape), jnp.float32)
    noise = process.sample_prior(jax.random.key(0), problem.schedule, like)
    rows: Rows = {}
    for name, rule in problem.rules.items():
        draw = jax.jit(samplers.sample)
        solver = solvers.Euler() if name == "CFG++" else solvers.AdamsBashforth(order=2)
        for scale in scales:
            guided = rule(cond, uncond, problem.schedule, jnp.float32(scale))
            x = np.asarray(draw(guided, problem.schedule, solver, noise, grids.uniform(steps)))
            flat = x.reshape(len(x), -1)
            by_class = flat[: len(x) // problem.null * problem.null].reshape(-1, problem.null, flat.shape[1])
            values = compared(problem.real, flat, by_class.swapaxes(0, 1), problem.bandwidth)
            rows.setdefault(name, {})[scale] = np.array([problem.accuracy(x), *values], float)
    return rows


TARGET, AT, BEST = 0.95, ("coverage", "Vendi", "energy"), ("coverage", "precision")


def crossing(table: np.ndarray) -> np.ndarray:
    """Scale and metrics where the class accuracy first reaches ``TARGET``, interpolated; NaN if it never does."""
    for low, high in itertools.pairwise(table):
        if low[1] < TARGET <= high[1]:
            return low + (high - low) * (TARGET - low[1]) / (high[1] - low[1])
    return table[0] if table[0, 1] >= TARGET else np.full(table.shape[1], np.nan)


def show(name: str, problem: Problem, rows: Rows, steps: int) -> None:
    """Prints the metrics of half of the real data, and of every rule at ``TARGET`` and at its highest coverage."""
    n = len(problem.labels)
    print(f"\n{name}: {n} samples, {steps} steps; Vendi score of {n // problem.null} samples of a class")
    print(f"{'rule':16}{'γ':>5}" + "".join(f"{metric:>15}" for metric in METRICS))
    one, other = np.array_split(problem.real[np.random.default_rng(0).permutation(len(problem.real))], 2)
    real = [problem.real_accuracy, *compared(one, other, problem.by_class, problem.bandwidth)]
    print(f"{'real, halves':21}" + "".join(f"{v:15.3f}" for v in real))
    for rule, values in rows.items():
        for scale, each in values.items():
            print(f"{rule:16}{scale:5g}" + "".join(f"{v:15.3f}" for v in each))
    print(f"{'':16}{f'at class accuracy {TARGET:g} (interpolated)':>40}{'at the highest coverage':>33}")
    print(f"{'':16}" + "".join(f"{each:>10}" for each in ("γ", *AT)) + "".join(f"{each:>11}" for each in ("γ", *BEST)))
    coverage, pick = 1 + METRICS.index("coverage"), lambda row, of: [row[0], *(row[1 + METRICS.index(m)] for m in of)]
    tables = {rule: np.array([[scale, *each] for scale, each in values.items()]) for rule, values in rows.items()}
    for rule, table in sorted(tables.items(), key=lambda item: -crossing(item[1])[coverage]):
        best = pick(table[table[:, coverage].argmax()], BEST)
        print(f"{rule:16}" + "".join(f"{v:10.3f}" for v in pick(crossing(table), AT)), *(f"{v:10.3f}" for v in best))


def main(_) -> None:
    scales = sorted(shared.all_of("scales", _SCALES.value, float, lambda scale: 0 <= scale <= 10, "in 0 to 10"))
    folder, samples, steps = shared.results_folder(_WORKDIR), _SAMPLES.value, _STEPS.value
    makers = {"mixture": lambda: mixture_problem(4 * samples)}
    if digits := _DIGITS.value:
        makers["digits"] = lambda: digits_problem(digits, samples)
    at = [METRICS.index("coverage"), METRICS.index("class accuracy")]
    points = lambda values: Line(*np.array([*values.values()]).T[at], texts=[f"{scale:g}" for scale in values])
    for name, make in makers.items():
        with one_line():
            problem = make()
        rows = measure(problem, scales, steps)
        show(name, problem, rows, steps)
        lines = {rule: points(values) for rule, values in rows.items()}
        path = curves(folder / f"{name}.png", [Panel(lines, "coverage of real data", "class accuracy")])
        print(f"plot: {path}", flush=True)


if __name__ == "__main__":
    command_line.run(main)
