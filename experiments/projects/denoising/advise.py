"""Noise levels, patch and network for a data set, from measurements on it, with the config overrides for them.

    python -m experiments.projects.denoising.advise --data=digits
    python -m experiments.projects.denoising.advise --data=~/pictures --config.data.image_size=64
    python -m experiments.projects.denoising.advise --data=experiments/configs/notes/notes.py

``--data`` is a folder of pictures, a tar file, the name of a data set, or a config file or its name; with a config the
advice is for its network. ``--config.data.…`` are the fields of training. Prints sigma_data, the noise level at which
each feature scale is lost, and commands of training to paste; trains nothing. docs/noise_and_scale.md has the theory.
"""

import textwrap

from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.models import choices, inputs
from experiments.projects.denoising import advice, data_scales, named_data
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion

_DATA = shared.define(
    flags.DEFINE_string, "data", None, "A folder of pictures, a tar file, the name of a data set, or a config."
)
_LIMIT = shared.count("examples", 5000, "Training examples to measure on, at most.", lower_bound=2)

WIDTH = 100


def main(config: Config) -> str:
    dataset = inputs.load_data(config)
    scales = data_scales.measure(dataset, _LIMIT.value)
    path, own, why = named_data.known_config(_DATA.value), {}, "as it is configured for these data"
    if path is None:
        path, own, why = advice.config_for(dataset.shape, dataset.examples or 0)
    found = advice.commands(path, {**named_data.own_fields(config, path), **own}, scales, dataset)
    network = advice.network_advice(path, why, named_data.param_shapes_of(found[0], dataset), dataset.examples)
    given = advice.noise_advice(scales, dataset.shape, choices.build_schedule(config))
    if named_data.known_config(_DATA.value) is not None:
        given[0] = given[0]._replace(why=f"{given[0].why}; the config has {config.noise_factor:g}")
    if scales.bands is not None:
        given.append(advice.patch_advice(scales, dataset.shape))
    if not config.latents:
        given += advice.latents_advice(dataset.shape)
    print(advice.summary(scales, dataset))
    print(tables_as_text([advice.scale_table(scales, dataset)]))
    print("advice")
    for item in (*given, network):
        print(textwrap.fill(f"{item.what}: {item.why}", WIDTH, initial_indent="- ", subsequent_indent="  "))
    for i, command in enumerate(found, 1):
        print(f"\n{command.title}\n{command.text(f'runs/advised_{i}')}")
    print()
    return "the commands above, any of which trains"


if __name__ == "__main__":
    command_line.run(main, lambda: named_data.opened(_DATA.value), diffusion.check_fields)
