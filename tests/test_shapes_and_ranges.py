"""Arrays of other shapes are compared while they are traced, and a traced value out of range gives NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import denoisers, flow_maps, guidance, losses, process, schedules, times, training, weightings
from scorekit.networks import code_counts, nearest_code, quantise
from scorekit.typing import Prediction

FLOW = schedules.rectified_flow()
X, COLUMN = np.ones((4, 1), np.float32), np.ones(4, np.float32)  # (4,) and (4, 1) would broadcast to (4, 4)
AT = times.Times(np.full(4, 0.5, np.float32), np.ones(4, np.float32))
S = np.full(4, 0.25, np.float32)
flat = lambda x, t: jnp.reshape(x, -1)
wrong = lambda x, t: Prediction(jnp.reshape(x, -1), jnp.reshape(x, -1))
right = lambda x, t: Prediction(x, x)
as_tree = lambda x, t: {"x": x}

SHAPES = {
    "denoising_loss": lambda x: losses.denoising_loss(jax.random.key(0), flat, FLOW, x),
    "denoising_loss, tree": lambda x: losses.denoising_loss(jax.random.key(0), as_tree, FLOW, x),
    "denoiser_from_network": lambda x: denoisers.denoiser_from_network(flat, FLOW)(x, 0.5),
    "denoiser_from_network, t": lambda x: denoisers.denoiser_from_network(lambda x, t: x, FLOW)(x, COLUMN[:2]),
    "denoiser_from_score": lambda x: denoisers.denoiser_from_score(flat, FLOW)(x, 0.5),
    "perturb": lambda x: process.perturb(x, COLUMN, 0.5, FLOW),
    "perturb, t": lambda x: process.perturb(x, x, np.full((4, 2), 0.5), FLOW),
    "classification_loss": lambda x: losses.classification_loss_at(flat, FLOW, x, x, AT, np.zeros(4, int)),
    "classification_loss, eps": lambda x: losses.classification_loss_at(
        lambda x, t: x, FLOW, x, COLUMN, AT, np.zeros(4, int)
    ),
    "classifier_free": lambda x: guidance.classifier_free(right, wrong, 2.0)(x, 0.5),
    "classifier_free, scale": lambda x: guidance.classifier_free(right, right, np.ones((4, 2)))(x, 0.5),
    "interval": lambda x: guidance.interval(right, wrong, FLOW)(x, COLUMN / 2),
    "dps": lambda x: guidance.dps(right, FLOW, lambda x: x, COLUMN, 1.0)(x, 0.5),
    "consistency": lambda x: flow_maps.consistency_training_loss(wrong, right, FLOW, x, x, AT.t, S),
    "consistency, student": lambda x: flow_maps.consistency_training_loss(right, wrong, FLOW, x, x, AT.t, S),
    "matching_loss": lambda x: flow_maps.matching_loss(x, wrong, right, FLOW, x, AT),
    "progressive": lambda x: flow_maps.two_step_prediction(wrong, x, AT.t, 0.375 + 0 * S, S, FLOW),
    "squared_error": lambda x: flow_maps.squared_error(x, COLUMN),
    "update_ema": lambda x: training.update_ema({"0.9": x}, COLUMN, 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_other_shapes_are_rejected_while_tracing(name):
    with pytest.raises(ValueError, match="shape"):
        jax.eval_shape(SHAPES[name], X)


def test_a_traced_parameter_out_of_range_gives_nan():
    log_snr = jnp.zeros(())
    bad = {
        "min_snr": lambda value: weightings.min_snr(log_snr, value),
        "edm": lambda value: weightings.edm(log_snr, value),
        "p2": lambda value: weightings.p2(log_snr, k=value),
        "logit_normal": lambda value: weightings.logit_normal(log_snr, std=value),
        "ema_decay": lambda value: training.ema_decay(value, 3.0),
        "snr_drop": lambda value: process.snr_drop(FLOW, -0.1 * value, 0.5),
        "step_weight": lambda value: flow_maps.step_weight(-0.1 * value, 0.5 + 0 * value, FLOW),
        "interval": lambda value: guidance.interval(right, right, FLOW, 2.0 + value, 1.0)(jnp.ones(1), 0.5).x0[0],
        "earlier_time": lambda value: flow_maps.earlier_time(0.5, np.array([1.0, 0.0]), value),
    }
    found = jax.jit(lambda value: {name: function(value) for name, function in bad.items()})(-1.0)
    assert all(np.isnan(value) for value in found.values()), found


def test_nan_is_not_replaced_by_a_number():
    codes, x = np.array([[0.0], [1.0]], np.float32), np.array([[np.nan], [0.9]], np.float32)
    assert nearest_code(x, codes).tolist() == [2, 1]
    assert np.isnan(quantise(x, codes).values[0, 0])
    with pytest.raises(ValueError, match="index must hold classes from 0 to 1"):
        code_counts(nearest_code(x, codes), 2)
    binned = losses.bin_by_noise_level(np.ones(2, np.float32), np.array([np.nan, 0.5], np.float32))
    assert np.isnan(binned.sum[-1])
    assert np.sum(binned.sum[:-1]) == 1


def test_no_examples_are_named():
    with pytest.raises(ValueError, match="x0 must hold values"):
        losses.denoising_loss(jax.random.key(0), lambda x, t: x, FLOW, X[:0])
    with pytest.raises(ValueError, match="n must be an integer >= 1, got -1"):
        times.draw(jax.random.key(0), -1, times.uniform(), FLOW)
