"""Is silence a typical note? Its likelihood under a trained model of sounds, and the typicality test.

    python -m experiments.audio.silence --workdir=runs/notes

The most likely sound is not a typical one: a clip of zeros may have a higher density than any real note. Both get the
same small noise (``--noise``, in units of the network's input), so that densities are finite; log-densities are those
of the probability-flow ODE without conditions, with Hutchinson's estimate of the divergence. The mean over training
notes is the entropy of Nalisnick's test, held-out notes give its calibration, and a batch of other held-out notes and
a batch of silent clips are tested (:func:`scorekit.typicality.typicality_test`). Prints a table and writes
``workdir/silence.json``.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.audio.drawing import check_results, open_kind
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.configs import base
from experiments.data.representation import check_needs_no_pitch
from experiments.data.sounds import Sounds
from experiments.models.model import unconditional
from experiments.models.runs import Run, write_results
from experiments.models.samples import check_samples
from experiments.reporting.report import Table, tables_as_text
from scorekit import likelihood, process, typicality
from scorekit.typing import Array, Key

_WORKDIR = shared.workdir("Folder of a run of experiments.train on sounds.")
_STEP, _SEED = shared.step(), shared.seed("Seed of the noise, the probes and the bootstrap.")
_NUM = shared.count("num", 64, "Training clips, and as many held-out ones.", 2)
_BATCH = shared.count("batch", 16, "Clips in a batch that is tested.")
_NOISE = flags.DEFINE_float(
    "noise", 0.03, "Standard deviation of the noise against the signal, of the network's input."
)
_GRID = shared.count("grid", 16, "Steps of the ODE, four evaluations each.")


class Result(NamedTuple):
    """The test of one batch; ``log_p`` is its mean log-density in nats."""

    log_p: float
    statistic: float
    p_value: float
    rejected: bool


def typicality_tests(
    key: Key, train: np.ndarray, calibration: np.ndarray, batches: Mapping[str, np.ndarray], *, resamples: int = 10_000
) -> dict[str, Result]:
    """Nalisnick's test of batches of log-densities.

    Args:
      key: PRNG key of the bootstrap.
      train: log-densities of training examples, whose mean is minus the entropy.
      calibration: those of held-out examples, at least two.
      batches: by name, those of the batches to test.
      resamples: of the bootstrap; the smallest p-value is ``1 / (resamples + 1)``.
    """
    entropy = typicality.monte_carlo_entropy(jnp.asarray(train)).value
    found = {}
    for name, values in batches.items():
        test = typicality.typicality_test(key, entropy, calibration, values, resamples=resamples)
        found[name] = Result(float(np.mean(values)), float(test.statistic), float(test.p_value), bool(test.rejected))
    return found


def in_blocks(log_density: Callable[[Key, Array], Array], key: Key, x: np.ndarray, size: int) -> np.ndarray:
    """Log-densities of clips in blocks of one compiled size, each with noise and probes of its own."""
    parts = []
    for i, start in enumerate(range(0, len(x), size)):
        block = x[start : start + size]
        padded = np.concatenate([block, np.zeros((size - len(block), *block.shape[1:]), block.dtype)])
        parts.append(np.asarray(log_density(jax.random.fold_in(key, i), jnp.asarray(padded)))[: len(block)])
    return np.concatenate(parts)


def noisy_log_density(run: Run, noise: float, steps: int) -> Callable[[Key, Array], Array]:
    """``(key, raw clips) -> log p`` in nats of the network's input for them with noise; jitted."""
    schedule, denoiser = run.model.schedule, unconditional(run.model, run.params)
    t_min = schedule.time_at(jnp.float32(-2.0 * math.log(noise)))
    ts = jnp.linspace(0.999, t_min, steps + 1)

    @jax.jit
    def log_density(key, raw):
        for_noise, for_probes = jax.random.split(key)
        x = run.dataset.to_model(raw)
        x_t = process.perturb(x, jax.random.normal(for_noise, x.shape), t_min, schedule)
        options = {"divergence": "rademacher", "probes": 1, "chunk": 1, "ts": ts}
        return likelihood.log_likelihood(for_probes, denoiser, schedule, x_t, **options).log_p

    return log_density


def main(config: Config) -> None:
    start = time.monotonic()
    check_results(Sounds, config, _WORKDIR.value)
    check_needs_no_pitch(config)
    if not 0 < _NOISE.value < math.inf:
        raise ConfigError(f"--noise={_NOISE.value}: must be finite and > 0")
    run, workdir = open_kind(Sounds, config, _WORKDIR.value, _STEP.value)
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
        found[name] = in_blocks(log_density, jax.random.fold_in(jax.random.key(_SEED.value), i), x, batch)
        check_samples(found[name], f"{name}: --noise={_NOISE.value:g} --grid={_GRID.value}", "log-densities")
    train, calibration = found.pop("train"), found.pop("calibration")
    results = typicality_tests(jax.random.key(_SEED.value), train, calibration, found)

    dim = math.prod(run.dataset.shape)
    rows = [
        [name, r.log_p / dim, r.statistic / dim, r.p_value, "rejected" if r.rejected else "typical"]
        for name, r in results.items()
    ]
    header = [f"{batch} clips each", "log p / D, nats", "|-log p - H| / D", "p-value", "at 5 %"]
    print(tables_as_text([Table(header, rows)]))
    report = write_results(workdir / "silence.json", {name: r._asdict() for name, r in results.items()})
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
