"""Metrics of a trained model, with those of real data."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config
from experiments.data.dataset import Batch, Dataset, preprocess, rows_of
from experiments.evaluation.quantisation import Quantisation, quantisation
from experiments.models.conditioning import conditions, target_conditions
from experiments.models.devices import collect, everywhere, spread, spread_jit
from experiments.models.loss import make_loss, make_prepare
from experiments.models.model import Model, denoiser
from experiments.models.partial import PartialSamples
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
      rows: metrics by name, of real test data and of samples at each guidance scale; empty where a program of its own
        measures samples.
      caption: what the metrics of ``rows`` are.
      bound: the variational bound.
      quantisation: of latents with codes, else None.
      loss_by_noise_level: the eps-MSE on training and held-out data.
    """

    rows: dict[str, dict[str, float]]
    caption: str
    bound: Bound
    quantisation: Quantisation | None
    loss_by_noise_level: dict[str, losses.Binned]

    def values(self) -> dict[str, float]:
        """Every metric by one name, as for JSON."""
        found = {f"{row}/{name}": value for row, metrics in self.rows.items() for name, value in metrics.items()}
        found["bound/bits per dim"] = self.bound.total
        return found | (self.quantisation.values() if self.quantisation else {})


def evaluate(
    config: Config,
    model: Model,
    dataset: Dataset,
    params: PyTree,
    generate: Generate,
    partial: PartialSamples | None = None,
) -> Evaluation:
    """Evaluates samples at every guidance scale, the variational bound and the loss by noise level.

    Args:
      config: the full config.
      model: the model that it describes.
      dataset: its data.
      params: the parameters to evaluate.
      generate: from :func:`experiments.models.sampling.make_sampler`.
      partial: where samples are kept until the caller has written the evaluation.
    """
    params, scorer = everywhere(params), dataset.scorer()
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    return Evaluation(
        rows=sample_metrics(config, model, dataset, params, generate, partial),
        caption="" if scorer is None else scorer.caption,
        bound=variational_bound(config, model, dataset, params),
        quantisation=quantisation(config, model, dataset, params, generate),
        loss_by_noise_level={name: loss_by_noise_level(model, dataset, params, part) for name, part in parts.items()},
    )


def sample_metrics(
    config: Config,
    model: Model,
    dataset: Dataset,
    params: PyTree,
    generate: Generate,
    partial: PartialSamples | None = None,
) -> dict[str, dict[str, float]]:
    """Metrics by name, of real test data and of samples at each guidance scale; see :func:`evaluate`."""
    scorer = dataset.scorer()
    if scorer is None:
        return {}
    rows = {"real test data": scorer.real}
    labels = np.arange(config.evaluation.num_samples, dtype=np.int32) % dataset.num_classes
    for scale in config.evaluation.guidance_scales:
        samples = generate(params, config.seed + 1, labels, scale, partial=partial)
        errors = _condition_errors(model, dataset, samples, labels)
        rows[f"γ = {scale:g}"] = {**scorer.samples(samples, labels), **errors}
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
    }


def variational_bound(config: Config, model: Model, dataset: Dataset, params: PyTree) -> Bound:
    """The variational bound on the test set given its conditions, and the exact value where it is known."""
    dim, bins = math.prod(model.shape), dataset.bins
    # Discrete data: start where a bin is four standard deviations wide; below that, rounding beats any network.
    t_min = 1e-3 if bins is None else float(model.schedule.time_at(2.0 * math.log(2.0 * (bins - 1))))
    t_max = 1.0 - 1e-3

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
    size = min(dataset.evaluation_batch, len(few["x"]))
    parts = [
        np.asarray(run(params, jax.random.key(config.seed + start), rows_of(few, slice(start, start + size))))
        for start in range(0, len(few["x"]) - size + 1, size)
    ]
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
        return losses.bin_by_noise_level(aux["eps_mse"], aux["log_snr"])

    return jax.tree.map(np.asarray, run(params, rows_of(part, slice(dataset.max_evaluated))))
