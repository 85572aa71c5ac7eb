"""Cascade stages: models of increasing sample rates, each conditioned on the low-rate signal that the last one drew."""

import time
from collections.abc import Sequence
from typing import cast

import jax
import numpy as np

from experiments import data
from experiments.cli.config import Config, ConfigError
from experiments.data.sound_sets import SoundSet
from experiments.models.conditioning import conditions_for
from experiments.tasks.task import Run
from scorekit import audio


def for_full_sounds(config: Config) -> Config:
    """The config of a run, for sounds of full length."""
    if issubclass(cast(type, data.KINDS[config.data.name]), SoundSet):
        config.data.crop = None
    return config


def check(configs: Sequence[Config], names: Sequence[str]) -> None:
    """Raises an error for stages that do not continue each other."""
    for i, (config, name) in enumerate(zip(configs, names, strict=True)):
        ours, theirs = (one.data.get("set") or one.data.name for one in (config, configs[0]))
        if ours != theirs:
            raise ConfigError(f"--stages: {name} has data {ours}, {names[0]} {theirs}")
        if i == 0:
            continue
        if config.conditions.map.name != "low_rate":
            raise ConfigError(
                f"--stages: {name} must have config.conditions.map.name=low_rate, it has {config.conditions.map.name}"
            )
        last = configs[i - 1].data.representation
        ours, theirs = config.conditions.map.factor or 4, (last.factor or 4) if last.name == "low_rate" else 1
        if ours != theirs:
            raise ConfigError(
                f"--stages: {name} is conditioned on 1 / {ours:g} of the sample rate, {names[i - 1]} draws "
                f"1 / {theirs:g} of it"
            )


def draw(stages: Sequence[tuple[Config, Run]], seed: int, labels: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
    """Sounds ``(N, L)`` of every stage, a run and its config, at the full rate, and the seconds that each took."""
    sounds, seconds = [], []
    for i, (config, run) in enumerate(stages):
        start = time.monotonic()
        scale, given = config.sampling.guidance_scale, labels
        if i:
            level = config.sampling.map_noise or 0.0
            dense_map = run.model.extracts["dense_map"]({"raw": audio.float_to_pcm(sounds[-1])})
            key = jax.random.fold_in(jax.random.key(seed), i)
            given = conditions_for(run.model, run.dataset, labels, key, level, dense_map)
        sounds.append(run.generate(run.params, seed + i, given, scale))
        seconds.append(time.monotonic() - start)
    return sounds, seconds
