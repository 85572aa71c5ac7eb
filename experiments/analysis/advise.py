"""What noise levels, patch and network a data set asks for, measured on it, with the config overrides that say so.

    python -m experiments.analysis.advise --data=digits
    python -m experiments.analysis.advise --data=~/pictures --config.data.image_size=64
    python -m experiments.analysis.advise --data=experiments/configs/notes/notes.py

``--data`` is a folder of pictures, a tar file, the name of a data set, or a config file or its name: then the advice is
for its network. ``--config.data.…`` are the fields of training. Prints sigma_data, the noise level at which each
feature scale is lost, and commands of training to paste; trains nothing. docs/noise_and_scale.md has the theory.
"""

import math
import os
import textwrap
import time
from pathlib import Path
from typing import Any

import jax
from absl import flags

from experiments import configs, data
from experiments.analysis import advice, data_scales
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, leaves
from experiments.configs import base
from experiments.data.dataset import Dataset
from experiments.data.notes import Notes
from experiments.data.phrases import Phrases
from experiments.models import choices, latents
from experiments.models.devices import param_shapes
from experiments.models.model import build_model, init_params
from experiments.reporting.report import Table, tables_as_text
from scorekit import schedules
from scorekit.typing import PyTree

_DATA = shared.define(
    flags.DEFINE_string, "data", None, "A folder of pictures, a tar file, the name of a data set, or a config."
)
_LIMIT = shared.count("examples", 5000, "Training examples to measure on, at most.", lower_bound=2)

ROOT = Path(configs.__file__).parent
WIDTH = 100
SOUNDS = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".wav")
OF_KIND = {Notes: "notes/notes.py", Phrases: "phrases/phrases.py"}
"""The config of a set of sounds that has none of its own."""


def known_config(name: str) -> str | None:
    """The config file that ``--data`` names, by its path, its name or its data set; None if there is none."""
    if name.endswith(".py"):
        return name
    every = {path.stem: path for path in sorted(ROOT.glob("*/*.py")) if path.parent.name != "published"}
    same = [path for path in every.values() if f'config.data.name = "{name}"\n' in path.read_text()]
    kind = OF_KIND.get(data.KINDS.get(name.split("/")[0], Dataset))
    path = every.get(name) or (same[0] if same else kind and ROOT / kind)
    return None if path is None else os.path.relpath(path)


def opened() -> Config:
    """The config that ``--data`` stands for."""
    name = _DATA.value
    if not name:
        raise ConfigError("--data=… must be given: a folder of pictures, a tar file, a data set or a config")
    path = Path(name).expanduser()
    first = next((found for found in path.rglob("*") if found.is_file()), path)
    if first.suffix.lower() in SOUNDS:
        raise ConfigError(
            f"--data={name}: it holds sounds ({first.name}), and sounds are read from TFDS sets of notes or phrases "
            "only: name one, such as soundfont_notes/4khz or nsynth/full, or a config of one (docs/audio.md)"
        )
    if path.is_dir() or path.suffix == ".tar":
        config = base.get_config()
        config.data.update(name="tar" if path.is_file() or any(path.glob("*.tar")) else "folder", path=name)
        return config
    if (found := known_config(name)) is not None:
        config = _config(found)
        if name.split("/")[0] in data.KINDS:
            config.data.name = name
        return config
    config = base.get_config()
    config.data.name = name
    if path.suffix or name.startswith(("/", "~", ".")):
        raise ConfigError(f"--data={name}: there is no such folder or file")
    return config


def summary(scales: data_scales.Scales, dataset: Dataset) -> str:
    """Size, shape and moments."""
    size = "drawn anew" if dataset.examples is None else f"{dataset.examples:,} training examples"
    values = "" if dataset.bins is None else f", {dataset.bins} values in [-1, 1]"
    classes = f"{dataset.num_classes} class{'es' * (dataset.num_classes > 1)}"
    first = f"{dataset.name}: {size} of {dataset.described()}{values}, {classes}"
    return (
        f"{first}\nsigma_data = {scales.std:.3f}, the standard deviation of all values (mean {scales.mean:.3f}, "
        f"root mean square {scales.rms:.3f}; {scales.examples:,} examples)\n"
    )


