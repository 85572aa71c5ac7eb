"""Sounds of seconds: structure at equal training compute, long sounds, and the students of a WaveNet.

    python -m experiments.benchmarks.sound --flops=1e13 --out=runs/hierarchy
    python -m experiments.benchmarks.sound --flops=1e13 --out=runs/hierarchy --methods=latent
    python -m experiments.benchmarks.sound --table=roll_out --workdir=runs/phrases_forcing
    python -m experiments.benchmarks.sound --table=roll_out --workdir=runs/phrases_forcing --stabilisation=0.05
    python -m experiments.benchmarks.sound --table=distillation --out=runs/distillation

``structure``: a waveform model, a model of latents and a cascade, trained with ``--flops`` operations each
(:mod:`.equal_compute`); the same command continues a run that was stopped. ``roll_out``: long sounds by roll-out and by
blended windows (:mod:`.roll_out`). ``distillation``: a WaveNet of notes and flows that learn from it
(:mod:`.distillation`).
"""

from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from experiments.benchmarks.sound import distillation, equal_compute, roll_out
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base

_TABLE = flags.DEFINE_enum("table", "structure", ["structure", "roll_out", "distillation"], "Table to print.")
_OUT = shared.out("structure, distillation: folder for everything that is written.", "runs/hierarchy")
flags.DEFINE_float("flops", 1e13, "structure: floating-point operations of training of each method.", lower_bound=1.0)
flags.DEFINE_list("methods", ["flat", "latent", "cascade"], "structure: methods to train and measure.")
flags.DEFINE_integer("clips", 100, "structure: phrases to draw of each method.", lower_bound=2)
flags.DEFINE_integer("channels", 48, "structure: channels at the first resolution of every network.", lower_bound=8)
flags.DEFINE_bool("smoke", False, "structure: tiny networks on a few phrases, for tests; samples are noise.")
_WORKDIR = shared.workdir("roll_out: folder of a run of experiments.train with loss.levels=frame.")
shared.step()
shared.seed("roll_out, distillation: seed of the noise.")
shared.count("times", 8, "roll_out: length over that of the training sounds.", 2)
shared.count("num", 20, "roll_out, distillation: number of sounds.", 2)
shared.count("updates", 600, "distillation: steps of training of each network.")
shared.count("shown", 4, "roll_out: number of sounds with audio widgets.")
shared.count("context", 32, "roll_out: finished frames in the window.", 0)
shared.count("chunk", 8, "roll_out: frames that are finished together.")
flags.DEFINE_float("stabilisation", 0.0, "roll_out: time in [0, 1) that the denoiser is given for finished frames.")
flags.DEFINE_float("history_scale", 1.0, "roll_out: guidance scale of the finished frames; 1 is none.")


def main(config: Config) -> Path:
    if _TABLE.value == "roll_out":
        return roll_out.run(config, flags.FLAGS)
    if _TABLE.value == "distillation":
        return distillation.run(flags.FLAGS, shared.results_folder(_OUT, names=("distillation.json",)))
    folder = shared.results_folder(_OUT, continues=True)
    return equal_compute.run(flags.FLAGS, folder)


def _config() -> ConfigDict:
    return base.saved(_WORKDIR.value) if _TABLE.value == "roll_out" else ConfigDict()


if __name__ == "__main__":
    command_line.run(main, _config, lambda config: base.check_fields(config) if len(config) else None)
