"""Is silence a typical note? Its likelihood under a trained model of sounds, and what the typicality test says of it.

    python -m experiments.audio.silence --workdir=runs/notes

The most likely sound is not a typical one: a clip of zeros may have a higher density than any real note and is none.
Both get the same small noise (``--noise``, in units of what the network sees), so that densities are finite;
log-densities are those of the probability-flow ODE without conditions, the divergence by Hutchinson's estimate. The
mean over training notes is the entropy of Nalisnick's test, held-out notes give its spread, and a batch of other
held-out notes and a batch of silent clips are put to it (:func:`scorekit.typicality.typicality_test`). Prints a table
and writes ``workdir/silence.json``.
"""

import functools
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.tree_util import Partial

from experiments.cli import command_line, progress
from experiments.models import model
from experiments.models.runs import Experiment, open_experiment, saved_config
from experiments.cli.config import Config, ConfigError, require
from experiments.reporting.report import Table, tables_as_text
from scorekit import likelihood, process, typicality
from scorekit.io.files import write_atomic
from scorekit.typing import Array, Key

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train on sounds.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_NUM = flags.DEFINE_integer("num", 64, "Training clips, and as many held-out ones.", lower_bound=2)
_BATCH = flags.DEFINE_integer("batch", 16, "Clips in a batch that is tested.", lower_bound=1)
_NOISE = flags.DEFINE_float("noise", 0.03, "Of what the network sees: standard deviation against the signal.")
_GRID = flags.DEFINE_integer("grid", 16, "Steps of the ODE, four evaluations each.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the noise, the probes and the bootstrap.")


class Verdict(NamedTuple):
    """What is said of one batch; ``log_p`` is its mean log-density in nats."""

    log_p: float
    statistic: float
    p_value: float
    rejected: bool


def judge(
    key: Key, train: np.ndarray, calibration: np.ndarray, batches: Mapping[str, np.ndarray], *, resamples: int = 10_000
) -> dict[str, Verdict]:
    """Nalisnick's test of batches of log-densities.

    Args:
      key: PRNG key of the bootstrap.
      train: log-densities of training examples, whose mean is minus the entropy.
      calibration: those of held-out examples, at least two.
      batches: by name, those of the batches in question.
      resamples: of the bootstrap; the least p-value is ``1 / (resamples + 1)``.
    """
    entropy = typicality.monte_carlo_entropy(jnp.asarray(train)).value
    found = {}
    for name, values in batches.items():
        test = typicality.typicality_test(key, entropy, calibration, values, resamples=resamples)
        found[name] = Verdict(float(np.mean(values)), float(test.statistic), float(test.p_value), bool(test.rejected))
    return found


def measure(log_density: Callable[[Key, Array], Array], key: Key, x: np.ndarray, size: int) -> np.ndarray:
    """Log-densities of clips in blocks of one compiled size; each block has noise and probes of its own."""
    parts = []
    for i, start in enumerate(range(0, len(x), size)):
        block = x[start : start + size]
        padded = np.concatenate([block, np.zeros((size - len(block), *block.shape[1:]), block.dtype)])
        parts.append(np.asarray(log_density(jax.random.fold_in(key, i), jnp.asarray(padded)))[: len(block)])
    return np.concatenate(parts)


def _unconditional(built, params, x_t, t):
    return model.denoiser(built, params, jnp.full(x_t.shape[0], built.num_classes, jnp.int32))(x_t, t)


def noisy_log_density(run: Experiment, noise: float, steps: int) -> Callable[[Key, Array], Array]:
    """``(key, stored clips) -> log p`` in nats of what the network sees of them with noise; jitted."""
    schedule = run.model.schedule
    denoiser = Partial(functools.partial(_unconditional, run.model), run.params)
    t_min = schedule.time_at(jnp.float32(-2.0 * math.log(noise)))
    ts = jnp.linspace(0.999, t_min, steps + 1)

    @jax.jit
    def log_density(key, stored):
        for_noise, for_probes = jax.random.split(key)
        x = run.dataset.to_model(stored)
        x_t = process.perturb(x, jax.random.normal(for_noise, x.shape), t_min, schedule)
        options = {"divergence": "rademacher", "probes": 1, "chunk": 1, "ts": ts}
        return likelihood.log_likelihood(for_probes, denoiser, schedule, x_t, **options).log_p

    return log_density


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    run = open_experiment(config, workdir, _STEP.value)
    if run.dataset.sample_rate is None:
        raise ConfigError(f"--workdir={workdir}: must hold a run on sounds, and its data are {run.dataset.name}")
    num, batch, held_out = _NUM.value, _BATCH.value, run.dataset.test["x"]
    require(len(held_out) >= num + batch, "data.test_split", len(held_out), f"one of at least {num + batch} clips")
    log_density = noisy_log_density(run, _NOISE.value, _GRID.value)
    clips = {
        "train": run.dataset.train["x"][:num],
        "calibration": held_out[:num],
        "held-out notes": held_out[num : num + batch],
        "silence": np.zeros_like(held_out[:batch]),
    }
    found = {}
    for i, (name, x) in enumerate(clips.items()):
        print(f"log-densities of {len(x)} clips, {name} …", flush=True)
        found[name] = measure(log_density, jax.random.fold_in(jax.random.key(_SEED.value), i), x, batch)
    train, calibration = found.pop("train"), found.pop("calibration")
    verdicts = judge(jax.random.key(_SEED.value), train, calibration, found)

    dim = math.prod(run.dataset.shape)
    rows = [
        [name, v.log_p / dim, v.statistic / dim, v.p_value, "rejected" if v.rejected else "typical"]
        for name, v in verdicts.items()
    ]
    header = [f"{batch} clips each", "log p / D, nats", "|-log p - H| / D", "p-value", "at 5 %"]
    print(tables_as_text([Table(header, rows)]))
    report = write_atomic(
        workdir / "silence.json", json.dumps({name: v._asdict() for name, v in verdicts.items()}, indent=2) + "\n"
    )
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: saved_config(_WORKDIR.value))
