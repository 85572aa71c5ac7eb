"""Hierarchies of codes of sounds: reconstructions from the first levels, and the models of each level.

    python -m experiments.projects.audio.music.levels --autoencoders=runs/phrases_vq,runs/phrases_levels \
        --priors=runs/phrases_vq_prior,runs/phrases_levels_1,runs/phrases_levels_2,runs/phrases_levels_3

``--autoencoders`` are runs with codes. The first table has a row for each number of levels: codes a second and the bits
that they take, distances of decoded held-out sounds, and the perplexity of the codes of the last of these levels.
``--priors`` are runs of experiments.train of the codes. The second table has their bits a second, given the true codes
of coarser levels, and ``--clips`` samples of each, drawn as it was saved: with ``config.sampling.coarser`` from the
coarsest level down. Both tables have Fréchet distances to the held-out sounds of rhythm, harmony and timbre
(:mod:`~experiments.projects.audio.sound.phrase_statistics`), which depend on the number of sounds. Standard errors are
of the mean over held-out sounds, of Fréchet distances those of a jackknife over ten groups of sounds. ``--out`` is a
JSON file of both.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data.display import Sounds
from experiments.projects.audio.sound import phrase_statistics
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.latents import model as autoencoder
from experiments.tasks.latents.stages import for_full_sounds
from experiments.tasks.sequences.metrics import bits_per_symbol
from scorekit import networks
from scorekit.io import as_path

_AUTOENCODERS = shared.define(flags.DEFINE_list, "autoencoders", [], "Runs of autoencoders of sounds with codes.")
_PRIORS = shared.define(flags.DEFINE_list, "priors", [], "Runs of models of the codes of such autoencoders.")
_CLIPS = shared.count("clips", 100, "Sounds to draw of each model.", 20)
_SEED = shared.seed()
_OUT = shared.out("JSON file of the tables; none by default.")
_GROUPS = 10


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.2g}"


def ratio(values: np.ndarray, power: np.ndarray | float = 1.0) -> Estimate:
    """The ratio of two means over examples, and its standard error to first order."""
    found, scale = float(np.mean(values) / np.mean(power)), float(np.mean(power)) * math.sqrt(len(values))
    return Estimate(found, float(np.std(values - found * power, ddof=1)) / scale)


def structure(sounds: np.ndarray, held_out: np.ndarray, rate: int) -> dict[str, Estimate]:
    """Fréchet distances of rhythm, harmony and timbre, with jackknife standard errors."""
    found, real = (phrase_statistics.statistics(each, rate) for each in (sounds, held_out))
    group = np.arange(len(sounds)) * _GROUPS // len(sounds)
    parts = [{name: x[group != i] for name, x in found.items()} for i in range(_GROUPS)]
    without = [phrase_statistics.distances(part, real) for part in parts]
    error = lambda name: float(np.std([each[name] for each in without])) * math.sqrt(_GROUPS - 1)
    return {name: Estimate(x, error(name)) for name, x in phrase_statistics.distances(found, real).items()}


def opened(folder: str, flag: str, task: str) -> tuple[Config, Any, np.ndarray, int]:
    """The config of a run, the run, and the held-out sounds with their rate."""
    config = for_full_sounds(tasks.saved(folder, task))
    run = tasks.of(config).open_run(config, as_path(folder).absolute(), None, None)
    inner = getattr(run.dataset, "inner", run.dataset)
    view = inner.view(held_out := inner.real(inner.test))
    if not isinstance(view, Sounds):
        raise ConfigError(f"--{flag}={folder}: must be a run of sounds, this one is of {run.dataset.name}")
    return config, run, held_out, view.sample_rate


def reconstructions(folder: str) -> list[dict[str, Any]]:
    """A row for each number of levels of an autoencoder."""
    _, run, held_out, rate = opened(folder, "autoencoders", "autoencoder")
    built, rows, total = run.model, [], 0.0
    if not (count := autoencoder.num_levels(built.module)):
        raise ConfigError(f"--autoencoders={folder}: must be a run of an autoencoder with codes")
    found, index, _ = autoencoder.reconstruct(built, run.params, run.dataset.test, 25)
    for k, (values, codes) in enumerate(zip(found, index, strict=True), 1):
        sounds = np.asarray(run.dataset.from_model(jnp.asarray(values["y"])))
        spectral = "log-spectral distance, dB"
        total += codes[0].size * rate / held_out.shape[1]
        perplexity = networks.perplexity(networks.code_counts(jnp.asarray(codes), built.module.codes))
        row = {"levels": f"{as_path(folder).name}, {k} of {count}", "codes/s": total}
        row |= {
            "bits/s": total * math.log2(built.module.codes),
            "error, share of power": ratio(values["error"], values["power"]),
        }
        rows.append(row | {spectral: ratio(values[spectral])} | structure(sounds, held_out, rate))
        rows[-1]["perplexity"] = float(perplexity)
    return rows


def prior(folder: str) -> dict[str, Any]:
    """The row of a model of codes."""
    config, run, held_out, rate = opened(folder, "priors", "sequence")
    bits = bits_per_symbol(config, run.model, run.dataset, run.params)
    labels = np.resize(run.dataset.test["label"], _CLIPS.value)
    sounds = run.generate(run.params, _SEED.value, labels, config.sampling.guidance_scale)
    a_second = bits.symbols * rate / held_out.shape[1]
    row = {"model": as_path(folder).name, "codes/s": a_second, "bits a code": Estimate(bits.total, bits.error)}
    row |= {"bits/s": Estimate(bits.total * a_second, bits.error * a_second), "kind": bits.kind}
    return row | structure(sounds, held_out, rate)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row with each standard error as a value of its own."""
    errors = {f"{name}/standard error": value.error for name, value in row.items() if isinstance(value, Estimate)}
    return {name: getattr(value, "value", value) for name, value in row.items()} | errors


def main(_) -> None:
    if not (_AUTOENCODERS.value or _PRIORS.value):
        raise ConfigError("--autoencoders=… or --priors=… must be given: folders of runs of experiments.train")
    out = shared.results(_OUT, None, "") if _OUT.value else None
    tables = [[row for each in _AUTOENCODERS.value for row in reconstructions(each)], list(map(prior, _PRIORS.value))]
    cells = lambda row: [str(value) if isinstance(value, Estimate) else value for value in row.values()]
    print(tables_as_text([Table(list(rows[0]), list(map(cells, rows))) for rows in tables if rows]))
    if out is not None:
        print(f"wrote {write_results(out, [as_json(row) for rows in tables for row in rows])}")


if __name__ == "__main__":
    command_line.run(main)