def scale_table(scales: data_scales.Scales, dataset: Dataset) -> Table:
    """The noise level above which each octave of frequencies, or each principal component, is lost."""
    schedule = schedules.shifted(schedules.cosine(), advice.rounded(advice.spectral_factor(scales)))
    lost = lambda sigma: [f"{sigma:.3g}", f"{-2 * math.log(sigma):.2f}",
                          f"{float(schedule.time_at(-2 * math.log(sigma))):.2f}"]  # fmt: skip
    last = ["lost above sigma/alpha", "log-SNR", "t, shifted cosine"]
    if scales.bands is None:
        power = scales.power[scales.power > 0]
        rows = [[k + 1, f"{p / power.sum():.1%}", *lost(math.sqrt(p))] for k, p in enumerate(power[:8])]
        return Table(["component", "of the variance", *last], rows)
    axis = dataset.frequency_axis()
    more = [] if scales.channels is None else ["in the strongest channel"]
    rows = [
        [
            f"{1 / octave.frequency:,.{1 if octave.frequency > 0.01 else 0}f}",
            axis.show(octave.frequency),
            f"{octave.share:.1%}",
            *lost(octave.sigma),
            *(f"{sigma:.3g}" for _ in more),
        ]
        for octave, sigma in zip(data_scales.octaves(scales), data_scales.strongest(scales), strict=True)
        if octave.power > 0
    ]
    return Table([f"period, {axis.positions}", axis.unit, "of the variance", *last, *more], rows)


def _config(path: str) -> Config:
    return command_line.load_config(path)


def own_fields(config: Config, path: str) -> dict[str, Any]:
    """The fields of the data that differ from those of the config file."""
    theirs = dict(leaves(_config(path).data))
    return {f"data.{field}": value for field, value in leaves(config.data) if value != theirs[field]}


def param_shapes_of(command: advice.Command, dataset: Dataset) -> PyTree:
    """The shapes of the parameters of a command's network."""
    config = _config(command.config)
    for field, value in command.overrides.items():
        command_line.override(config, field, advice.as_text(value))
    model = build_model(config, dataset)
    return param_shapes(config, "network", lambda: init_params(model, jax.random.key(0)))


def main(config: Config) -> None:
    start = time.monotonic()
    data.check(config)
    dataset = latents.load_data(config)
    scales = data_scales.measure(dataset, _LIMIT.value)
    path, own, why = known_config(_DATA.value), {}, "as it is configured for these data"
    if path is None:
        path, own, why = advice.config_for(dataset.shape, dataset.examples or 0)
    found = advice.commands(path, {**own_fields(config, path), **own}, scales, dataset)
    network = advice.network_advice(path, why, param_shapes_of(found[0], dataset), dataset.examples)
    given = advice.noise_advice(scales, dataset.shape, choices.build_schedule(config))
    if known_config(_DATA.value) is not None:
        given[0] = given[0]._replace(why=f"{given[0].why}; the config has {config.noise_factor:g}")
    if scales.bands is not None:
        given.append(advice.patch_advice(scales, dataset.shape))
    if len(dataset.shape) == 3 and max(dataset.shape[:2]) >= advice.LATENTS and not config.data.latents:
        given.append(advice.LATENTS_ADVICE)
    print(summary(scales, dataset))
    print(tables_as_text([scale_table(scales, dataset)]))
    print("advice")
    for item in (*given, network):
        print(textwrap.fill(f"{item.what}: {item.why}", WIDTH, initial_indent="- ", subsequent_indent="  "))
    for i, command in enumerate(found, 1):
        print(f"\n{command.title}\n{command.text(f'runs/advised_{i}')}")
    print(f"\n{progress.final_line('the commands above, any of which trains', time.monotonic() - start)}")


if __name__ == "__main__":
    command_line.run(main, opened, base.check_fields)
