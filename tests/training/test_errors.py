"""Training names what would train something else: losses that are no losses of examples, averages of other names."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from errors import raising

from scorekit.networks import normalise_weights
from scorekit.training import (
    Checkpoints,
    init_ema,
    init_state,
    make_mesh,
    make_optimizer,
    make_train_step,
    post_hoc_weights,
    projected,
    update_ema,
)

W, OPTIMIZER, ONE = {"w": jnp.ones(3)}, optax.sgd(0.1), jax.devices()[:1]
X = np.ones((48, 3), np.float32)


def loss(params, batch):
    return jnp.sum(params["w"] * batch["x"], axis=-1), {}


def step(loss=loss, batch=None, accumulate=1, **options):
    options = {"mesh": make_mesh(devices=ONE)} | options
    state = init_state(jax.random.key(0), W, OPTIMIZER)
    run = make_train_step(lambda key, batch: batch, loss, OPTIMIZER, accumulate=accumulate, **options)
    return run(state, {"x": X} | (batch or {}))


def without_params():
    optimizer = projected(OPTIMIZER, normalise_weights)
    return optimizer.update(W, optimizer.init(W))


test_errors_name_the_argument = raising(
    [
        ("loss must|one value per example", lambda: step(lambda p, b: (jnp.mean(loss(p, b)[0]), {}))),
        ("aux", lambda: step(lambda p, b: (loss(p, b)[0], {"norm": jnp.zeros(())}))),
        *(
            ("loss must", lambda wrong=wrong: step(lambda p, b: wrong(loss(p, b))))
            for wrong in (lambda pair: pair[0], lambda pair: (pair[0], pair[0]), list)
        ),
        *(
            ("the batch must", lambda rate=rate: step(batch={"rate": rate}))
            for rate in (0.1, np.float32(0.1), [1.0] * 48)
        ),
        ("devices x accumulate", lambda: step(accumulate=5)),
        ("mesh must", lambda: step(mesh=jax.make_mesh((1,), ("batch",)))),
        ("fsdp must", lambda: make_mesh(fsdp=2, devices=ONE)),
        ("fsdp axis must", lambda: step(mesh=make_mesh(2, jax.devices()[:4]), parallel="pmap")),
        ("params must", without_params),
        ("warmup_steps must", lambda: make_optimizer(1e-3, warmup_steps=100, total_steps=100)),
        (
            "betas must",
            lambda: make_optimizer(learning_rate=1e-3, warmup_steps=1, total_steps=9, betas=(0.9, 0.9, 0.1)),
        ),
        ("decays and widths must", lambda: init_ema(W, (0.5, 0.5))),
        ("ema must", lambda: update_ema({"foo": W}, W, 0)),
        ("ema must", lambda: update_ema({"power_x": W}, W, 0)),
        ("different snapshots", lambda: post_hoc_weights([5, 5], [0.1, 0.1], 5, 0.05)),
    ]
)


def test_the_best_checkpoints_have_a_metric(tmp_path):
    with pytest.raises(ValueError, match="metric must"):
        Checkpoints(tmp_path, keep_best=1)
