"""The denoiser as autoencoder: how well a linear probe reads the class off each layer, by noise level.

    python -m experiments.projects.denoising.autoencoder --workdir=runs/digits
    python -m experiments.projects.denoising.autoencoder --workdir=runs/digits --compare= --levels=-4,0,4,8 \
        --layers=middle_block

Probes the layers of the class-free model (the null token) at every noise level: a ridge regression on the training
images, tested on the test images. Then trains, for the steps of the run or ``--steps``, a model without classes and
the denoising autoencoders of :mod:`scorekit.times`, which are the same loss with other times: one noise level, a level
that decreases during training, and several levels. They are saved in ``workdir/autoencoder``, trained once, and probed
at every second level; ``--compare=`` leaves them out. Tables and figures are in ``workdir/autoencoder/report.html``.
"""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data.display import Pictures
from experiments.projects.denoising import probes
from experiments.reporting.report import Heading, Section, Text, write_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_run
from scorekit.networks import layer_names

_WORKDIR, _STEP = shared.workdir(), shared.step()
_LEVELS = flags.DEFINE_list(
    "levels", ["-4", "-2", "-1", "0", "1", "2", "3", "4", "6", "8", "10"], "Log-SNRs in nats, increasing."
)
_LAYERS = flags.DEFINE_list("layers", None, "Layers to probe; by default the residual blocks.")
_COMPARE = flags.DEFINE_list(
    "compare", ["class-free", "one level", "one high level", "annealed", "several levels"], "Models to compare with."
)
_STEPS = flags.DEFINE_integer("steps", None, "Steps of the compared models; as the run by default.", lower_bound=1)
_LIMIT = flags.DEFINE_integer("examples", 5000, "Training images that a probe is fitted to, at most.", lower_bound=20)


def main(config: Config) -> Path:
    workdir = shared.path(_WORKDIR)
    shared.check_writable(workdir, f"--workdir={workdir}")
    levels = shared.increasing("levels", _LEVELS.value, -math.inf)
    for name in _COMPARE.value:
        if name not in probes.TIMES:
            raise ConfigError(f"--compare={name}: must be of {', '.join(probes.TIMES)}")
    run = open_run(config, workdir, _STEP.value)
    if not isinstance(run.dataset.view(np.zeros((1, *run.model.shape))), Pictures):
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images, they are {run.dataset.name}")
    like = jax.ShapeDtypeStruct((1, *run.dataset.shape), jnp.float32)
    known = [n for n in layer_names(run.model.module, run.params, like, 0.0) if n.startswith(("down", "middle", "up"))]
    layers = _LAYERS.value or [name for name in known if name.endswith("_block")]
    if not set(layers) <= set(known):
        raise ConfigError(f"--layers={','.join(layers)}: must be of {', '.join(known)}")

    folder, steps, limit = workdir / "autoencoder", _STEPS.value or config.training.steps, _LIMIT.value
    print(f"probing step {run.step:,}: {len(layers)} layers at {len(levels)} noise levels …", flush=True)
    found = {"this run": probes.read(run.model, run.params, run.dataset, layers, levels, limit)}
    fewer = levels[::-2][::-1]  # every other one, and the last
    untrained = run.model.init(jax.random.key(config.seed))
    found["untrained network"] = probes.read(run.model, untrained, run.dataset, layers, fewer, limit)
    for name in _COMPARE.value:
        other = probes.compared(config, name, steps)
        built, params = probes.trained(other, run.dataset, folder / name.replace(" ", "_"), name)
        print(f"probing {name} …", flush=True)
        found[name] = probes.read(built, params, run.dataset, layers, fewer, limit)

    names = ["noisy pixels", *layers]
    tests = len(run.dataset.test["label"])
    tables = [probes.layer_table(names, found["this run"]), probes.model_table(names, found, tests)]
    facts = {
        "seed": config.seed,
        "data": run.dataset.name,
        "checkpoint": f"step {run.step:,}, with the null token",
        "steps of the others": steps,
    }
    about = "; ".join(f"{name}: {dict(probes.TIMES[name])}" for name in _COMPARE.value)
    figures = probes.figures(folder, names, found, fewer)
    sections: list[Section] = [Heading("Figures"), *figures, Heading("Numbers"), *tables]
    sections += [Text(f"Times of training: {about}.")] if about else []
    report = write_report(folder / "report.html", "The denoiser as autoencoder", facts, sections)
    print(tables_as_text(tables))
    return report


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
