"""Numbers for a trained model, each beside what real data score."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import judge
from experiments.models import model
from experiments.evaluation.run_metrics import quantisation as snapping
from experiments.cli.config import Config
from experiments.data.dataset import Batch, Dataset, Ring, as_seen
from experiments.reporting.report import Table, tables_as_text
from scorekit import likelihood, losses, metrics
from scorekit import times as time_samplers
from scorekit.typing import PyTree

Generate = Callable[..., np.ndarray]


class Evaluation(NamedTuple):
    """Numbers by name, the same as tables, and curves of the loss by noise level."""

    numbers: dict[str, float]
    tables: list[Table]
    loss_by_noise_level: dict[str, losses.Binned]


def evaluate(config: Config, built: model.Model, dataset: Dataset, params: PyTree, generate: Generate) -> Evaluation:
    """Evaluates samples at every guidance scale, the variational bound and the loss by noise level.

    Args:
      config: the whole config.
      built: the model that it describes.
      dataset: its data.
      params: the parameters to evaluate.
      generate: from :func:`experiments.models.model.make_sampler`.

    Returns:
      The evaluation.
    """
    if dataset.sample_rate is not None:
        bound, bound_table = _bound(config, built, dataset, params)
        snapped, tables = snapping.snapping(config, built, dataset, params, generate)
        return Evaluation({**bound, **snapped}, [bound_table, *tables], _loss_curves(built, dataset, params))
    labels = np.arange(config.evaluation.num_samples, dtype=np.int32) % dataset.num_classes
    scorer = scorer_of(dataset)
    rows: dict[str, dict[str, float]] = {"real test data": scorer.real}
    for scale in config.evaluation.guidance_scales:
        samples = generate(params, config.seed + 1, labels, scale)
        heard = {} if dataset.latent else _heard(built, dataset, samples, labels)
        rows[f"γ = {scale:g}"] = {**scorer.samples(samples, labels), **heard}
    bound, bound_table = _bound(config, built, dataset, params)
    snapped, snapping_tables = snapping.snapping(config, built, dataset, params, generate)
    numbers = {f"{row}/{name}": value for row, values in rows.items() for name, value in values.items()}
    columns = list(dict.fromkeys(name for values in rows.values() for name in values))
    table = Table(
        ["", *columns], [[row, *(values.get(c) for c in columns)] for row, values in rows.items()], scorer.caption
    )
    return Evaluation(
        numbers={**numbers, **bound, **snapped},
        tables=[table, bound_table, *snapping_tables],
        loss_by_noise_level=_loss_curves(built, dataset, params),
    )


def _heard(built: model.Model, dataset: Dataset, samples: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How far the vector or map of the samples is from the one that was asked for, root mean square."""
    asked = model.asked_of(built, dataset, labels)
    return {
        f"RMSE of the {name.replace('_', ' ')}": float(
            np.sqrt(np.mean(np.square(np.asarray(extract({"x": jnp.asarray(samples)})) - asked[name])))
        )
        for name, extract in built.extracts.items()
    }


class Scorer(NamedTuple):
    """The numbers of real test data, those of ``(samples, labels)``, and what they mean."""

    real: dict[str, float]
    samples: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    caption: str


def scorer_of(dataset: Dataset) -> Scorer:
    """What samples of images or points are scored by."""
    return (_score_points if isinstance(dataset, Ring) else _score_images)(dataset)


def _flat(x) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return x.reshape(len(x), -1)


def _score_images(dataset: Dataset) -> Scorer:
    """Scores by a support vector machine trained on real scans, and distances in pixel space."""
    train, test = (dataset.real(part) for part in (dataset.train, dataset.test))
    expert = judge.fit_judge(train, dataset.train["label"])
    real, held_out = _flat(train)[:5000], _flat(test)[:5000]

    @jax.jit  # the real data are arguments: as constants XLA would compute with them while compiling
    def compare(x, real, held_out):
        precision, recall = metrics.precision_recall(real, x)
        density, coverage = metrics.density_coverage(real, x)
        return precision, recall, density, coverage, metrics.energy_distance(held_out, x)

    def distances(x):
        names = ("precision", "recall", "density", "coverage", "energy distance")
        return dict(zip(names, map(float, compare(x, real, held_out)), strict=True))

    def samples(x, labels):
        return {
            "class accuracy": judge.class_accuracy(expert, x, labels),
            "classification accuracy score": judge.classification_accuracy_score(
                x, labels, test, dataset.test["label"]
            ),
            **distances(_flat(x)[:5000]),
        }

    accuracy = judge.real_accuracy(expert, test, dataset.test["label"])
    baseline = {**distances(held_out), "energy distance": float(jax.jit(metrics.energy_distance)(held_out, real))}
    return Scorer(
        real={"class accuracy": accuracy, "classification accuracy score": accuracy, **baseline},
        samples=samples,
        caption=(
            "Class accuracy: a support vector machine trained on real training scans judges the samples. "
            "Classification accuracy score: one trained on the samples judges the real test scans. Precision, recall, "
            "density and coverage compare pixels with the training scans (k = 3 and 5), energy distance with the test "
            "scans; for the real data it is that between training and test scans."
        ),
    )


