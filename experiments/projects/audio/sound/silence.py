"""Is silence a typical note? Its likelihood under a trained model of sounds, and the typicality test.

    python -m experiments.projects.audio.sound.silence --workdir=runs/notes

The most likely sound is not a typical one: a clip of zeros may have a higher density than any real note. Both get the
same small noise (``--noise``, in units of the network's input), so that densities are finite; log-densities are from
the probability-flow ODE without conditions, with Hutchinson's estimate of the divergence. The mean over training notes
is the entropy of Nalisnick's test, held-out notes give its calibration, and a batch of other held-out notes and a batch
of silent clips are tested (:func:`scorekit.typicality.typicality_test`). Prints a table and writes
``workdir/silence.json``.
"""

import math
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments import data
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data.sounds import Sounds
from experiments.models.samples import check_samples
from experiments.projects.audio.sound.drawing import check_results, open_kind
from experiments.projects.audio.sound.log_densities import noisy_log_density, of_clips, typicality_tests
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.diffusion import task as diffusion

_WORKDIR = shared.workdir("Folder of a run of experiments.train on sounds.")
_STEP, _SEED = shared.step(), shared.seed("Seed of the noise, the probes and the bootstrap.")
_NUM = shared.count("num", 64, "Training clips, and as many held-out ones.", 2)
_BATCH = shared.count("batch", 16, "Clips in a batch that is tested.")
_NOISE = flags.DEFINE_float(
    "noise", 0.03, "Standard deviation of the noise relative to the signal, in the network's input."
)
_GRID = shared.count("grid", 16, "Steps of the ODE, four evaluations each.")


def main(config: Config) -> Path:
    check_results(Sounds, config, _WORKDIR.value)
    if not 0 < _NOISE.value < math.inf:
        raise ConfigError(f"--noise={_NOISE.value}: must be finite and > 0")
    run, workdir = open_kind(Sounds, config, _WORKDIR.value, _STEP.value)
    data.check_no_pitch(run.dataset)
    num, batch, held_out = _NUM.value, _BATCH.value, run.dataset.test["x"]
    for clips, needed, kind in ((held_out, num + batch, "held-out"), (run.dataset.train["x"], num, "training")):
        if len(clips) < needed:
            asked = f"--num={num} --batch={batch}"
            raise ConfigError(f"{asked}: take {needed} {kind} clips, this data set has {len(clips)}")
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
        found[name] = of_clips(log_density, jax.random.fold_in(jax.random.key(_SEED.value), i), x, batch)
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
    return write_results(workdir / "silence.json", {name: r._asdict() for name, r in results.items()})


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
