"""An autoencoder with a compact latent, for a model of latents, which names its run by ``config.latents``.

The folder of the run then also holds reconstructions and ``latents.json``: the mean and standard deviation of each
channel of the training latents, by which the latents of the model are standardised.
"""

import functools
from pathlib import Path

import jax
import numpy as np
import optax

from experiments import data
from experiments.cli import distributed
from experiments.cli.outputs import write_results
from experiments.data.dataset import held_out_of
from experiments.data.display import Sounds
from experiments.models.samples import check_samples
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.grids import grid
from experiments.reporting.report import Figure, Heading, Section
from experiments.reporting.run_report import Findings
from experiments.reporting.tables import Table
from experiments.tasks import task
from experiments.tasks.latents import model as autoencoder
from experiments.tasks.latents.latent_data import STATISTICS
from experiments.tasks.latents.metrics import compression, measure
from experiments.training import build_optimizer, loop
from experiments.training.loop import Trainable, held_out_loss
from scorekit.io import as_path
from scorekit.typing import PyTree

FIELDS = task.fields("autoencoder", data.KINDS, **autoencoder.FIELDS)
OPENED_BY = "is an autoencoder; name it as --config.latents=… when a model is trained"
load, resolve, train = data.build, task.unchanged, loop.train
drawn_by = task.draws_nothing
fields = lambda config=None: FIELDS


def build(config, dataset):
    model = autoencoder.build_latent(config, dataset)
    prepare, loss = autoencoder.make_prepare(model), autoencoder.make_loss(model)
    init = lambda key: autoencoder.init_params(model, config.seed)
    held_out = held_out_loss(prepare, loss, dataset, dataset.max_reconstructed)
    optimizer = build_optimizer(config.training)
    if (rate := config.loss.code_rate) is not None:
        is_code = lambda params: jax.tree_util.tree_map_with_path(lambda at, _: "codebook" in str(at[-1]), params)
        optimizer = optax.chain(optimizer, optax.masked(optax.scale(rate), is_code))
    trained = Trainable(init, prepare, loss, optimizer, held_out, config.evaluation.ema)
    return task.Setup(config, model, "autoencoder", trained)


open_run = functools.partial(task.open_run, load, build)


def evaluate(config, run, workdir, asked: task.Asked):
    built, dataset, params, options = run.model, run.dataset, run.params, config.evaluation
    encode = autoencoder.make_encode(built, params)
    parts = {"training data": dataset.train, "held-out data": dataset.test}
    few = {name: {"x": part["x"][: options.num_samples]} for name, part in parts.items()}
    metrics = {name: measure(built, params, part) for name, part in few.items()}
    size = compression(built)
    folder = as_path(asked.figures(distributed.folder(workdir), "reconstructions"))
    shown = reconstructions(folder, built, params, encode, options.shown)
    if asked.stem is None and distributed.is_first():
        write_results(workdir / STATISTICS, autoencoder.statistics(encode, dataset))
    return Findings(
        {**metrics, "size": size},
        [
            Table(
                ["", *metrics],
                [[name, *(part[name] for part in metrics.values())] for name in metrics["training data"]],
                "Means over examples. Root mean square errors in units of the network's input.",
            ),
            Table(list(size), [list(size.values())], "The size of one example and of its latent."),
        ],
        {"compression factor": size["compression factor"]},
        pictures=[Heading("Reconstructions"), shown],
        heading="Distances",
        title="autoencoder",
    )


def reconstructions(folder: Path, built: autoencoder.Latent, params: PyTree, encode, shown: int) -> Section:
    """Held-out examples, of each class as far as they go, with their reconstructions, written into ``folder``."""
    dataset = built.dataset
    classes = np.unique(dataset.test["label"])[:shown]
    part = held_out_of(dataset, np.resize(classes, min(shown, len(dataset.test["x"]))))
    decode = jax.jit(lambda z: built.module.apply(params, z, method="decode"))
    back = np.asarray(dataset.from_model(decode(encode(part["x"]))))
    check_samples(back, f"the autoencoder in {folder.parent}", "reconstructions")
    versions = {"held out": dataset.real(part), "reconstruction": back}
    caption, labels = "Held-out examples and their reconstructions.", dataset.named(part["label"])
    view = dataset.view(back)
    if isinstance(view, Sounds):
        return audio_widgets(folder, versions, view.sample_rate, row_labels=labels, caption=caption)
    cells = np.stack([*versions.values()], axis=1)
    return Figure(grid(folder / "reconstructions.png", cells, labels, list(versions), side=84), caption)
