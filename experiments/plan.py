"""Plans a run: whether it fits accelerators that are not at hand, the bytes that it moves, and its bounds of time.

    python -m experiments.plan --config=experiments/configs/published/imagenet256_dit.py --topology=v5e:4x4
    python -m experiments.plan --config=… --topology=2*v5e:16x16 --config.training.fsdp=256
    python -m experiments.plan --config=… --topology=h100:8 --suggest

The training step and the sampler of the config are compiled for the topology by the compiler of its platform, which
needs no device: ``pip install '.[tpu]'``, or the packages for CUDA that an error names, in an environment of its own,
since with them programs without a device print messages. Images are described by their shape and not loaded
(``--shape``, ``--classes``); other data are loaded. Times are lower bounds, from the published
speeds of the chips. The compiler of TPUs takes long for convolutions; ``--fast`` is for U-Nets. Results are kept in
``~/.cache/scorekit/plans`` (or ``$SCOREKIT_CACHE``).
"""

import re

import jax
from absl import flags

from experiments import tasks, training
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.planning import plans
from experiments.planning.chips import topology
from experiments.planning.described import describe
from experiments.planning.report import lines, markdown
from experiments.planning.suggest import suggest

_CONFIG = shared.config()
_TOPOLOGY = flags.DEFINE_string("topology", None, "Chip and shape: v5e:4x4, 2*v5e:16x16, h100:8.", required=True)
_SHAPE = flags.DEFINE_string("shape", None, "Shape of an image, or its latents, as the network receives it: 32,32,4.")
_CLASSES = flags.DEFINE_integer("classes", None, "Number of classes of a folder of images; 1,000 by default.", 1)
_SUGGEST = flags.DEFINE_bool(
    "suggest", False, "Find the smallest slice up to the topology, the largest batch and the least rematerialisation."
)
_FAST = flags.DEFINE_bool("fast", False, "Compile for TPUs with the least effort: U-Nets in minutes, with more memory.")
_MARKDOWN = flags.DEFINE_bool("markdown", False, "Print the plan as the title and the row of a Markdown table.")


def main(config: Config) -> None:
    jax.config.update("jax_platforms", "cpu")  # the devices of this machine are not used
    jax.config.update("jax_enable_compilation_cache", False)
    asked = topology(_TOPOLOGY.value)
    tasks.of(config).check(config)
    training.check(config)
    shape = None
    if _SHAPE.value is not None:
        if not re.fullmatch(r"[1-9]\d{0,6}(,[1-9]\d{0,6})*", _SHAPE.value):
            raise ConfigError(f"--shape={_SHAPE.value}: must be positive integers separated by commas, such as 32,32,4")
        shape = tuple(map(int, _SHAPE.value.split(",")))
    dataset, described = describe(config, shape, _CLASSES.value)
    print(described, flush=True)
    if _SUGGEST.value:
        plan = suggest(config, asked, dataset, lambda line: print(line, flush=True), _FAST.value)
        config, asked = plan.config, plan.topology
    plan = plans.make(config, asked, dataset, fast=_FAST.value)
    print(markdown(plan) if _MARKDOWN.value else "\n".join(lines(plan)))


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.opened(_CONFIG.value), tasks.check_fields)
