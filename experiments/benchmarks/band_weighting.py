"""Training with a weighting that concentrates on one frequency band, compared with λ = 1 at equal steps.

    python -m experiments.benchmarks.band_weighting --config=experiments/configs/images/digits_band.py
    python -m experiments.benchmarks.band_weighting --config=experiments/configs/images/digits_band.py \
        --edges=0.3 --seeds=5

The spectrum of the training images is divided at ``--edges``. For each band a network is trained with
``weightings.band`` of its powers (through ``times.band``: the same objective with less variance), and one with λ = 1
and uniform times; everything else, batches and initialisation included, is as in the config. The error in each band is
then measured on the test images at many noise levels, with the same noise for all networks, and summarised by three
means over the log-SNR: of eps with the weight of the band (its part of the loss), of x0 with that weight, and of x0
with equal weight from -8 to 8 nats. Each is compared with λ = 1 of the same seed: the mean of the differences and its
standard error over seeds.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import training
from experiments.benchmarks.bands import LOG_SNRS, divide, make_measure, means, show_table
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.models import latents
from experiments.models.model import build_model
from experiments.models.run_files import averaged
from experiments.reporting import curves
from experiments.reporting.plots import NOISE_AXIS
from experiments.tasks import diffusion
from experiments.training.quick_fit import quick_fit
from scorekit import times, weightings

_CONFIG = shared.config("Config file, such as experiments/configs/images/digits_band.py.")
_EDGES = flags.DEFINE_list("edges", ["0.2", "0.4"], "Frequencies at which bands meet, in cycles per pixel.")
_SEEDS = shared.count("seeds", 5, "Networks for each weighting.")
_OUT = shared.out("Where to save the plot of error against noise level.", "band_weighting.png")


def main(config: Config) -> Path:
    base.check_fields(config)
    diffusion.check(config)
    training.check(config)
    edges = shared.increasing("edges", _EDGES.value)
    out = shared.results(_OUT, None, "")
    dataset = latents.load_data(config)
    if len(dataset.shape) != 3:
        raise ConfigError(f"config.data.name={config.data.name}: must be images")
    bands = divide(np.asarray(dataset.to_model(dataset.train["x"])), edges)
    measure, relative = make_measure(dataset, edges), {}
    for band in (None, *bands):
        name, model = "λ = 1" if band is None else band.name, build_model(config, dataset)
        sampler = times.uniform() if band is None else times.band(band.power, band.count)
        model = model._replace(weighting=weightings.eps, times=sampler, learns_schedule=False)
        states = quick_fit(config, model, dataset, range(_SEEDS.value), name)
        relative[name] = [measure(model, averaged(state, config.sampling.ema)) for state in states]
    show_table(bands, {name: np.stack([means(one, bands) for one in each]) for name, each in relative.items()})
    panels = {}
    for i, band in enumerate(bands):
        panels[f"error in {band.name} cycles/pixel"] = {
            name if name == "λ = 1" else f"band {name}": np.mean(each, axis=0)[:, i] for name, each in relative.items()
        }
    curves.panels(
        out,
        LOG_SNRS,
        panels,
        xlabel=NOISE_AXIS,
        ylabel="error of x0 / power of the band",
        title="Trained with λ = 1, or with the weighting of one band",
    )
    return out


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, base.check_fields)
