"""Exports a trained run: weights in one file, a config that says what they mean, and a model card.

    python -m experiments.export --workdir=runs/digits --out=weights/digits
    python -m experiments.export --workdir=runs/digits --out=weights/digits --ema=0.999 --step=4000 --overwrite

``scorekit.io.load("weights/digits")`` reads the folder, without the config, the data or the checkpoints of the run, and
``experiments.train --config.init_from=weights/digits`` starts from it. Of a model of latents the network is exported,
without the autoencoder.
"""

from pathlib import Path

from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_sampler
from experiments.tasks.diffusion.model import takes_labels
from experiments.tasks.diffusion.model_card import card, example
from experiments.tasks.diffusion.runs import as_loaded, open_run
from scorekit.io import export

_WORKDIR, _STEP = shared.workdir(), shared.step()
_OUT = shared.out("The folder to write.")
_EMA = flags.DEFINE_string("ema", None, "Average of the weights; by default config.sampling.ema, none for no average.")


def main(config: Config) -> Path:
    workdir, names = shared.path(_WORKDIR, buckets=True), ("README.md", "config.json", "model.safetensors")
    out = shared.results_folder(_OUT, names=names)
    if _EMA.value is not None:
        config.sampling.ema = _EMA.value
    run = open_run(config, workdir, _STEP.value)
    labelled = takes_labels(run.model)
    code = example(out.name, config, run, labelled, build_sampler(config, run.model.schedule))
    export(out, as_loaded(run), card(config, run, labelled, workdir), code)
    return out / "README.md"


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
