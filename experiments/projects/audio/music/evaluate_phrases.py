"""Phrases drawn by runs of any kind and phrases through autoencoders, compared with the held-out phrases.

    python -m experiments.projects.audio.music.evaluate_phrases --runs=runs/phrases_vq_masked,runs/phrases_vq_rounded
    python -m experiments.projects.audio.music.evaluate_phrases --runs=runs/phrases_levels,runs/phrases_levels_1

``--runs`` are runs of experiments.train on the same phrases. A model of samples, spectra, latents or codes draws
``--clips`` phrases with the instruments of the held-out ones, with the sampling that it was saved with: of a hierarchy
from the coarsest level down. Of a model of latents there is also a row of the held-out phrases, decoded from their
latents or codes: what it cannot exceed. An autoencoder has a row for each number of its levels of codes, coarsest
first.

Columns: Fréchet distances to the held-out phrases of rhythm (the autocorrelation of onsets), harmony (the
self-similarity of the chroma) and timbre (log-mel statistics), which depend on the number of phrases; codes and bits a
second, of a model of codes those of held-out phrases given the codes of coarser levels; the error and the log-spectral
distance of reconstructions; CPU seconds of a phrase of all cores together, without compilation. Standard errors are of
the mean over phrases, of Fréchet distances those of a jackknife over ten groups of phrases. Prints a table; ``--out``
is a JSON file of it.
"""

import functools
import math
import time
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import data, tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data import for_full_sounds
from experiments.data.dataset import evenly, in_blocks, rows_of
from experiments.data.sounds import Sounds
from experiments.reporting.tables import metrics_table, tables_as_text
from experiments.tasks.latents.metrics import reconstruct
from experiments.tasks.latents.model import num_levels
from experiments.tasks.sequences.metrics import bits_per_symbol
from scorekit import metrics
from scorekit.audio import structure
from scorekit.audio.mel_features import log_mel_statistics
from scorekit.io import as_path
from scorekit.typing import Array

_RUNS = shared.define(flags.DEFINE_list, "runs", [], "Folders of runs of experiments.train on the same phrases.")
_CLIPS = shared.count("clips", 200, "Phrases to draw of each.", 20)
_SEED = shared.seed()
_OUT = shared.out("JSON file of the table; none by default.")
LONGEST_LAG = 3.2
"""Seconds of the shortest phrases that the statistics can be computed of."""


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.2g}"


Row = dict[str, Any]


def ratio(values: np.ndarray, power: np.ndarray | float = 1.0) -> Estimate:
    """The ratio of two means over examples, and its standard error to first order."""
    value, scale = float(np.mean(values) / np.mean(power)), float(np.mean(power)) * math.sqrt(len(values))
    return Estimate(value, float(np.std(values - value * power, ddof=1)) / scale)


@functools.partial(jax.jit, static_argnames="rate")
def _statistics(x: Array, rate: int) -> dict[str, Array]:
    return {
        "rhythm": structure.rhythm_statistics(x, rate),
        "harmony": structure.harmony_statistics(x, rate),
        "timbre": log_mel_statistics(x, rate),
    }


def compare(sounds: np.ndarray, held_out: np.ndarray, rate: int) -> dict[str, Estimate]:
    """Fréchet distances of rhythm, harmony and timbre of sounds ``(N, L)``, with jackknife standard errors."""
    run, distance = functools.partial(_statistics, rate=rate), jax.jit(metrics.frechet_distance)
    ours, real = (in_blocks(run, np.asarray(x, np.float32), min(20, len(x))) for x in (sounds, held_out))
    error = jax.jit(lambda x, y: metrics.jackknife_error(lambda part: distance(part, y), x))
    estimate = lambda x, y: Estimate(float(distance(x, y)), float(error(x, y)))
    return {name: estimate(x, real[name]) for name, x in ours.items()}


