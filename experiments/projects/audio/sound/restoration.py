"""The observations of held-out sounds, and the sounds and distances of every method that restores them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, hint, require
from experiments.data.dataset import Batch
from experiments.data.sounds import Sounds
from experiments.models.samples import check_samples
from experiments.projects.audio.sound import problems, synthesised, trained
from experiments.projects.audio.sound.long_sounds import sounds_of
from experiments.reporting.tables import Table
from experiments.tasks.diffusion import runs
from experiments.tasks.diffusion.inverse import methods, tasks
from experiments.tasks.task import Run
from scorekit import audio
from scorekit.typing import Array, Denoiser

HEADER = ("", "LSD (dB)", "MR-STFT loss", "error (dB)", "RMS of y - A(x)", "evaluations", "seconds")


def check(
    config: Config,
    workdir: str,
    task: str,
    chosen: Sequence[str],
    condition: str,
    options: methods.Options,
    folders: Sequence[str],
) -> None:
    """Validates the flags of a restoration, the config of its run, which ``workdir`` names, and trained models."""
    names = problems.PROBLEMS
    if task not in names:
        raise ConfigError(f"--task={task}: must be one of {', '.join(names)}{hint(task, names)}")
    methods.check_options(chosen, options)
    if condition not in ("own", "null"):
        raise ConfigError(f"--condition={condition}: must be own or null")
    name = config.data.representation.name
    allowed = "waveform or controls: only sounds that are differentiable in what is modelled are restored"
    require(name in (None, "waveform", "controls"), "data.representation.name", name, allowed)
    runs.check_score(config, workdir)
    trained.check_trained(task, folders, config)
    if config.conditions.map.name in Sounds.maps and condition == "own":
        by = f"config.conditions.map.name={config.conditions.map.name}"
        raise ConfigError(f"--condition=own: {by} is computed from the sound that is restored; give --condition=null")


class Observed(NamedTuple):
    """Held-out sounds and their observations.

    Attributes:
      x: the sounds as the network receives them.
      y: the observation.
      task: observation of x.
      problem: observation of ``signal`` of a sound.
      signal: sounds ``(N, L)`` as ``problem`` takes them.
      sounds: sounds by name: held out, before restoration, and the analysis as a synthesiser plays it.
    """

    x: Array
    y: Array
    task: tasks.Task
    problem: problems.Problem
    signal: Callable[[np.ndarray], Array]
    sounds: dict[str, np.ndarray]


def observe(config: Config, run: Run, stored: Batch, x: Array, task: str, noise_std: float, seed: int) -> Observed:
    """Degrades held-out sounds, as waveforms ``x`` that the network receives or as those that its synthesiser plays."""
    dataset = sounds_of(run)
    rate = dataset.sample_rate
    as_sound = lambda x: np.asarray(dataset.from_model(x))
    if dataset.by_pitch:
        signal = lambda sound: jnp.asarray(sound)[..., None]
        sound = signal(dataset.real(stored))
        problem = synthesised.by_levels(problems.PROBLEMS[task](sound, rate), sound, rate)
        y = problem.task.operator(sound)
        at_peak = lambda signal: np.asarray(dataset.at_peak(jnp.asarray(signal)[..., 0]))
        sounds = {"held out": at_peak(sound), "before": at_peak(problem.task.picture(np.asarray(y)))}
        played = synthesised.played(problem.task, dataset.to_sound)
        return Observed(x, y, played, problem, signal, {**sounds, synthesised.CEILING: as_sound(x)})
    problem = problems.PROBLEMS[task](x, rate)
    for_noise, _ = jax.random.split(jax.random.key(seed))
    y = tasks.observe(for_noise, problem.task, x, noise_std)
    before = as_sound(jnp.asarray(problem.task.picture(np.asarray(y))))
    signal = lambda sound: dataset.to_model(audio.float_to_pcm(sound))
    return Observed(x, y, problem.task, problem, signal, {"held out": as_sound(x), "before": before})


def restore(
    run: Run,
    model: Denoiser,
    observed: Observed,
    chosen: Sequence[str],
    by_others: Mapping[str, tuple[np.ndarray, int]],
    options: methods.Options,
    seed: int,
) -> tuple[dict[str, np.ndarray], list[list]]:
    """The sounds of every method, all that fit if none is chosen, and of models that were trained for the task.

    Their distances from the truth are rows under :data:`HEADER`.
    """
    x, y, task, problem, signal, sounds = observed
    through = synthesised.CEILING in sounds
    _, key = jax.random.split(jax.random.key(seed))

    def row(name, fit, evaluations=None, seconds=None, samples=True):
        *spectral, error = problems.distances(
            sounds[name], sounds["held out"], problem.part, sounds_of(run).sample_rate
        )
        return [name, *spectral, error if samples else None, fit, evaluations, seconds]

    rows: list[list] = [row("before", None)]
    if through:
        rows.append(row(synthesised.CEILING, tasks.consistency(task, np.asarray(x), y), samples=False))
    for method in chosen or [name for name in methods.METHODS if methods.fits(task, name)]:
        begin = time.monotonic()
        found = methods.restore(method, key, model, run.model.schedule, task, y, x.shape, options)
        seconds = time.monotonic() - begin
        by = f"--method={method}; leave it out by naming the others"
        drawn = jnp.asarray(check_samples(np.asarray(found.x), by, "restored sounds"))
        sounds[method] = check_samples(np.asarray(run.dataset.from_model(drawn)), by, "restored sounds")
        rows.append(row(method, tasks.consistency(task, found.x, y), found.evaluations, seconds, not through))
    for name, (sound, evaluations) in by_others.items():
        sounds[name] = sound
        rows.append(row(name, tasks.consistency(problem.task, np.asarray(signal(sound)), y), evaluations))
    return sounds, rows


def table(rows: list[list], observed: Observed, task: str, conditions: str) -> Table:
    """The distances, under conditions that are "own" or "null"."""
    where = f" within {problems.AROUND:g} s of the gap" if task == "gap" else ""
    of = ", which is played without phases" if synthesised.CEILING in observed.sounds else ""
    about = f"means over {len(observed.x)} sounds{where}; error: of samples, against the sound{of}"
    return Table(HEADER, rows, f"{about}; {conditions} conditions")
