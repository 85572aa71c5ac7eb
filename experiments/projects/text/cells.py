"""The settings that an evaluation compares, and the pictures of each."""

import itertools
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_arrays
from experiments.data.captions import styled
from experiments.data.dataset import Dataset, evenly
from experiments.projects.text.embeddings import CANDIDATES, Prior, from_captions
from experiments.projects.text.examples import Examples
from experiments.projects.text.prompts import Prompt
from experiments.projects.text.stages import Embedded, Stage, draw, labels_for, pictures_of
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import make_sampler
from scorekit.io import read_arrays

SHOWN = 8
"""Pictures of each setting that are kept for the report."""
_RULE = "dynamic_threshold"


class Cell(NamedTuple):
    """A setting.

    Attributes:
      kind: kind of the captions.
      scale: γ of the first stage.
      threshold: whether its estimates are thresholded; None as they are saved.
      noise: level of noise on the smaller copy of each stage after the first; None as they are saved.
    """

    kind: str
    scale: float
    threshold: bool | None = None
    noise: float | None = None

    @property
    def curve(self) -> str:
        """All settings except γ, in words."""
        parts = [self.kind]
        if self.threshold is not None:
            parts.append("thresholding" if self.threshold else "no thresholding")
        return ", ".join(parts + ([] if self.noise is None else [f"noise {self.noise:g}"]))

    @property
    def name(self) -> str:
        """The name as a row of the table."""
        return f"{self.curve}, γ = {self.scale:g}"

    def file(self, folder: Path) -> Path:
        """The file of the pictures that are kept."""
        return folder / f"{re.sub('[^a-z0-9.]+', '_', self.name.lower().replace('γ', 'scale'))}.npz"


def grid(
    kinds: Sequence[str], scales: Sequence[float], thresholds: Sequence[bool | None], noises: Sequence[float | None]
) -> list[Cell]:
    """All combinations; γ changes fastest, for which nothing is compiled anew."""
    each = itertools.product(kinds, thresholds, noises, scales)
    return [Cell(kind, scale, threshold, noise) for kind, threshold, noise, scale in each]


