"""The cost of sampling, of a training step on one device or several, and of the import.

    python -m experiments.benchmarks.cost --workdir=runs/cost
    python -m experiments.benchmarks.cost --table=step --config=experiments/configs/images/digits.py
    python -m experiments.benchmarks.cost --table=step --config=… --config.training.batch_size=512
    python -m experiments.benchmarks.cost --table=memory --networks=DiT,UNet
    python -m experiments.benchmarks.cost --table=layouts --devices=8

``samplers``: the overhead of every solver on a fixed grid (:mod:`.samplers`). ``step``: training and sampling of any
config on the devices at hand, over minimal implementations (:mod:`.step`). ``memory``: the switches of networks that
save memory (:mod:`.memory`). ``layouts``: the cost of a training step for each device, by the number of devices and of
copies of the state (:mod:`.layouts`). ``import``: the seconds that ``import scorekit`` adds to those of jax.

Two sides of a ratio alternate in one process; a ratio is the median over repetitions of the ratio within one.
"""

import os
import statistics
import subprocess
import sys

from absl import flags
from ml_collections import ConfigDict

from experiments.benchmarks.cost import layouts, memory, samplers, step
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.reporting.report import show

TABLES = ("samplers", "step", "memory", "layouts", "import")

_TABLE = flags.DEFINE_enum("table", "samplers", TABLES, "Table to print.")
_TURNS = flags.DEFINE_integer(
    "turns",
    None,
    "Repetitions: 31 of samplers (a third with the U-Net), 20 of a step (a fifth of samples), 7 imports.",
)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Steps of samplers with the MLP (50), or training steps after which layouts are compared (20)."
)
_CONFIG = shared.define(flags.DEFINE_string, "config", None, "step: config file of what is trained.")
_SOLVERS = flags.DEFINE_list("solvers", ["all"], f"samplers: which of {', '.join(samplers.SOLVERS)}; or all.")
_DETAILED = flags.DEFINE_list(
    "detailed", ["DDIM", "AB3 flow", "UniPC2"], "samplers: also by number of steps, with trajectories."
)
_BATCHES = flags.DEFINE_list("batches", ["256", "8"], "samplers: batch sizes with the MLP.")
_LARGE = flags.DEFINE_integer("large", 16384, "samplers: batch size for temporary memory (compiled, not run).")
_FIRST = flags.DEFINE_integer("first", 3, "samplers: repetitions of the first call.")
_UNET = flags.DEFINE_integer("unet", 64, "samplers: batch size with the U-Net of the digits config; 0 skips it.")
_WORKDIR = shared.out("samplers: folder for the plot.", "runs/cost", "workdir")
_NETWORKS = flags.DEFINE_list("networks", ["DiT", "UNet"], "memory, layouts: which of DiT, UNet.")
_BATCH = flags.DEFINE_integer("batch", None, "Examples in a step: 64 of memory (a multiple of 4), 32 of layouts.")
_SWITCHES = flags.DEFINE_list("switches", ["all"], "memory: rows of the table; or all.")
_SIDE = flags.DEFINE_integer("side", 32, "memory: side of the images; a multiple of 8.")
_DEPTH = flags.DEFINE_integer("depth", 12, "memory: blocks of the DiT.")
_WIDTH = flags.DEFINE_integer("width", 384, "memory: width of the DiT; a multiple of 64, the features of a head.")
_CHANNELS = flags.DEFINE_integer("channels", 64, "memory: channels of the first level of the U-Net.")
_DEVICES = flags.DEFINE_integer("devices", 8, "layouts: most devices, simulated on the CPU.")


def print_import(turns: int) -> None:
    """Prints the seconds that ``import scorekit`` adds to ``import jax`` (medians)."""
    code = (
        "import time; a = time.perf_counter(); import jax, jax.numpy; b = time.perf_counter(); import scorekit; "
        "c = time.perf_counter(); print(c - b, b - a)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
        for _ in range(turns)
    ]
    added, alone = map(statistics.median, zip(*(map(float, run.stdout.split()) for run in runs), strict=True))
    print(f"import scorekit adds {show(added)} s to the {show(alone)} s of import jax")


def check(config: Config) -> None:
    """Validates the config of a step; the other tables have none."""
    if _TABLE.value == "step":
        base.check_fields(config)


def main(config: Config) -> None:
    if _TABLE.value != "step" and _CONFIG.value:
        raise ConfigError(f"--config={_CONFIG.value}: is of --table=step, not of --table={_TABLE.value}")
    match _TABLE.value:
        case "samplers":
            folder = shared.results_folder(_WORKDIR, names=("cost.png",))
            sizes = samplers.Sizes(
                _STEPS.value or 50, [*map(int, _BATCHES.value)], _LARGE.value, _TURNS.value or 31, _FIRST.value,
                _UNET.value,
            )  # fmt: skip
            samplers.run(_SOLVERS.value, _DETAILED.value, sizes, folder / "cost.png")
        case "step":
            step.run(config, _TURNS.value or 20)
        case "memory":
            sizes = memory.Sizes(_BATCH.value or 64, _SIDE.value, _DEPTH.value, _WIDTH.value, _CHANNELS.value)
            memory.run(_NETWORKS.value, _SWITCHES.value, sizes)
        case "layouts":
            layouts.run(_NETWORKS.value, _DEVICES.value, _BATCH.value or 32, _STEPS.value or 20)
        case "import":
            print_import(_TURNS.value or 7)


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value if _TABLE.value == "step" else ConfigDict(), check)
