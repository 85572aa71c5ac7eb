"""Stages of a cascade of images: each after the first enlarges what the one before has drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from experiments import data
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data import are_embeddings, captions
from experiments.data.conditions import EMBEDDING
from experiments.data.images import ImageSet
from experiments.models import run_files
from experiments.projects.text.prompts import Prompt
from experiments.tasks.contrastive.embeddings import scaled
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.guidance import PROMPTS, Prompts
from experiments.tasks.diffusion.runs import open_score
from experiments.tasks.task import Run
from scorekit.networks import Masked, noise_augmented


class Stage(NamedTuple):
    """An opened run, its config and its name."""

    name: str
    config: Config
    run: Run


class Embedded(NamedTuple):
    """Embeddings of images to draw from, unit vectors ``(B, D)``.

    ``parts`` are of the first, second, … caption of each prompt; one without prompts. ``negative`` is of its caption.
    """

    parts: Sequence[np.ndarray]
    negative: np.ndarray | None = None


def images_of(stage: Stage) -> ImageSet:
    """The data of a stage."""
    assert isinstance(stage.run.dataset, ImageSet)
    return stage.run.dataset


def saved_stage(name: str, flag: str = "stages") -> Config:
    """The config of the run in the folder ``name``; errors are about the flag that holds it."""
    with shared.named(flag):
        return diffusion.saved(name)


def first_config(names: Sequence[str]) -> Config:
    """The config of the first of the runs of ``--stages``, for full images."""
    return for_full_images(saved_stage(names[0] if names else ""))


class Cascade(NamedTuple):
    """The configs of runs that enlarge images, their folders, and the prior of the first one, if it is a decoder."""

    configs: list[Config]
    names: list[str]
    prior: str | None = None
    prior_config: Config | None = None


def saved_cascade(config: Config, names: Sequence[object], prior: str | None = None) -> Cascade:
    """The cascade of runs of which the first has this config; ``prior`` is the folder of another run."""
    names = [str(name) for name in names]
    configs = [config, *(for_full_images(saved_stage(name)) for name in names[1:])]
    return Cascade(configs, names, prior, None if prior is None else saved_stage(prior, "prior"))


def for_full_images(config: Config) -> Config:
    """The config of a run, for full images where it was trained on crops."""
    if "image_crop" in config.data:
        config.data.image_crop = None
    return config


def set_noise(configs: Sequence[Config], flag: shared.Flag) -> None:
    """Sets the noise on the smaller copies from a flag, a number for each stage after the first, if it is given."""
    for config, level in zip(configs[1:], numbers(flag, len(configs) - 1), strict=False):
        config.sampling.map_noise = level


def numbers(flag: shared.Flag, count: int) -> list[float]:
    """The numbers of a flag, one for each of ``count`` stages; none if it is not given."""
    if flag.value is None:
        return []
    values = shared.guidance_scales(flag.name, flag.value)
    if len(values) != count:
        raise ConfigError(f"--{flag.name}={','.join(flag.value)}: must be {count} numbers, one per stage that has it")
    return values


def check(cascade: Cascade, embedded: bool) -> None:
    """Raises an error for stages that do not continue each other; nothing is loaded.

    ``embedded``: whether the first stage draws from the embedding of an image.
    """
    configs, names, *_ = cascade
    if configs[0].conditions.vector.name == EMBEDDING and not embedded:
        raise ConfigError(
            f"--stages: {names[0]} draws from the embedding of an image: give --prior=RUN, which draws "
            f"one from a caption, or use experiments.projects.text.variations"
        )
    for i, (config, name) in enumerate(zip(configs, names, strict=True)):
        if are_embeddings(config) or not issubclass(cast(type, data.KINDS[config.data.name]), ImageSet):
            drawn = "embeddings: give it as --prior" if are_embeddings(config) else config.data.name
            raise ConfigError(f"--stages: {name} must draw images, it draws {drawn}")
        run_files.check_same_data(
            config, configs[0], f"--stages: {name}", names[0], (*run_files.PICTURES, *run_files.SPLITS, "label")
        )
        maps, wanted = config.conditions.map.name, "average_pool" if i else "none"
        if maps != wanted:
            does = "enlarge images" if i else "draw without an image to enlarge as the first stage"
            raise ConfigError(
                f"--stages: {name} must {does}, by config.conditions.map.name={wanted}; its value is {maps}"
            )
        if i and config.conditions.vector.name == EMBEDDING:
            raise ConfigError(f"--stages: {name} must not draw from an embedding: only the first stage may")
    if not embedded and not data.on_captions(configs[0]):
        raise ConfigError(
            f"--stages: {names[0]} must have captions as a condition, it is conditioned on "
            f"{data.describe_conditions(configs[0])}"
        )


def open_stages(configs: Sequence[Config], names: Sequence[str], scales: Sequence[float] = ()) -> list[Stage]:
    """Opens the runs; the first draws at these guidance scales, the others at the saved ones."""
    stages: list[Stage] = []
    for config, name in zip(configs, names, strict=True):
        folder = Path(name).expanduser().absolute()
        with shared.named("stages"):
            own = () if stages else tuple(scales)
            run = open_score(config, folder, None, own or (config.sampling.guidance_scale,))
        if stages:
            factor = config.conditions.map.factor or 2
            (*sides, channels), drawn = run.model.shape, images_of(stages[-1]).shape
            taken = (*(side // factor for side in sides), channels)
            if taken != drawn:
                before = names[len(stages) - 1]
                raise ConfigError(f"--stages: {name} enlarges images of shape {taken}, {before} draws {drawn}")
            ours, theirs = (each.dataset.num_classes for each in (run, stages[0].run))
            if ours != theirs:
                raise ConfigError(f"--stages: {name} has {ours} classes, {names[0]} has {theirs}")
        stages.append(Stage(name, config, run))
    return stages


def conditions(
    stage: Stage,
    labels: np.ndarray,
    prompts: Sequence[Prompt],
    negative: str | None,
    low: np.ndarray | None,
    key: Any,
    embedding: Embedded | None = None,
    typed: str | None = None,
) -> dict[str, Any]:
    """The conditions of a stage: classes ``(B,)``, a caption for each, and the images to enlarge; see ``Prompts``.

    Args:
      labels: ``(B,)``.
      prompts: one for each image, or none.
      negative: a caption to guide away from.
      low: images ``(B, h, w, C)`` of the stage before.
      key: PRNG key of the noise on them.
      embedding: embeddings of the captions, where the vector is one.
      typed: the flags of the captions, for error messages; None if they are of data.
    """
    model, config, number = stage.run.model, stage.config, len(labels)
    given: dict[str, Any] = {"labels": labels}
    if model.extracts.keys() & {"tokens", "vector"}:
        none = {"tokens": lambda of: (number, 1, of.token_size), "vector": lambda of: (number, of.vector_size)}
        shapes = {name: none[name](model.module) for name in ("tokens", "vector") if name in model.extracts}
        given |= {n: Masked(np.zeros(s, np.float32), np.zeros(s[:-1], bool)) for n, s in shapes.items()}
    if embedding is not None:
        given["vector"] = _vector(embedding.parts[0])
    if prompts and (data.on_captions(config) or embedding is not None):
        of_parts = columns(prompts)
        most, listed = len(of_parts), [*of_parts, *([] if negative is None else [[negative] * number])]
        named = _encoded(config, listed, typed) if data.on_captions(config) else [{} for _ in listed]
        if embedding is not None:
            vectors = [*embedding.parts, *([] if embedding.negative is None else [embedding.negative])]
            named = [{**each, "vector": _vector(x)} for each, x in zip(named, vectors, strict=True)]
        weights = [[w for _, w in prompt.parts] + [0.0] * (most - len(prompt.parts)) for prompt in prompts]
        plain = np.asarray(weights, np.float32)
        given |= named[0]
        others, last = (tuple(named[1:most]), None if negative is None else named[-1])
        composed = most > 1 or bool(np.any(plain != 1))
        if composed or last is not None:
            given[PROMPTS] = Prompts(others, plain if composed else None, last)
    if low is not None:
        dense_map = Masked(np.asarray(low, np.float32), np.ones(number, bool))
        if model.map_noise is not None:
            level = config.sampling.map_noise or 0.0
            dense_map = noise_augmented(dense_map, level, jax.random.normal(key, low.shape) if level else 0.0)
        given["dense_map"] = jax.tree.map(np.asarray, dense_map)
    return given


def _vector(embedding: np.ndarray) -> Masked:
    return Masked(scaled(embedding).astype(np.float32), np.ones(len(embedding), bool))


def columns(prompts: Sequence[Prompt]) -> list[list[str]]:
    """The first, second, … caption of each prompt; where one has no more, its first, whose weight is then 0.

    >>> columns([Prompt("", (("a", 2.0), ("b", 1.0))), Prompt("", (("c", 1.0),))])
    [['a', 'c'], ['b', 'c']]
    """
    most = max(len(prompt.parts) for prompt in prompts)
    return [[(*prompt.parts, *[prompt.parts[0]] * most)[k][0] for prompt in prompts] for k in range(most)]


def _encoded(config: Config, columns: list[list[str]], typed: str | None) -> list[dict[str, Any]]:
    """Tokens and vector of each column of captions ``(B,)``, as far as the model has them."""
    known = sorted({text for column in columns for text in column})
    row = {text: i for i, text in enumerate(known)}
    batch = {f"caption_{name}": v for name, v in data.source_of(config).encode_given(known, typed)._asdict().items()}
    encoded = {}
    for name, chosen, kind in (
        ("tokens", captions.TOKENS, captions.Tokens()),
        ("vector", captions.POOLED, captions.Pooled()),
    ):
        if config.conditions[name].name == chosen:
            encoded[name] = Masked(np.asarray(kind(batch)), np.asarray(kind.present(batch)))
    index = [np.asarray([row[text] for text in column]) for column in columns]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], encoded) for i in index]


def draw(
    stages: Sequence[Stage],
    seed: int,
    labels: np.ndarray,
    prompts: Sequence[Prompt],
    negative: str | None = None,
    embedding: Embedded | None = None,
    typed: str | None = None,
    scale: float | None = None,
) -> list[np.ndarray]:
    """Images ``(B, H, W, C)`` of each stage.

    The first stage draws from embeddings, where they are given, at the guidance scale ``scale``, by default the one of
    its config; ``typed`` as for :func:`conditions`.
    """
    drawn: list[np.ndarray] = []
    for i, stage in enumerate(stages):
        key = jax.random.fold_in(jax.random.key(seed), 2**31 - 1 - i)
        low, of = (drawn[-1], None) if i else (None, embedding)
        given = conditions(stage, labels, prompts, negative, low, key, of, typed)
        guided = stage.config.sampling.guidance_scale if i or scale is None else scale
        drawn.append(stage.run.generate(stage.run.params, seed + i, given, guided))
    return drawn


def labels_for(stage: Stage, style: str | None, number: int) -> np.ndarray:
    """The class of each of ``number`` images: the one of the style, the only one there is, or the null label."""
    dataset = images_of(stage)
    if style is not None and style not in dataset.styles:
        known = ", ".join(dataset.styles) or "no styles"
        raise ConfigError(f"--style={style}: must be one of the styles of {dataset.name}, which has {known}")
    if style is not None and stage.config.data.label == "style":
        label = dataset.styles.index(style)
    else:
        label = 0 if dataset.num_classes == 1 else dataset.num_classes
    return np.full(number, label, np.int32)
