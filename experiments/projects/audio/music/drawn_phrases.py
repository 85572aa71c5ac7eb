"""Phrases drawn by runs of any kind, and their distances to the held-out phrases."""

import time
from typing import Any, NamedTuple

import numpy as np

from experiments import data, tasks
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import evenly, rows_of
from experiments.data.sounds import Sounds
from experiments.projects.audio.sound import phrase_statistics
from experiments.reporting.tables import Table
from scorekit.io import as_path


class Drawn(NamedTuple):
    """Sounds of a run, held-out phrases through its autoencoder or None, and CPU seconds of a sound."""

    sounds: np.ndarray
    decoded: np.ndarray | None
    seconds: float


def phrases_of(folder: str, config: Config) -> Sounds:
    """The phrases that a run is of, whatever its model sees of them."""
    dataset = data.build(config)
    if not isinstance(dataset, Sounds):
        raise ConfigError(f"--runs={folder}: must be a run of sounds, this one is of {dataset.name}")
    return dataset


def draw(folder: str, config: Config, labels: np.ndarray, scale: float, seed: int) -> Drawn:
    """The sounds of a run."""
    path: Any = as_path(folder).absolute()
    run = tasks.of(config).open_run(config, path, None, (scale,))
    run.generate(run.params, seed, labels[: config.sampling.batch_size], scale)
    start = time.process_time()
    sounds = run.generate(run.params, seed + 1, labels, scale)
    seconds = (time.process_time() - start) / len(labels)
    if not config.latents:
        return Drawn(sounds, None, seconds)
    return Drawn(sounds, run.dataset.decoded(run.dataset.test), seconds)


def table(folders: list[str], clips: int, scale: float, seed: int) -> Table:
    """The distances of every run, of training phrases and of decoded ones to the held-out phrases."""
    configs = [tasks.saved(folder) for folder in folders]
    phrases = phrases_of(folders[0], configs[0])
    rate, held_out = phrases.sample_rate, phrases.real(phrases.test)
    length = held_out.shape[1] / rate
    if length < 3.2:  # of the longest lag of the statistics
        raise ConfigError(f"--runs={folders[0]}: must be of phrases of at least 3.2 s, these have {length:g} s")
    real = phrase_statistics.statistics(held_out, rate)
    measure = lambda x: list(phrase_statistics.distances(phrase_statistics.statistics(x, rate), real).values())
    few = rows_of(phrases.train, evenly(len(phrases.train["x"]), clips))
    labels, rows = np.resize(phrases.test["label"], clips), [["training phrases", *measure(phrases.real(few)), None]]
    for folder, config in zip(folders, configs, strict=True):
        other, name = phrases_of(folder, config), as_path(folder).name
        if other.sample_rate != rate or not np.array_equal(other.test["x"], phrases.test["x"]):
            raise ConfigError(f"--runs={folder}: must be of the phrases of {folders[0]}")
        found = draw(folder, config, labels, scale, seed)
        rows.append([name, *measure(found.sounds), found.seconds])
        if found.decoded is not None:
            rows.append([f"{name}: held-out phrases, decoded", *measure(found.decoded), None])
    caption = f"Fréchet distances of {clips} phrases to {len(held_out)} held-out ones; guidance scale {scale:g}."
    return Table(["", "rhythm", "harmony", "timbre", "CPU s per phrase"], rows, caption)