def _score_points(dataset: Dataset) -> Scorer:
    """Scores by the exact posterior of the class, and distances to fresh points."""
    assert isinstance(dataset, Ring)
    test, train = dataset.test["x"], dataset.train["x"]
    key = jax.random.key(0)

    @jax.jit
    def compare(x, test):
        return metrics.energy_distance(test, x), metrics.sliced_wasserstein(key, test, x)

    def distances(x):
        return dict(zip(("energy distance", "sliced Wasserstein"), map(float, compare(x, test)), strict=True))

    def accuracy(x, labels):
        return float(np.mean(np.asarray(dataset.density.responsibilities(jnp.asarray(x)).argmax(-1)) == labels))

    return Scorer(
        real={"class accuracy": accuracy(test, dataset.test["label"]), **distances(train)},
        samples=lambda x, labels: {"class accuracy": accuracy(x, labels), **distances(x[: len(test)])},
        caption="Class accuracy by the exact posterior; distances to 2,000 fresh points of the true density.",
    )


def _bound(config: Config, built: model.Model, dataset: Dataset, params: PyTree):
    """The variational bound on the test set given its labels, and the exact value where it is known."""
    dim, levels = math.prod(built.shape), dataset.levels
    # Discrete data: start where one level is four standard deviations wide; below that, rounding beats any network.
    t_min = 1e-3 if levels is None else float(built.schedule.time_at(2.0 * math.log(2.0 * (levels - 1))))
    t_max = 1.0 - 1e-3

    @jax.jit
    def run(params, key, batch):
        seen = as_seen(dataset, batch)
        bound = likelihood.variational_bound(
            key,
            model.denoiser(built, params, model.conditions(built, seen)),
            built.schedule,
            seen["x"],
            num_times=config.evaluation.bound_times,
            t_min=t_min,
            t_max=t_max,
            levels=levels,
        )
        return jnp.stack([bound.prior, bound.reconstruction, bound.diffusion, bound.total])

    some = _some(dataset, dataset.test, 2000)
    size = min(500 if dataset.sample_rate is None else 64, len(some["x"]))
    parts = [
        np.asarray(run(params, jax.random.key(config.seed + start), _rows(some, slice(start, start + size))))
        for start in range(0, len(some["x"]) - size + 1, size)
    ]
    values = np.concatenate(parts, axis=1) / (dim * math.log(2))
    prior, reconstruction, diffusion, total = values.mean(axis=1)
    error = values[3].std() / math.sqrt(values.shape[1])
    kind = "none: a bound on the probability of the integers" if levels else "none: a bound on a density"
    row: list[Any] = [total, error, prior, reconstruction, diffusion, kind]
    header = ["bits/dim", "standard error", "prior", "reconstruction", "diffusion", "dequantisation"]
    if isinstance(dataset, Ring):
        exact = dataset.density.component(0).entropy() / (dim * math.log(2))
        header.insert(1, "exact")
        row.insert(1, float(exact))
    caption = (
        f"Monte-Carlo variational bound on {values.shape[1]} test examples given their conditions, "
        f"{config.evaluation.bound_times} noise levels each, t from {t_min:.3g} to {t_max:g}."
    )
    return {"bound/bits per dim": float(total)}, Table(header, [row], caption)


def as_text(found: Evaluation) -> str:
    """The tables for a terminal."""
    return tables_as_text(found.tables)


def _rows(part: Batch, rows: slice) -> Batch:
    return {name: value[rows] for name, value in part.items()}


def _some(dataset: Dataset, part: Batch, most: int) -> Batch:
    """The first examples of a set; of sounds, which are long, at most 256."""
    return _rows(part, slice(most if dataset.sample_rate is None else min(most, 256)))


def _loss_curves(built: model.Model, dataset: Dataset, params: PyTree) -> dict[str, losses.Binned]:
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    return {name: loss_curve(built, dataset, params, part) for name, part in parts.items()}


def loss_curve(built: model.Model, dataset: Dataset, params: PyTree, part: dict[str, np.ndarray]) -> losses.Binned:
    """The eps-MSE by noise level on up to 2,000 examples at uniform log-SNR."""
    spread = built._replace(times=time_samplers.uniform_log_snr(1e-3, 1.0 - 1e-3))
    prepare, loss = model.make_prepare(spread, dataset), model.make_loss(spread)

    @jax.jit
    def run(params, batch):
        _, aux = loss(params, prepare(jax.random.key(0), batch))
        return losses.bin_by_noise_level(aux["eps_mse"], aux["log_snr"])

    return jax.tree.map(np.asarray, run(params, _some(dataset, part, 2000)))


def held_out_loss(built: model.Model, dataset: Dataset):
    """``params -> loss`` on up to 1,000 test examples, always at the same noise and times."""
    prepare, loss = model.make_prepare(built, dataset), model.make_loss(built)
    prepared = jax.jit(prepare)(jax.random.key(0), _some(dataset, dataset.test, 1000))
    run = jax.jit(lambda params: loss(params, prepared)[0].mean())
    return lambda params: float(run(params))