def in_two_batches(config: Config, num: int) -> None:
    """Draws ``num`` pictures in two batches at least: the first compiles, the others are timed."""
    config.sampling.batch_size = min(config.sampling.batch_size, -(-num // 2))


class _Timed:
    """``generate`` of a run that also finds the seconds of each picture in the batches after the first."""

    def __init__(self, generate: Callable, size: int):
        self._generate, self._size, self.seconds = generate, size, 0.0

    def __call__(self, *args: Any) -> np.ndarray:
        ends = []
        identity = lambda samples: (ends.append(time.monotonic()), samples)[1]
        found = self._generate(*args, measure=identity)
        if len(ends) > 1:
            self.seconds = (ends[-1] - ends[0]) / (len(ends) - 1) / self._size
        return found


def thresholded(config: Config, threshold: bool | None) -> Config:
    """The config of the first stage with dynamic thresholding, without it, or as it is."""
    config = config.copy_and_resolve_references()
    if threshold is None:
        return config
    rules = tuple(rule for rule in config.guidance if threshold or rule != _RULE)
    config.guidance = (*rules, _RULE) if threshold and _RULE not in rules else rules
    if not threshold:
        config.rules[_RULE].update(dict.fromkeys(config.rules[_RULE]))
    return config


def check_threshold(config: Config, dataset: Dataset, threshold: bool | None, scales: Sequence[float]) -> None:
    """Validates a config with or without thresholding, as any other config that samples at these guidance scales."""
    try:
        checks.build(thresholded(config, threshold), dataset, scales)
    except ConfigError as error:
        given = "" if threshold is None else f"--threshold={'on' if threshold else 'off'}: "
        raise ConfigError(f"{given}{error}") from error


class Painter:
    """Draws the pictures of a setting through all stages, with the same noise for every setting.

    ``prior`` draws embeddings of the captions, where the first stage draws from these.
    """

    def __init__(self, stages: Sequence[Stage], seed: int, prior: Prior | None = None):
        self._stages, self._seed, self._prior = stages, seed, prior
        self._embedded: dict[tuple[str, ...], tuple[Embedded, float]] = {}
        self._firsts: dict[bool | None, Stage] = {}

    def _first(self, threshold: bool | None) -> Stage:
        if threshold not in self._firsts:
            name, config, run = self._stages[0]
            config = thresholded(config, threshold)
            generate = make_sampler(config, run.model, run.dataset, run.extras)
            self._firsts[threshold] = Stage(name, config, run._replace(generate=generate))
        return self._firsts[threshold]

    def _embed(self, examples: Examples, written: Sequence[Prompt]) -> tuple[Embedded | None, float]:
        """The embeddings of captions, the same for all settings, and the seconds that one takes."""
        if self._prior is None:
            return None, 0.0
        key = tuple(examples.texts)
        if key not in self._embedded:
            stage = self._prior.stage
            timed = _Timed(stage.run.generate, stage.config.sampling.batch_size)
            prior = self._prior._replace(stage=stage._replace(run=stage.run._replace(generate=timed)))
            found = from_captions(prior, self._seed, examples.labels, written, None, None)
            self._embedded[key] = found, CANDIDATES * timed.seconds
        return self._embedded[key]

    def __call__(self, cell: Cell, examples: Examples) -> tuple[list[np.ndarray], float]:
        """The pictures ``(N, H, W, C)`` of each stage, and the seconds of one image through all stages."""
        stages, timed = [], []
        for i, stage in enumerate((self._first(cell.threshold), *self._stages[1:])):
            config = stage.config.copy_and_resolve_references()
            if i == 0:
                config.sampling.guidance_scale = cell.scale
            elif cell.noise is not None:
                config.sampling.map_noise = cell.noise
            timed.append(_Timed(stage.run.generate, config.sampling.batch_size))
            stages.append(Stage(stage.name, config, stage.run._replace(generate=timed[-1])))
        written = [Prompt(text, ((text, 1.0),)) for text in examples.texts]  # a stage of classes has no use for them
        embedding, seconds = self._embed(examples, written)
        pictures = [x for x, _ in draw(stages, self._seed, examples.labels, written, None, embedding)]
        return pictures, seconds + sum(each.seconds for each in timed)


def by_style(stages: Sequence[Stage], examples: Examples, painter: Painter, cell: Cell, path: Path) -> bool:
    """Draws some captions in every style and writes them as :func:`keep` does; whether there are styles.

    Nothing is drawn if there is a file ``path`` already.
    """
    dataset = pictures_of(stages[0])
    ends = [(text, styled("", style)) for text in examples.texts for style in dataset.styles]
    plain = list(dict.fromkeys(text.removesuffix(end) for text, end in ends if text.endswith(end)))
    if len(dataset.styles) < 2 or not plain:
        return False
    if path.exists():
        return True
    plain = [plain[i] for i in evenly(len(plain), SHOWN)]
    texts = [styled(text, style) for style in dataset.styles for text in plain]
    labels = np.concatenate([labels_for(stages[0], None, style, len(plain)) for style in dataset.styles])
    none = np.zeros((len(texts), 0), bool)
    pictures, _ = painter(cell, Examples(texts, labels, none, np.zeros(len(texts), int)))
    keep(path, np.split(pictures[-1], len(dataset.styles)), plain)
    return True


def keep(path: Path, pictures: Sequence[np.ndarray], texts: Sequence[str]) -> None:
    """Writes some of the pictures of each stage, evenly spaced, with their captions."""
    chosen = evenly(len(texts), SHOWN)
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {f"stage_{i}": x[chosen] for i, x in enumerate(pictures)}
    write_arrays(path, caption=np.asarray([texts[i] for i in chosen]), **named)


def kept(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """The results that :func:`keep` has written."""
    found = read_arrays(path)
    captions = found.pop("caption").tolist()
    return [found[name] for name in sorted(found, key=lambda name: int(name[6:]))], captions
