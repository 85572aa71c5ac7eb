"""Inverse problems: what each task observes, and that every method restores a Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.tasks.diffusion.inverse import methods, tasks
from scorekit import denoisers, densities, schedules
from scorekit.guidance import operators

GRAY, COLOUR = (8, 8, 1), (4, 4, 3)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_consistency_of_the_truth_is_the_noise(name):
    """The observation is shown in the shape of the data."""
    shape = COLOUR if name == "colourise" else GRAY
    task = tasks.TASKS[name](shape)
    x = np.tanh(np.random.default_rng(0).normal(size=(200, *shape))).astype(np.float32)
    y = jax.jit(lambda key, x: tasks.observe(key, task, x, 0.1))(jax.random.key(1), x)
    assert tasks.consistency(task, x, y) == pytest.approx(0.1, rel=0.05)
    assert tasks.consistency(task, x + 0.5, y) > 0.15
    assert task.shown(np.asarray(y)).shape == x.shape
    if task.keep is not None:
        assert not np.any(np.asarray(y)[:, np.broadcast_to(task.keep == 0, shape)])


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_restores_a_gaussian(method, capsys):
    """Pixels agree in the prior, so that the visible ones determine the hidden one."""
    schedule, shape = schedules.Cosine(), (500, 2, 2, 1)
    covariance = 0.95 * jnp.ones((4, 4)) + 0.05 * jnp.eye(4)
    flat = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(4), covariance=covariance), schedule)
    prior = jax.tree_util.Partial(_images, flat)
    keep = np.ones((2, 2, 1), np.float32)
    keep[1, 1] = 0.0
    task = tasks.Task(operators.mask(jnp.asarray(keep)), lambda y: y, keep)
    y = jnp.broadcast_to(0.8 * keep, shape)
    options = methods.Options(steps=40, noise_std=0.1, data_std=1.0, step_size=0.1, jump_length=1, resamples=4)
    found = methods.restore(method, jax.random.key(0), prior, schedule, task, y, shape, options)
    assert tasks.consistency(task, found.x, y) < 0.25
    assert found.x[:, 1, 1].mean() == pytest.approx(0.78, abs=0.15)
    assert found.evaluations == (40 * 4 - 3 if method == "repaint" else 40)
    assert found.gradients == {"pigdm": 40, "dps": 40, "mmps": 160}.get(method, 0)
    assert f"{method} " in capsys.readouterr().err


def _images(flat, x, t):
    return jax.tree.map(lambda leaf: leaf.reshape(x.shape), flat(x.reshape(len(x), -1), t))
