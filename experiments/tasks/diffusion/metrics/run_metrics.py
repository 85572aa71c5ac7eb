"""Metrics of a trained model and of real data."""

import functools
import math
from dataclasses import replace
from typing import Any, NamedTuple, cast

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
from experiments.models.samples import Generate, PartialSamples
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.metrics import compared
from experiments.tasks.diffusion.metrics.exact import ExactBits, exact_bits, likelihood_ends
from experiments.tasks.diffusion.model import Model
from scorekit import likelihood, losses
from scorekit import times as time_samplers
from scorekit.typing import PyTree

FID = "experiments.tasks.diffusion.metrics.fid"
"""The module of the FID, imported for a config that names weights of its network."""


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
      inception: FID and what belongs to it, ``InceptionMetrics``; None without weights of the network.
      exact: the exact likelihood, None if not requested.
    """

    rows: dict[str, dict[str, float]]
    caption: str
    bound: Bound | None
    loss_by_noise_level: dict[str, losses.Binned]
    inception: Any = None
    exact: ExactBits | None = None

    def values(self) -> dict[str, Any]:
        """Every metric by one name, as for JSON."""
        values: dict[str, Any] = {f"{row}/{name}": v for row, part in self.rows.items() for name, v in part.items()}
        if self.bound:
            values["bound/bits per dim"] = self.bound.total
        if self.inception:
            values |= self.inception.values()
        if self.exact:
            values |= {f"exact/{name}": value for name, value in self.exact._asdict().items()}
        return values


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
    measures_fid = config.evaluation.fid.weights is not None
    prepared = named_object(f"{FID}:prepare")(config, dataset) if measures_fid else None
    params, scorer = everywhere(params), scorer_of(dataset)
    rows = sample_metrics(config, model, dataset, scorer, params, generate, partial)
    inception = None
    if prepared is not None:
        inception_metrics = named_object(f"{FID}:inception_metrics")
        inception = inception_metrics(config, dataset, params, generate, prepared, partial)
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    num = dataset.num_samples(config.evaluation.num_samples)
    counts = f"Real test data: {dataset.held_out():,} {dataset.unit}; samples: {num:,}."
    about = scorer and scorer.caption
    if model.is_flow_map and scorer is not None:
        about = named_object("experiments.tasks.flow_maps.metrics:caption")(model, scorer)
    return Evaluation(
        rows=rows,
        caption="" if scorer is None else f"{about} {counts}",
        bound=variational_bound(config, model, dataset, params) if model.coupling is None else None,
        loss_by_noise_level={name: loss_by_noise_level(model, dataset, params, part) for name, part in parts.items()},
        inception=inception,
        exact=exact_bits(config, model, dataset, params) if exact else None,
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
    for name, (scale, steps) in compared(config).items():
        samples = generate(params, config.seed + 1, labels, scale, partial=partial, steps=steps)
        rows[name] = scorer.samples(samples, labels) | _condition_errors(model, dataset, samples, labels)
        if model.is_flow_map:
            semigroup = named_object("experiments.tasks.flow_maps.metrics:semigroup")
            rows[name] |= semigroup(config, model, dataset, params, steps, scale)
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


def variational_bound(config: Config, model: Model, dataset: Dataset, params: PyTree) -> Bound:
    """The variational bound on the test set given its conditions, and the exact value where it is known.

    Discrete data start where a bin is four standard deviations wide: below that, rounding beats any network. A schedule
    that is trained by the bound has its own ends.
    """
    dim, bins, times = math.prod(model.shape), dataset.bins, config.evaluation.bound_times
    t_min, t_max = likelihood_ends(model.schedule, bins, deviations=4.0)
    if model.objective.learns_schedule:
        t_min, t_max = 0.0, 1.0

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
            terms = run(params, jax.random.key(config.seed + int(rows[0])), rows_of(few, rows))
            bar.update(int(rows[0]) // size + 1)
            return terms

        terms = in_blocks(block, np.arange(examples), size)
    values = terms.T / (dim * math.log(2))
    prior, reconstruction, diffusion, total = map(float, values.mean(axis=1))
    error = float(values[3].std() / math.sqrt(examples))
    return Bound(
        total, error, prior, reconstruction, diffusion, dataset.exact_bits(), examples, times, t_min, t_max, bins
    )


def loss_by_noise_level(model: Model, dataset: Dataset, params: PyTree, part: Batch) -> losses.Binned:
    """The eps-MSE, of a flow map the loss, by noise level on some examples at uniform log-SNR."""
    times: Any = time_samplers.UniformLogSNR(t_min=1e-3, t_max=1.0 - 1e-3)
    uniform = replace(model, objective=cast(Any, model.objective)._replace(times=times))
    prepare, loss = make_prepare(uniform, dataset), make_loss(uniform)

    @spread_jit
    def run(params, batch):
        _, aux = loss(params, spread(prepare(jax.random.key(0), batch)))
        aux = collect(aux)
        return losses.bin_by_noise_level(aux["error"].reshape(-1), aux["log_snr"].reshape(-1))

    return jax.tree.map(np.asarray, run(params, rows_of(part, slice(dataset.max_evaluated))))
