"""Metrics of a trained model and of real data."""

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.choices import named_object
from experiments.cli.config import Config, ConfigError
from experiments.cli.progress import Progress
from experiments.data.dataset import Batch, Dataset, in_blocks, preprocess, rows_of
from experiments.data.display import Scorer
from experiments.models.conditioning import conditions, target_conditions
from experiments.models.devices import collect, everywhere, spread, spread_jit
from experiments.models.samples import Generate, PartialSamples, one_bar
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.metrics import compared
from experiments.tasks.diffusion.model import Model
from scorekit import likelihood, losses
from scorekit import times as time_samplers
from scorekit.typing import PyTree

if TYPE_CHECKING:
    from experiments.tasks.diffusion.metrics.exact import ExactBits
    from experiments.tasks.diffusion.metrics.fid import InceptionMetrics

FURTHER = {
    "caption": "experiments.tasks.flow_maps.metrics:caption",
    "ema_sweep": "experiments.tasks.diffusion.metrics.ema_sweep:ema_sweep",
    "exact": "experiments.tasks.diffusion.metrics.exact:exact_bits",
    "features": "experiments.tasks.diffusion.metrics.fid:prepare",
    "fid": "experiments.tasks.diffusion.metrics.fid:inception_metrics",
    "semigroup": "experiments.tasks.flow_maps.metrics:semigroup",
}
"""Metrics of some models and configs, imported where they are asked for."""


def further(name: str, wanted: Any, *args: Any) -> Any:
    """The metrics of this name, if they are wanted."""
    return named_object(FURTHER[name])(*args) if wanted else None


class Bound(NamedTuple):
    """The variational bound on the test set given its conditions, in bits per dimension: a mean over examples.

    Attributes:
      total: sum of its terms ``prior``, ``reconstruction`` and ``diffusion``.
      error: standard error of the mean.
      exact: the exact value, where it is known.
      examples: number of test examples.
      times: noise levels per example, from ``t_min`` to ``t_max``.
      bins: number of values of discrete data, None for a bound on a density.
    """

    total: float
    error: float
    prior: float
    reconstruction: float
    diffusion: float
    exact: float | None
    examples: int
    times: int
    t_min: float
    t_max: float
    bins: int | None


class Evaluation(NamedTuple):
    """All metrics of a run.

    Attributes:
      rows: metrics by name, of real test data and of samples at each guidance scale and number of steps; empty where a
        separate program measures samples.
      caption: explanation of the metrics of ``rows``.
      bound: the variational bound; None for a coupling of data and noise that has none.
      loss_by_noise_level: the eps-MSE on training and held-out data.
      inception: FID and what belongs to it, or the same of VGG features; None without weights of a network.
      exact: the exact likelihood, None if not requested.
    """

    rows: dict[str, dict[str, float]]
    caption: str
    bound: Bound | None
    loss_by_noise_level: dict[str, losses.Binned]
    inception: "InceptionMetrics | None" = None
    exact: "ExactBits | None" = None

    def values(self) -> dict[str, Any]:
        """Every metric by one name, as for JSON."""
        found: dict[str, Any] = {f"{row}/{name}": v for row, part in self.rows.items() for name, v in part.items()}
        if self.bound:
            found["bound/bits per dim"] = self.bound.total
        if self.inception:
            found |= self.inception.values()
        if self.exact:
            found |= {f"exact/{name}": value for name, value in self.exact.values().items()}
        return found


def evaluate(
    config: Config,
    model: Model,
    dataset: Dataset,
    params: PyTree,
    generate: Generate,
    partial: PartialSamples | None = None,
    exact: bool = False,
) -> Evaluation:
    """Evaluates samples at every guidance scale and number of steps, the variational bound and the loss by noise level.

    The FID joins them where the config names weights of the network of its features, and the exact likelihood, which a
    bridge does not have, with ``exact``.
    """
    if exact and model.coupling is not None and model.coupling.starts_at_map:
        raise ConfigError("--bits_per_dim: a model of loss.coupling.name=bridge has no likelihood")
    prepared = further("features", config.evaluation.fid.weights, config, dataset)
    params, scorer = everywhere(params), scorer_of(dataset)
    rows = sample_metrics(config, model, dataset, scorer, params, generate, partial)
    inception = further("fid", prepared, config, dataset, params, generate, prepared, partial)
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    num = dataset.num_samples(config.evaluation.num_samples)
    counts = f"Real test data: {dataset.held_out():,} {dataset.unit}; samples: {num:,}."
    about = further("caption", model.is_flow_map and scorer, model, scorer) or (scorer and scorer.caption)
    return Evaluation(
        rows=rows,
        caption="" if scorer is None else f"{about} {counts}",
        bound=variational_bound(config, model, dataset, params) if model.coupling is None else None,
        loss_by_noise_level={name: loss_by_noise_level(model, dataset, params, part) for name, part in parts.items()},
        inception=inception,
        exact=further("exact", exact, config, model, dataset, params),
    )