def phrases_of(folder: str, config: Config) -> Sounds:
    """The full phrases that a run is of, whatever its model receives of them."""
    dataset = data.build(for_full_sounds(config))
    if not isinstance(dataset, Sounds):
        raise ConfigError(f"--runs={folder}: must be a run of sounds, this one is of {dataset.name}")
    length = dataset.length / dataset.sample_rate
    if length < LONGEST_LAG:
        raise ConfigError(f"--runs={folder}: must be of phrases of at least {LONGEST_LAG} s, these have {length:g} s")
    return dataset


def reconstructed(run: Any, name: str, held_out: np.ndarray, rate: int) -> dict[str, Row]:
    """A row for each number of levels of an autoencoder, of which a continuous one has one."""
    built, rows, total = run.model, {}, 0.0
    count = num_levels(built.module)
    of_levels, codes, _ = reconstruct(built, run.params, run.dataset.test, 25)
    for k, values in enumerate(of_levels):
        row = compare(np.asarray(run.dataset.from_model(jnp.asarray(values["y"]))), held_out, rate)
        if count:
            total += codes[k][0].size * rate / held_out.shape[1]
            row |= {"codes/s": total, "bits/s": total * math.log2(built.module.codes)}
        row["error, share of power"] = ratio(values["error"], values["power"])
        row["log-spectral distance, dB"] = ratio(values["log-spectral distance, dB"])
        rows[f"{name}, {k + 1} of {count} levels" if count else name] = row
    return rows


def drawn(
    run: Any, name: str, config: Config, labels: np.ndarray, seed: int, held_out: np.ndarray, rate: int
) -> dict[str, Row]:
    """The row of the sounds of a model, and of latents that of held-out phrases decoded."""
    generate = functools.partial(run.generate, run.params)
    scale = config.sampling.guidance_scale
    generate(seed, labels[: config.sampling.batch_size], scale)
    start = time.process_time()
    sounds = generate(seed + 1, labels, scale)
    seconds = (time.process_time() - start) / len(labels)
    row: Row = {**compare(sounds, held_out, rate), "CPU s per phrase": seconds}
    if config.task == "sequence":
        bits = bits_per_symbol(config, run.model, run.dataset, run.params)
        a_second = bits.symbols * rate / held_out.shape[1]
        row |= {"codes/s": a_second, "bits/s": Estimate(bits.total * a_second, bits.error * a_second)}
        row["kind"] = bits.kind
    if not config.get("latents"):
        return {name: row}
    decoded = compare(run.dataset.decoded(run.dataset.test), held_out, rate)
    return {name: row, f"{name}: held-out phrases, decoded": decoded}


def measure(folders: list[str], clips: int, seed: int) -> dict[str, Row]:
    """The rows of training phrases and of every run."""
    configs = [for_full_sounds(tasks.saved(folder)) for folder in folders]
    phrases = phrases_of(folders[0], configs[0])
    rate, held_out = phrases.sample_rate, phrases.real(phrases.test)
    labels = np.resize(phrases.test["label"], clips)
    few = rows_of(phrases.train, evenly(len(phrases.train["x"]), clips))
    rows: dict[str, Row] = {"training phrases": compare(phrases.real(few), held_out, rate)}
    for folder, config in zip(folders, configs, strict=True):
        other = phrases_of(folder, config)
        if other.sample_rate != rate or not np.array_equal(other.test["x"], phrases.test["x"]):
            raise ConfigError(f"--runs={folder}: must be of the phrases of {folders[0]}")
        path: Any = as_path(folder).absolute()
        run: Any = tasks.of(config).open_run(config, path, None, None)
        if config.task == "autoencoder":
            rows |= reconstructed(run, path.name, held_out, rate)
        else:
            rows |= drawn(run, path.name, config, labels, seed, held_out, rate)
    return rows


def main(_) -> None:
    if not _RUNS.value:
        raise ConfigError("--runs=… must be given: folders of runs of experiments.train on phrases")
    out = shared.results(_OUT, None, "") if _OUT.value else None
    rows = measure(cast(list[str], _RUNS.value), _CLIPS.value, _SEED.value)
    print(tables_as_text([metrics_table(rows)]))
    if out is not None:
        print(f"wrote {write_results(out, rows)}")


if __name__ == "__main__":
    command_line.run(main)
