"""Plans a run: whether it fits accelerators that are not at hand, and the least time of its products.

    python -m experiments.plan --config=experiments/configs/published/imagenet256_dit.py --topology=v5e:4x4
    python -m experiments.plan --config=… --topology=2*v5e:16x16 --config.training.fsdp=256
    python -m experiments.plan --config=… --topology=h100:8

The training step and the sampler of the config are compiled for the topology by the compiler of its platform, which
needs no device: ``pip install '.[tpu]'``, or the packages for CUDA that an error names, in an environment of its own,
since with them programs without a device print messages. Images are described by their shape and not loaded; other
data are loaded. The least time is that of matrix products and convolutions at the published speed of the chips; memory
and links may bind before. The compiler of TPUs takes long for convolutions; ``--fast`` is for U-Nets.
"""

import jax
from absl import flags

from experiments import tasks, training
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.models.devices import planned_on
from experiments.planning import plans
from experiments.planning.chips import topology
from experiments.planning.described import describe
from experiments.planning.report import lines

_CONFIG = shared.config()
_TOPOLOGY = flags.DEFINE_string("topology", None, "Chip and shape: v5e:4x4, 2*v5e:16x16, h100:8.", required=True)
_FAST = flags.DEFINE_bool("fast", False, "Compile for TPUs with the least effort: U-Nets in minutes, with more memory.")


def main(config: Config) -> None:
    jax.config.update("jax_platforms", "cpu")  # the devices of this machine are not used
    jax.config.update("jax_enable_compilation_cache", False)
    slice_ = topology(_TOPOLOGY.value)
    dataset = describe(config)
    task = tasks.of(config)
    with planned_on(slice_.devices(), slice_.chip.memory):
        config = task.resolve(config, dataset)
    training.check(config)
    task.build(config, dataset)
    print(f"{dataset.name}: {dataset.described()}, {dataset.num_classes:,} classes", flush=True)
    print("\n".join(lines(plans.make(config, slice_, dataset, _FAST.value))))


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.opened(_CONFIG.value), tasks.check_fields)
