"""Reconstructions by an autoencoder, to look at or to play."""

from pathlib import Path

import jax
import numpy as np

from experiments.data.dataset import Dataset, held_out_of
from experiments.data.display import Sounds
from experiments.models.samples import check_samples
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.grids import grid
from experiments.reporting.report import Figure, Section
from experiments.tasks.latents.model import Latent
from scorekit.typing import PyTree


def reconstructions(folder: Path, built: Latent, params: PyTree, encode, shown: int) -> Section:
    """Held-out examples, of each class as far as they go, with their reconstructions, written into ``folder``."""
    dataset: Dataset = built.dataset
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
