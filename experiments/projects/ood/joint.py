"""Guidance and temperature of a trained model of sequences: of its conditionals, and of the joint by particles.

    python -m experiments.projects.ood.joint --workdir=runs/digits_pixels --particles=1,64 --drawn=100

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

_WORKDIR = shared.workdir("Folder of an autoregressive run of images.")
_SCALES = shared.define(flags.DEFINE_list, "scales", ["0", "0.5", "1", "2", "3", "4"], "Guidance scales.")
_TEMPERATURES = shared.define(flags.DEFINE_list, "temperatures", ["0.1", "0.3", "0.5", "0.7", "1"], "Of the joint.")
_PARTICLES = shared.define(flags.DEFINE_list, "particles", ["1", "16", "64"], "Numbers of particles.")
_DRAWN = shared.count("drawn", 200, "Samples of each row.", 2)


class Drawn(NamedTuple):
    """One particle of each of many runs of particles."""

    x: np.ndarray  # codes (num, L)
    log_normalizer: np.ndarray  # estimate of each run for the changed joint, in nats
    ess: np.ndarray  # smallest effective sample size of a run, as a fraction of its particles


def make_draw(run: Run, particles: int, temperature: bool = False) -> Callable[[float, int, int], Drawn]:
    """``(scale, num, seed) -> samples``, the classes in turn, each the choice of a run of ``particles``.

    One particle samples the conditionals. With ``temperature`` the scale is T of ``p(x | y)^(1 / T)``, not a guidance
    scale.
    """
    model, num_classes = run.model, run.dataset.num_classes
    even = ar.markov_chain(jnp.zeros(model.num_codes), jnp.zeros((model.num_codes, model.num_codes)))

    @jax.jit
    def one(params, key, label, power):
        for_run, for_choice = jax.random.split(key)
        of = lambda label: conditionals(model, params, label, particles)
        uncond = even if temperature else of(jnp.full_like(label, num_classes))
        guided = ar.classifier_free(of(label), uncond, power)
        result = ar.sample_joint(for_run, guided, particles, model.length)
        x = result.x[jax.random.categorical(for_choice, result.log_weights)]
        return x, result.log_normalizer, result.ess.min() / particles

    def draw(scale: float, num: int, seed: int) -> Drawn:
        power, key = np.float32(1 / scale if temperature else scale), jax.random.key(seed)
        labels, each = np.arange(num, dtype=np.int32) % num_classes, []
        with Progress(num, batch_size=1, label=f"scale {scale:g}, particles {particles}", unit="samples") as bar:
            for i, label in enumerate(labels):
                each.append(jax.device_get(one(run.params, jax.random.fold_in(key, i), label, power)))
                bar.update(i + 1)
        drawn = Drawn(*(np.stack(part) for part in zip(*each, strict=True)))
        check_samples(drawn.log_normalizer, f"scale {scale:g}, {particles} particles")
        return drawn

    return draw


def log_integrals(log_normalizer: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``log sum_x`` of the changed joint for the class of each sample, the log of a mean over runs of most particles.

    The mean of the estimates is unbiased; its logarithm is a little too small while few runs dominate it.
    """
    of = {k: np.logaddexp.reduce(log_normalizer[labels == k]) - np.log(np.sum(labels == k)) for k in set(labels)}
    return np.array([of[k] for k in labels])


def joint_table(run: Run, scales: Sequence[float], particles: Sequence[int], num: int, *, temperature=False) -> Table:
    """The effect of each scale on the conditionals, and on the joint with more and more particles.

    "bits to the joint" is the mean of ``log Z - log Z_hat``: for one particle the Kullback-Leibler divergence of the
    conditionals from the joint, for more particles an upper bound of the divergence of a sample. With ``temperature``
    the scales are temperatures. The numbers of particles increase.
    """
    scorer = run.dataset.scorer()
    assert scorer is not None
    draws = {n: make_draw(run, n, temperature) for n in particles}
    labels = np.arange(num, dtype=np.int32) % run.dataset.num_classes
    decode = jax.jit(run.dataset.from_model)
    rows: list[list[Cell]] = [["real", None, scorer.real["class accuracy"], scorer.real["recall"], None, None]]
    for scale in scales:
        same = scale == 1 or (scale == 0 and not temperature)  # conditionals and joint: all weights are equal
        drawn = {n: draws[n](scale, num, n) for n in (particles[:1] if same else particles)}
        log_z = log_integrals(drawn[max(drawn)].log_normalizer, labels)
        for n, each in drawn.items():
            measured = scorer.samples(in_blocks(decode, each.x, num), labels)
            bits = float(np.mean(log_z - each.log_normalizer)) / math.log(2)
            rows.append([f"{scale:g}", n, measured["class accuracy"], measured["recall"], bits, float(each.ess.mean())])
    header = ["T" if temperature else "γ", "particles", "class accuracy", "recall", "bits to the joint"]
    header += ["least fraction of effective particles"]
    joint = "p(x | y)^(1/T)" if temperature else "p(x | y)^γ p(x)^(1 - γ)"
    caption = (
        f"{num} samples of each row for the joint {joint}; one particle samples the changed conditionals, which are "
        f"the joint where a scale has one row. Standard error of an accuracy of a half: {0.5 / math.sqrt(num):.3f}."
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