@functools.lru_cache(maxsize=1)
def scorer_of(dataset: Dataset) -> Scorer | None:
    """The metrics of samples of a data set, with what is fitted for them."""
    return dataset.scorer()


def sample_metrics(
    config: Config,
    model: Model,
    dataset: Dataset,
    scorer: Scorer | None,
    params: PyTree,
    generate: Generate,
    partial: PartialSamples | None = None,
) -> dict[str, dict[str, float]]:
    """Metrics by name, of real test data and of samples at each scale and number of steps; see :func:`evaluate`."""
    if scorer is None:
        return {}
    rows = {"real test data": scorer.real}
    labels = np.arange(dataset.num_samples(config.evaluation.num_samples), dtype=np.int32) % dataset.num_classes
    with one_bar(partial, len(compared(config)), len(labels), config.sampling.batch_size):
        for name, (scale, steps) in compared(config).items():
            samples = generate(params, config.seed + 1, labels, scale, partial=partial, steps=steps)
            found = scorer.samples(samples, labels) | _condition_errors(model, dataset, samples, labels)
            error = further("semigroup", model.is_flow_map, config, model, dataset, params, steps, scale)
            rows[name] = found | (error or {})
    return rows


def _condition_errors(model: Model, dataset: Dataset, samples: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The root mean square error of the vector or map of the samples against their target."""
    batch = dataset.as_batch(samples)
    if batch is None:
        return {}
    targets = target_conditions(model, dataset, labels)
    extracts = {name: each for name, each in model.extracts.items() if getattr(each, "from_samples", True)}
    rmse = lambda x, target: float(np.sqrt(np.mean(np.square(np.asarray(x) - target))))
    return {f"RMSE of the {n.replace('_', ' ')}": rmse(each(batch), targets[n]) for n, each in extracts.items()}


def bound_ends(model: Model, bins: int | None) -> tuple[float, float]:
    """The first and the last time of the bound: 0 and 1 for a schedule that is trained by the bound.

    Otherwise discrete data start where a bin is four standard deviations wide; below that, rounding beats any network.
    Some schedules begin with more noise.
    """
    if model.objective.learns_schedule:
        return 0.0, 1.0
    t_min = 1e-3 if bins is None else max(0.0, float(model.schedule.time_at(2.0 * math.log(2.0 * (bins - 1)))))
    return t_min, 1.0 - 1e-3


def variational_bound(config: Config, model: Model, dataset: Dataset, params: PyTree) -> Bound:
    """The variational bound on the test set given its conditions, and the exact value where it is known."""
    dim, bins, times = math.prod(model.shape), dataset.bins, config.evaluation.bound_times
    t_min, t_max = bound_ends(model, bins)

    @spread_jit
    def run(params, key, batch):
        batch = preprocess(dataset, spread(batch))
        options = {"num_times": times, "t_min": t_min, "t_max": t_max, "bins": bins}
        rule = model.denoiser(params, conditions(model, batch))
        bound = likelihood.variational_bound(key, rule, model.schedule, batch["x"], **options)
        return jnp.stack([bound.prior, bound.reconstruction, bound.diffusion, bound.total], axis=1)

    few = rows_of(dataset.test, slice(dataset.max_evaluated))
    examples = len(few["x"])
    size = min(dataset.evaluation_batch, examples)
    with Progress(-(-examples // size), batch_size=size, label="bound") as bar:

        def block(rows):
            found = run(params, jax.random.key(config.seed + int(rows[0])), rows_of(few, rows))
            bar.update(int(rows[0]) // size + 1)
            return found

        found = in_blocks(block, np.arange(examples), size)
    values = found.T / (dim * math.log(2))
    prior, reconstruction, diffusion, total = map(float, values.mean(axis=1))
    error = float(values[3].std() / math.sqrt(examples))
    return Bound(
        total, error, prior, reconstruction, diffusion, dataset.exact_bits(), examples, times, t_min, t_max, bins
    )


def loss_by_noise_level(model: Model, dataset: Dataset, params: PyTree, part: Batch) -> losses.Binned:
    """The eps-MSE, of a flow map the loss, by noise level on some examples at uniform log-SNR."""
    times: Any = time_samplers.uniform_log_snr(1e-3, 1.0 - 1e-3)
    uniform = replace(model, objective=cast(Any, model.objective)._replace(times=times))
    prepare, loss = make_prepare(uniform, dataset), make_loss(uniform)

    @spread_jit
    def run(params, batch):
        _, aux = loss(params, spread(prepare(jax.random.key(0), batch)))
        aux = collect(aux)
        return losses.bin_by_noise_level(aux["error"].reshape(-1), aux["log_snr"].reshape(-1))

    return jax.tree.map(np.asarray, run(params, rows_of(part, slice(dataset.max_evaluated))))
