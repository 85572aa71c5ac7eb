"""Pictures while training, where samples that are not finite are left out with a warning."""

import numpy as np
import optax
import pytest

from experiments.configs.points import mixture_2d
from experiments.data.dataset import Dataset
from experiments.models.samples import check_samples
from experiments.training.loop import Trainable, train_network


class Zeros(Dataset):
    name, examples, num_classes, test = "zeros", None, 1, {"label": np.zeros(1, np.int32)}

    def batch(self, seed, step, size):
        return {"x": np.zeros((size, 1), np.float32)}


def fit(folder, **further):
    """Two steps of a network of one parameter, which is returned."""
    config = mixture_2d.get_config()
    config.training.update(steps=2, warmup_steps=1, batch_size=4, sample_every=1, checkpoint_every=2)
    loss = lambda params, batch: (params["w"] * batch["x"][:, 0], {})
    init, prepare = lambda key: {"w": np.zeros(1, np.float32)}, lambda key, batch: batch
    return train_network(config, folder, Trainable(init, prepare, loss, optax.sgd(0.1), **further), Zeros())


def test_a_picture_of_samples_that_are_not_finite_is_left_out(tmp_path):
    def draw(path, params, step):
        return check_samples(np.full(3, np.nan), "guidance scale 1e+38")

    with pytest.warns(UserWarning, match=r"no picture at step 1: 3 of 3 samples are not finite \(guidance scale"):
        fit(tmp_path, held_out=lambda params: 0.0, draw=draw)
    assert (tmp_path / "checkpoints" / "2").is_dir()
