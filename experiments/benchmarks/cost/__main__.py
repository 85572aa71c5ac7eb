"""The cost of sampling, of a training step, and of the import.

    python -m experiments.benchmarks.cost --workdir=runs/cost
    python -m experiments.benchmarks.cost --table=step --config=experiments/configs/images/digits.py
    python -m experiments.benchmarks.cost --table=step --config=… --config.training.batch_size=512
    python -m experiments.benchmarks.cost --table=memory --networks=DiT,UNet

``samplers``: the overhead of every solver on a fixed grid (:mod:`.samplers`). ``step``:
training and sampling of any config on the devices at hand, over minimal implementations (:mod:`.step`). ``memory``: the
switches of networks that save memory (:mod:`.memory`). ``import``: the seconds that ``import scorekit`` adds to those
of jax.

Two sides of a ratio alternate in one process; a ratio is the median over repetitions of the ratio within one.
"""

from absl import flags
from ml_collections import ConfigDict

from experiments.benchmarks.cost import memory, samplers, step
from experiments.benchmarks.measuring import import_seconds
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.reporting.tables import show

_TABLE = flags.DEFINE_enum("table", "samplers", ["samplers", "step", "memory", "import"], "Table to print.")
_CONFIG = shared.define(flags.DEFINE_string, "config", None, "step: config file of what is trained.")
_WORKDIR = shared.out("samplers: folder for the plot.", "runs/cost", "workdir")
flags.DEFINE_integer("turns", 20, "Repetitions; a third of samplers with the U-Net, a fifth of samples of step.")
flags.DEFINE_integer("steps", 50, "samplers: steps with the MLP.")
flags.DEFINE_list("solvers", ["all"], f"samplers: which of {', '.join(samplers.SOLVERS)}; or all.")
flags.DEFINE_list("detailed", ["DDIM", "AB3 flow", "UniPC2"], "samplers: also by number of steps, with trajectories.")
flags.DEFINE_list("batches", ["256", "8"], "samplers: batch sizes with the MLP.")
flags.DEFINE_integer("large", 16384, "samplers: batch size for temporary memory (compiled, not run).")
flags.DEFINE_integer("first", 3, "samplers: repetitions of the first call.")
flags.DEFINE_integer("unet", 64, "samplers: batch size with the U-Net of the digits config; 0 skips it.")
flags.DEFINE_list("networks", ["DiT", "UNet"], "memory: which of DiT, UNet.")
flags.DEFINE_integer("batch", 64, "memory: examples in a step, a multiple of 4.")
flags.DEFINE_list("switches", ["all"], "memory: rows of the table; or all.")
flags.DEFINE_integer("side", 32, "memory: side of the images; a multiple of 8.")
flags.DEFINE_integer("depth", 12, "memory: blocks of the DiT.")
flags.DEFINE_integer("width", 384, "memory: width of the DiT; a multiple of 64, the features of a head.")
flags.DEFINE_integer("channels", 64, "memory: channels of the first level of the U-Net.")


def main(config: Config) -> None:
    if _TABLE.value != "step" and _CONFIG.value:
        raise ConfigError(f"--config={_CONFIG.value}: is of --table=step, not of --table={_TABLE.value}")
    options = flags.FLAGS
    match _TABLE.value:
        case "samplers":
            samplers.run(options, shared.results_folder(_WORKDIR, names=("cost.png",)) / "cost.png")
        case "step":
            step.run(config, options.turns)
        case "memory":
            memory.run(options)
        case "import":
            added, alone = import_seconds(options.turns)
            print(f"import scorekit adds {show(added)} s to the {show(alone)} s of import jax")


if __name__ == "__main__":
    command_line.run(
        main,
        lambda: _CONFIG.value if _TABLE.value == "step" else ConfigDict(),
        lambda config: base.check_fields(config) if _TABLE.value == "step" else None,
    )
