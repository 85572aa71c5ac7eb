"""Metrics of a trained model, with those of real data."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Batch, Dataset, preprocess, rows_of
from experiments.data.display import Scorer
from experiments.evaluation import compared
from experiments.evaluation.exact import ExactBits, exact_bits
from experiments.evaluation.fid import InceptionMetrics, inception_metrics, prepare
from experiments.evaluation.quantisation import Quantisation, quantisation
from experiments.evaluation.semigroup import caption, semigroup
from experiments.models.conditioning import conditions, target_conditions
from experiments.models.devices import collect, everywhere, spread, spread_jit
from experiments.models.loss import make_loss, make_prepare
from experiments.models.model import Model, denoiser
from experiments.models.samples import PartialSamples
from experiments.models.sampling import Generate
from scorekit import likelihood, losses
from scorekit import times as time_samplers
from scorekit.typing import PyTree


class Bound(NamedTuple):
    """The variational bound on the test set given its conditions, in bits per dimension.

    Attributes:
      total: mean over examples of prior, reconstruction and diffusion terms.
      error: standard error of the mean.
      prior: mean of the first term.
      reconstruction: of the second.
      diffusion: of the third.
      exact: the exact value, where it is known.
      examples: number of test examples.
      times: noise levels per example.
      t_min: smallest time.
      t_max: largest time.
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
        program of its own measures samples.
      caption: what the metrics of ``rows`` are.
      bound: the variational bound; None for a coupling of data and noise that has none.
      quantisation: of latents with codes, else None.
      loss_by_noise_level: the eps-MSE on training and held-out data.
      inception: FID and what belongs to it, or the same of VGG features; None without weights of a network.
      exact: the exact likelihood, None if it was not asked for.
    """

    rows: dict[str, dict[str, float]]
    caption: str
    bound: Bound | None
    quantisation: Quantisation | None
    loss_by_noise_level: dict[str, losses.Binned]
    inception: InceptionMetrics | None = None
    exact: ExactBits | None = None

    def values(self) -> dict[str, Any]:
        """Every metric by one name, as for JSON."""
        found: dict[str, Any] = {f"{row}/{name}": v for row, part in self.rows.items() for name, v in part.items()}
        if self.bound:
            found["bound/bits per dim"] = self.bound.total
        if self.inception:
            found |= self.inception.values()
        if self.exact:
            found |= {f"exact/{name}": value for name, value in self.exact._asdict().items()}
        return found | (self.quantisation.values() if self.quantisation else {})


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

    The FID joins them where the config names weights of the network of its features.

    Args:
      config: the full config.
      model: the model that it describes.
      dataset: its data.
      params: the parameters to evaluate.
      generate: from :func:`experiments.models.sampling.make_sampler`.
      partial: where samples are kept until the caller has written the evaluation.
      exact: whether to find the exact likelihood too.

    Raises:
      ConfigError: if the exact likelihood is asked of a bridge.
    """
    if exact and model.coupling is not None and model.coupling.starts_at_map:
        raise ConfigError("--bits_per_dim: a model of loss.coupling.name=bridge has no likelihood")
    prepared = prepare(config, dataset)
    params, scorer = everywhere(params), dataset.scorer()
    rows = sample_metrics(config, model, dataset, scorer, params, generate, partial)
    inception = inception_metrics(config, dataset, params, generate, prepared, partial) if prepared else None
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    return Evaluation(
        rows=rows,
        caption="" if scorer is None else caption(model, scorer),
        bound=variational_bound(config, model, dataset, params) if model.coupling is None else None,
        quantisation=quantisation(config, model, dataset, params, generate),
        loss_by_noise_level={name: loss_by_noise_level(model, dataset, params, part) for name, part in parts.items()},
        inception=inception,
        exact=exact_bits(config, model, dataset, params) if exact else None,
    )


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
    labels = np.arange(config.evaluation.num_samples, dtype=np.int32) % dataset.num_classes
    for name, (scale, steps) in compared(config).items():
        samples = generate(params, config.seed + 1, labels, scale, partial=partial, steps=steps)
        errors = _condition_errors(model, dataset, samples, labels)
        rows[name] = {
            **scorer.samples(samples, labels),
            **errors,
            **semigroup(config, model, dataset, params, steps, scale),
        }
    return rows


def _condition_errors(model: Model, dataset: Dataset, samples: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The root mean square error of the vector or map of the samples against their target."""
    batch = dataset.as_batch(samples)
    if batch is None:
        return {}
    targets = target_conditions(model, dataset, labels)
    return {
        f"RMSE of the {name.replace('_', ' ')}": float(
            np.sqrt(np.mean(np.square(np.asarray(extract(batch)) - targets[name])))
        )
        for name, extract in model.extracts.items()
        if getattr(extract, "from_samples", True)
    }


def bound_ends(model: Model, bins: int | None) -> tuple[float, float]:
    """The first and the last time of the bound: those of a schedule that is trained by it are its ends.

    Otherwise discrete data start where a bin is four standard deviations wide; below that, rounding beats any network.
    Some schedules begin with more noise.
    """
    if model.learns_schedule:
        return 0.0, 1.0
    t_min = 1e-3 if bins is None else max(0.0, float(model.schedule.time_at(2.0 * math.log(2.0 * (bins - 1)))))
    return t_min, 1.0 - 1e-3


def variational_bound(config: Config, model: Model, dataset: Dataset, params: PyTree) -> Bound:
    """The variational bound on the test set given its conditions, and the exact value where it is known."""
    dim, bins = math.prod(model.shape), dataset.bins
    t_min, t_max = bound_ends(model, bins)

    @spread_jit
    def run(params, key, batch):
        batch = preprocess(dataset, spread(batch))
        bound = likelihood.variational_bound(
            key,
            denoiser(model, params, conditions(model, batch)),
            model.schedule,
            batch["x"],
            num_times=config.evaluation.bound_times,
            t_min=t_min,
            t_max=t_max,
            bins=bins,
        )
        return jnp.stack([bound.prior, bound.reconstruction, bound.diffusion, bound.total])

    few = rows_of(dataset.test, slice(dataset.max_evaluated))
    total = len(few["x"])
    size, parts = min(dataset.evaluation_batch, total), []
    for start in range(0, total, size):
        at = np.minimum(np.arange(start, start + size), total - 1)  # of one compiled size
        found = np.asarray(run(params, jax.random.key(config.seed + start), rows_of(few, at)))
        parts.append(found[:, : total - start])
    values = np.concatenate(parts, axis=1) / (dim * math.log(2))
    prior, reconstruction, diffusion, total = map(float, values.mean(axis=1))
    examples = values.shape[1]
    error = float(values[3].std() / math.sqrt(examples))
    return Bound(total, error, prior, reconstruction, diffusion, dataset.exact_bits(), examples,
                 config.evaluation.bound_times, t_min, t_max, bins)  # fmt: skip


def loss_by_noise_level(model: Model, dataset: Dataset, params: PyTree, part: Batch) -> losses.Binned:
    """The eps-MSE by noise level on some examples at uniform log-SNR."""
    uniform = model._replace(times=time_samplers.uniform_log_snr(1e-3, 1.0 - 1e-3))
    prepare, loss = make_prepare(uniform, dataset), make_loss(uniform)

    @spread_jit
    def run(params, batch):
        _, aux = loss(params, spread(prepare(jax.random.key(0), batch)))
        aux = collect(aux)
        return losses.bin_by_noise_level(aux["eps_mse"].reshape(-1), aux["log_snr"].reshape(-1))

    return jax.tree.map(np.asarray, run(params, rows_of(part, slice(dataset.max_evaluated))))
