"""Guidance and temperature of a trained model of sequences: of its conditionals, and of the joint by particles.

    python -m experiments.projects.text.joint --workdir=runs/digits_pixels --particles=1,64 --drawn=100

The joint of long sequences cannot be counted. Particles that are drawn from the changed conditionals are weighted by
the normalisers of these and resampled (:func:`scorekit.autoregressive.sample_joint`); a sample is one of many
particles, drawn by its weight, of a run of its own. One particle is a sample of the conditionals.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.cli.progress import Progress
from experiments.data.dataset import in_blocks
from experiments.models.samples import check_samples
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.sequences.model import conditionals
from experiments.tasks.sequences.sampling import open_run
from experiments.tasks.task import Run
from scorekit import autoregressive as ar
from scorekit import metrics

_WORKDIR = shared.workdir("Folder of an autoregressive run of images.")
_SCALES = shared.define(flags.DEFINE_list, "scales", ["0", "0.5", "1", "2", "3", "4"], "Guidance scales.")
_TEMPERATURES = shared.define(flags.DEFINE_list, "temperatures", ["0.1", "0.3", "0.5", "0.7", "1"], "Of the joint.")
_PARTICLES = shared.define(flags.DEFINE_list, "particles", ["1", "16", "64"], "Numbers of particles.")
_DRAWN = shared.count("drawn", 200, "Samples of each row.", 2)


class Drawn(NamedTuple):
    """One particle of each of many runs of particles."""

    x: np.ndarray  # codes (num, L)
    log_normalizer: np.ndarray  # estimate of each run for the changed joint, in nats
    log_joint: np.ndarray  # log-probability of x under it in nats, not normalised
    ess: np.ndarray  # smallest effective sample size of a run, as a fraction of its particles


def make_draw(run: Run, particles: int, temperature: bool = False) -> Callable[[float, int, int], Drawn]:
    """``(scale, num, seed) -> samples``, the classes in turn, each the choice of a run of ``particles``.

    One particle samples the conditionals. With ``temperature`` the scale is T of ``p(x | y)^(1 / T)``, not a guidance
    scale.
    """
    model, num_classes = run.model, run.dataset.num_classes
    even = ar.markov_chain(jnp.zeros(model.num_codes), jnp.zeros((model.num_codes, model.num_codes)))

    def pair(params, labels, batch):
        cond = conditionals(model, params, labels, batch)
        return cond, even if temperature else conditionals(model, params, jnp.full_like(labels, num_classes), batch)

    @jax.jit
    def one(params, key, label, power):
        for_run, for_choice = jax.random.split(key)
        guided = ar.classifier_free(*pair(params, label, particles), power)
        result = ar.sample_joint(for_run, guided, particles, model.length)
        x = result.x[jax.random.categorical(for_choice, result.log_weights)]
        return x, result.log_normalizer, result.ess.min() / particles

    @jax.jit
    def log_joint(params, x, labels, power):
        cond, uncond = (ar.log_prob(each, x) for each in pair(params, labels, len(x)))
        return power * cond + (1 - power) * uncond

    def draw(scale: float, num: int, seed: int) -> Drawn:
        power, key = np.float32(1 / scale if temperature else scale), jax.random.key(seed)
        labels = np.arange(num, dtype=np.int32) % num_classes
        found = []
        with Progress(num, batch_size=1, label=f"scale {scale:g}, particles {particles}", unit="samples") as bar:
            for i, label in enumerate(labels):
                found.append(jax.device_get(one(run.params, jax.random.fold_in(key, i), label, power)))
                bar.update(i + 1)
        x, log_normalizer, ess = (np.stack(part) for part in zip(*found, strict=True))
        check_samples(log_normalizer, f"scale {scale:g}, {particles} particles")
        return Drawn(x, log_normalizer, np.asarray(log_joint(run.params, x, labels, power)), ess)

    return draw


def log_integrals(most: Drawn, labels: np.ndarray) -> np.ndarray:
    """``log sum_x`` of the changed joint for the class of each sample, the log of a mean over runs of most particles.

    The mean of the estimates is unbiased; its logarithm is a little too small while few runs dominate it.
    """
    of = {k: np.logaddexp.reduce(most.log_normalizer[labels == k]) - np.log(np.sum(labels == k)) for k in set(labels)}
    return np.array([of[k] for k in labels])


def diversity_of(run: Run, decode: Callable, labels: np.ndarray) -> tuple[Callable, float]:
    """``(images, labels) -> Vendi score of a class``, a mean over classes, and the score of as many training images.

    Images are similar at half of the standard deviation of the training images, the root of their total variance.
    """
    train = run.dataset.train
    images = in_blocks(decode, train["x"], min(500, len(train["x"])))
    flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1)
    bandwidth = 0.5 * float(np.sqrt(flat(images).var(axis=0).sum()))

    def score(images, labels) -> float:
        parts = [flat(images)[labels == k] for k in np.unique(labels)]
        return float(np.mean([float(metrics.vendi_score(part, bandwidth)) for part in parts]))

    rows = [row for k in np.unique(labels) for row in np.flatnonzero(train["label"] == k)[: np.sum(labels == k)]]
    return score, score(images[rows], train["label"][rows])


def joint_table(run: Run, scales: Sequence[float], particles: Sequence[int], num: int, *, temperature=False) -> Table:
    """The effect of each scale on the conditionals, and on the joint with more and more particles.

    ``to the joint`` is the mean of ``log Z - log Z_hat``: for one particle the Kullback-Leibler divergence of the
    conditionals from the joint, for more particles an upper bound of the divergence of a sample. ``bits`` are
    ``-log2 p(x)`` of the samples under the changed conditionals (one particle) or the changed joint, whose mean is the
    entropy. With ``temperature`` the scales are temperatures. The numbers of particles increase.
    """
    scorer = run.dataset.scorer()
    assert scorer is not None
    draws = {n: make_draw(run, n, temperature) for n in particles}
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    decode = jax.jit(run.dataset.from_model)
    diversity, real = diversity_of(run, decode, labels)
    rows: list[list[Cell]] = [["real", None, scorer.real["class accuracy"], scorer.real["recall"], real, *[None] * 3]]
    for scale in scales:
        same = scale == 1 or (scale == 0 and not temperature)  # conditionals and joint: all weights are equal
        drawn = {n: draws[n](scale, num, n) for n in (particles[:1] if same else particles)}
        log_z = log_integrals(drawn[max(drawn)], labels)
        for n, found in drawn.items():
            images = in_blocks(decode, found.x, num)
            measured = scorer.samples(images, labels)
            bits = ((found.log_normalizer if n == 1 else log_z) - found.log_joint) / math.log(2)
            apart = (log_z - found.log_normalizer) / math.log(2)
            means = (float(each.mean()) for each in (bits, apart, found.ess))
            accuracy, recall = measured["class accuracy"], measured["recall"]
            rows.append([f"{scale:g}", n, accuracy, recall, diversity(images, labels), *means])
    header = ["T" if temperature else "γ", "particles", "class accuracy", "recall", "Vendi score of a class"]
    header += ["bits per sequence", "bits to the joint", "least fraction of effective particles"]
    what = "p(x | y)^(1/T)" if temperature else "p(x | y)^γ p(x)^(1 - γ)"
    caption = (
        f"{num} samples of each row for the joint {what}; one particle samples the changed conditionals, which are the "
        f"joint where a scale has one row. Standard error of an accuracy of a half: {0.5 / math.sqrt(num):.3f}."
    )
    return Table(header, rows, caption)


def main(_) -> None:
    scales = shared.guidance_scales("scales", _SCALES.value)
    temperatures = shared.increasing("temperatures", _TEMPERATURES.value)
    allowed = "integers >= 1, as in 1,16,64"
    particles = sorted(shared.all_of("particles", _PARTICLES.value, int, lambda n: n >= 1, allowed))
    run = open_run(tasks.saved(_WORKDIR.value, "sequence"), shared.path(_WORKDIR), scales=scales)
    if run.model.process is not None:
        raise ConfigError(f"--workdir={_WORKDIR.value}: must be an autoregressive run, this one is a diffusion")
    if run.dataset.scorer() is None:
        raise ConfigError(f"--workdir={_WORKDIR.value}: must be of images, {run.dataset.name} has no metrics")
    guided = joint_table(run, scales, particles, _DRAWN.value)
    print(tables_as_text([guided, joint_table(run, temperatures, particles, _DRAWN.value, temperature=True)]))


if __name__ == "__main__":
    command_line.run(main)
