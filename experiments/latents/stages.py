"""Models of rising sample rates, each told the low-rate signal that the one before has drawn."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.models import model
from experiments.models.runs import Experiment
from experiments.cli.config import Config, ConfigError
from scorekit import audio


class Stage(NamedTuple):
    """An opened run and its config."""

    config: Config
    run: Experiment


def whole(config: Config) -> Config:
    """The config of a run, for whole sounds."""
    config.data.crop = None
    return config


def check(configs: Sequence[Config], names: Sequence[str]) -> None:
    """Refuses stages that do not continue each other."""
    for i, (config, name) in enumerate(zip(configs, names, strict=True)):
        if config.data.name != configs[0].data.name:
            raise ConfigError(f"--stages: {name} is of {config.data.name}, {names[0]} of {configs[0].data.name}")
        if i == 0:
            continue
        if config.data.map.name != "low_rate":
            raise ConfigError(
                f"--stages: {name} must have config.data.map.name=low_rate, it has {config.data.map.name}"
            )
        before = configs[i - 1].data.form
        ours, theirs = config.data.map.factor or 4, (before.factor or 4) if before.name == "low_rate" else 1
        if ours != theirs:
            raise ConfigError(
                f"--stages: {name} is told 1 / {ours:g} of the sample rate, {names[i - 1]} draws 1 / {theirs:g} of it"
            )


def draw(stages: Sequence[Stage], seed: int, labels: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
    """Sounds ``(N, L)`` of every stage, at the full rate, and the seconds that each took."""
    sounds, seconds = [], []
    for i, (config, run) in enumerate(stages):
        start = time.monotonic()
        scale, given = config.sampling.guidance_scale, labels
        if i:
            level = config.sampling.map_noise or 0.0
            told = run.model.extracts["dense_map"]({"stored": audio.float_to_pcm(sounds[-1])})
            key = jax.random.fold_in(jax.random.key(seed), i)
            given = model.conditions_for(run.model, run.dataset, labels, key, level, told)
        sounds.append(run.generate(run.params, seed + i, given, scale))
        seconds.append(time.monotonic() - start)
    return sounds, seconds
