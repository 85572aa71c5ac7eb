"""Waveforms of held-out sounds from their mel spectrograms, by a trained vocoder and by Griffin and Lim's iteration.

    python -m experiments.projects.audio.sound.vocode --workdir=runs/vocoder
    python -m experiments.projects.audio.sound.vocode --workdir=runs/vocoder --steps=4,6,12,100 --num=100

The model is conditioned on the log-mel spectrograms of full sounds and on nothing else. Both start from the same mel
spectrograms: Griffin-Lim from the non-negative magnitudes nearest to them, a diffusion from the same noise for every
number of steps, a flow in one pass; the last of ``--steps`` is the full sampling that the others are compared with.
Prints a table, and writes ``vocoder.html`` with audio widgets, ``vocoder.json`` and the sounds into
``workdir/vocoder``.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, require
from experiments.cli.outputs import write_results
from experiments.data.dataset import evenly, preprocess, rows_of
from experiments.data.sounds import Sounds
from experiments.models.conditioning import conditions
from experiments.projects.audio.sound.drawing import check_results, open_kind
from experiments.projects.audio.sound.sound_report import write_sound_report
from experiments.projects.audio.sound.vocoders import compare, griffin_lim, real_time_factor
from experiments.tasks.diffusion.sampling import at_steps, make_sampler
from experiments.tasks.latents.stages import for_full_sounds
from experiments.tasks.task import facts
from scorekit import audio

_WORKDIR = shared.workdir("Folder of a run of experiments.train with a vocoder's config.")
_STEP, _SEED = shared.step(), shared.seed("Seed of the noise, and of Griffin-Lim's phases.")
_STEPS = flags.DEFINE_list("steps", "6,100", "Numbers of sampling steps; the last is the full sampling.")
_NUM = shared.count("num", 64, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 6, "Number of sounds with audio widgets.")
_ITERATIONS = shared.count("iterations", 60, "Of Griffin and Lim.")


def main(config: Config) -> Path:
    check_results(Sounds, config, _WORKDIR.value)
    of_flow = config.task == "flow"
    steps = [] if of_flow else shared.step_counts("steps", _STEPS.value, "6,100")
    vocoders = ("log_mel", "mel_magnitudes")
    require(
        config.conditions.map.name in vocoders,
        "conditions.map.name",
        config.conditions.map.name,
        f"{' or '.join(vocoders)}",
    )
    run, workdir = open_kind(Sounds, for_full_sounds(config), _WORKDIR.value, _STEP.value)
    dataset = run.dataset
    part = rows_of(dataset.test, evenly(len(dataset.test["x"]), _NUM.value))
    given = jax.tree.map(np.asarray, conditions(run.model, preprocess(dataset, part)))
    truth, rate = dataset.real(part), dataset.sample_rate
    features = audio.make_log_mel(
        rate, **{k: v for k, v in config.conditions.map.items() if k != "name" and v is not None}
    )
    print(f"{len(truth)} held-out sounds of {truth.shape[1] / rate:.3f} s with step {run.step:,} …", flush=True)

    lim, seconds, iterations = f"Griffin-Lim, {_ITERATIONS.value} iterations", truth.shape[1] / rate, _ITERATIONS.value
    sounds: dict[str, np.ndarray] = {}
    factors: dict[str, float] = {}
    at = lambda count: make_sampler(at_steps(config, count), run.model, dataset, run.extras)
    samplers = {"flow": run.generate} if of_flow else {f"{count} steps": at(count) for count in steps}
    with progress.Progress(1 + len(samplers), batch_size=len(truth), label="vocode") as bar:
        encoded = features.encode(jnp.asarray(truth))
        key = jax.random.key(_SEED.value)
        phases = jax.jit(lambda encoded: griffin_lim(key, features, encoded, truth.shape[1], iterations))
        sounds[lim] = np.asarray(phases(encoded))
        factors[lim] = real_time_factor(lambda: phases(encoded[:1]), seconds)
        sounds[f"{lim}, matched"] = np.asarray(
            jax.jit(lambda x: audio.match_mel(x, features.mel(encoded), *features))(sounds[lim])
        )
        bar.update(1)
        for i, (full, generate) in enumerate(samplers.items()):
            sounds[full] = generate(run.params, _SEED.value, given, 1.0)
            one = jax.tree.map(lambda leaf: leaf[:1], given)
            factors[full] = real_time_factor(lambda g=generate, o=one: g(run.params, 0, o, 1.0), seconds)
            bar.update(2 + i)
        sounds[f"{full}, other noise"] = generate(run.params, _SEED.value + 1, given, 1.0)
    table, out = compare(sounds, truth, rate, full, factors), workdir / "vocoder"
    values = {name: dict(zip(table.header[1:], row, strict=True)) for name, *row in table.rows}
    write_results(out / "vocoder.json", values)
    rows, summary = (
        evenly(len(truth), _SHOWN.value),
        {**facts(run), "seed": _SEED.value, "map": config.conditions.map.name},
    )
    shown = {name: x[rows] for name, x in {"held out": truth, **sounds}.items()}
    path, labels = out / "vocoder.html", [*map(str, rows)]
    return write_sound_report(path, "scorekit: vocoder", summary, [table], shown, rate, row_labels=labels)


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value, "diffusion", "flow"), tasks.check_fields)
