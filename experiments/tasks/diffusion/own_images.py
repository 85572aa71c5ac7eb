"""What a config of images leaves unset: network, batch, precision and length of training, by the data and the device.

The fields of :data:`UNSET` may be None in a config of a diffusion. :func:`take_chosen` then fills in them and what else
is None of the fields that :func:`choose` names; a field that is set keeps its value.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from experiments.cli import distributed
from experiments.cli.config import Config, leaves, lookup, require
from experiments.cli.fields import Field, Section
from experiments.cli.progress import human
from experiments.data.dataset import Dataset
from experiments.models.devices import Device, device

UNSET = (
    *(f"training.{name}" for name in ("steps", "batch_size", "learning_rate", "warmup_steps", "ema_decays")),
    *("training.sample_every", "training.checkpoint_every", "sampling.ema", "sampling.batch_size"),
)
"""The fields that must have a value, which may be chosen."""
_MEANING = " None chooses it for images, by their number and size and the device."
_BYTES = 130
"""Bytes for each pixel and channel of the first level that an example takes in training in bfloat16: 97 of 64 pixels a
side and 126 of 32 by plans for one H100; in sampling less than half."""
_BATCH = ((5_000, 64), (20_000, 128))
"""Batch of so many images at most on accelerators; of more it is 256."""
_EMA = ((5_000, 0.99), (50_000, 0.999))
"""Decay of the average of the parameters for so many steps at most; for more it is 0.9999."""


def optional(fields: Section) -> Section:
    """The fields of a diffusion, of which those of :data:`UNSET` may be None."""
    return _changed(fields, lambda row: replace(row, optional=True, meaning=f"{row.meaning.rstrip()}{_MEANING}"))


def unset(fields: Section) -> Section:
    """The fields of a diffusion, of which those of :data:`UNSET` are None by default."""
    return _changed(fields, lambda row: row.but(None))


def _changed(fields: Section, change: Callable[[Field], Field]) -> Section:
    changed = Section(fields)
    for section, name in (path.split(".") for path in UNSET):
        changed[section] = Section({**changed[section], name: change(changed[section][name])})
    return changed


def take_chosen(config: Config, dataset: Dataset) -> None:
    """Fills in what the config leaves unset, where it leaves a field of :data:`UNSET` unset, and prints the reasons.

    A network that begins with the weights of ``init_from`` has the fields of these weights.
    """
    missing = [path for path in UNSET if lookup(config, path) is None]
    if not missing:
        return
    require(len(dataset.shape) == 3, missing[0], None, "set: it is chosen for images alone")
    given = {path: value for path, value in leaves(config) if value is not None}
    classes = dataset.num_classes if dataset.labelled else 1
    values, reasons = choose(dataset.examples or 0, dataset.shape, classes, device(), given)
    for path, value in values.items():
        section, _, name = path.partition(".")
        from_weights = section == "network" and config.init_from is not None
        if path not in given and name in config[section] and not from_weights:
            config[section][name] = value
    if distributed.is_first():
        print("\n".join(reasons), flush=True)


def choose(
    number: int, shape: tuple[int, ...], classes: int, on: Device, given: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Values of fields for images, and the reasons in words.

    Args:
      number: training images.
      shape: of an image or its latents, (height, width, channels).
      classes: number of classes; 1 for none.
      on: the devices.
      given: values of fields that are set already, which others follow.

    >>> values, reasons = choose(1000, (32, 32, 3), 2, Device("cpu", 1, 16e9), {"training.steps": 50})
    >>> values["network.patch"], values["training.batch_size"], values["training.warmup_steps"]
    (2, 64, 5)
    """
    values, given = {}, given or {}

    def take(path: str, value: Any) -> Any:
        values[path] = value
        return given.get(path, value)

    slow, side = on.platform == "cpu", max(shape[:2])
    patch = take("network.patch", _patch(shape, 16 if slow else 64))
    sides = _sides([max(1, length // patch) for length in shape[:2]])
    channels = take("network.channels", 32 if slow else 64 if side <= 16 else 128)
    multipliers = take("network.multipliers", (1, 2, 2, 2)[: len(sides)])
    attended = sides[-1:] if slow else [length for length in sides if length <= 16][:2]
    take("network.attention_resolutions", tuple(attended))
    take("network.filters", patch**2 * shape[-1] if patch > 1 else 0)  # without, samples of patches have grain
    if not slow:
        take("network.blocks", 2)
        take("network.heads", 4)
        take("network.attention", "fused")
    dtype = take("network.dtype", "float32" if slow else "bfloat16")

    most = 64 if slow else _row(_BATCH, number, 256)
    fits = int(on.memory / 2 / (_BYTES * channels * shape[0] * shape[1] / patch**2))
    parts = on.count * given.get("training.accumulate", 1)
    batch = take("training.batch_size", parts * max(1, min(most // parts, fits)))
    steps = take("training.steps", 3000 if slow else min(max(1000 * number // batch, 10_000), 200_000))
    optimizer = take("training.optimizer", "muon" if slow else "adamw")
    rate = take("training.learning_rate", 2e-3 if slow else 3e-4)
    take("training.warmup_steps", min(100 if slow else 1000, steps // 10))
    (decay, *_) = take("training.ema_decays", (_row(_EMA, steps, 0.9999),)) or ("none",)
    take("sampling.ema", str(decay))
    every = take("training.sample_every", max(steps // 20, min(500, steps)))
    take("training.checkpoint_every", min(every, 2000))
    take("sampling.batch_size", max(1, min(32 if "latents" in given else 500, 2 * fits)))  # a decoder has full images

    of_classes = f" in {classes} classes" if classes > 1 else ""
    name, size = given.get("network.name", "unet"), " × ".join(map(str, shape))
    if name == "unet":
        folded = f" on patches of {patch} × {patch}" if patch > 1 else ""
        levels = ", ".join(str(channels * each) for each in multipliers)
        name = f"unet of {levels} channels{folded}, for {side} pixels a side and {'a CPU' if slow else 'accelerators'}"
    memory = "" if slow else f", for {human(on.memory)}B of memory each"
    epochs = f"{steps * batch / max(number, 1):,.0f} times each image"
    cheaper = "; for large images latents cost less: --config.latents=…, see docs/data.md" if side > 64 else ""
    reasons = [
        f"chosen    for {number:,} images of {size}{of_classes} on {on.count} × {on.platform}; config.json keeps it",
        f"          network: {name}",
        f"          batch: {batch} in {dtype}{memory}; rate {rate:g} by {optimizer}, average {decay}",
        f"          steps: {steps:,}, {epochs}; the ETA comes after twenty",
        f"          change it: --config.training.steps=…, and see --help_config{cheaper}",
    ]
    return values, reasons


def _row(table: tuple[tuple[int, Any], ...], number: int, beyond: Any) -> Any:
    """The value of the first row that goes up to ``number`` or further."""
    return next((value for most, value in table if number <= most), beyond)


def _patch(shape: tuple[int, ...], positions: int) -> int:
    """The power of two by which the sides are divided to have at most so many positions, as far as they can be."""
    patch = 1
    while max(shape[:2]) > positions * patch and all(length % (2 * patch) == 0 for length in shape[:2]):
        patch *= 2
    return patch


def _sides(lengths: list[int]) -> list[int]:
    """The heights of at most four levels, each half of the one before, down to 4.

    >>> _sides([28, 28]), _sides([64, 64])
    ([28, 14, 7], [64, 32, 16, 8])
    """
    sides = [lengths[0]]
    while len(sides) < 4 and min(lengths) >= 8 and all(length % 2 == 0 for length in lengths):
        lengths = [length // 2 for length in lengths]
        sides.append(lengths[0])
    return sides
