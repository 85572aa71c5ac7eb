"""Rows in addition to the valid calls: values out of range that a bound does not tell, and arrays of other shapes."""

import jax.numpy as jnp
import numpy as np

import scorekit as sk
from scorekit import audio, data, metrics, training
from scorekit.densities import random_fields, spectra
from scorekit.typing import Prediction
from valid_calls.common import COSINE, FLOW, KEY, floats, ones

RING, FIELD = sk.densities.ring(3), random_fields.random_field(ones(4))
BANK, POWER, PAIR = ones(5, 3), ones(2), floats([0.0, 1.0], [2.0, 0.5])
IN, OUT = np.arange(5, dtype=np.float32), np.arange(5, dtype=np.float32) + 2
DENOISER = sk.denoisers.exact_denoiser(sk.densities.gaussian(np.zeros(1, np.float32), std=1.0), COSINE)
X, COLUMN = ones(4, 1), ones(4)  # (4,) and (4, 1) would broadcast to (4, 4)
S, AT = 0.25 * COLUMN, sk.times.Times(0.5 * COLUMN, COLUMN)
flat = lambda x, t: jnp.reshape(x, -1)
wrong = lambda x, t: Prediction(jnp.reshape(x, -1), jnp.reshape(x, -1))
right = lambda x, t: Prediction(x, x)
as_tree = lambda x, t: {"x": x}
OUT_OF_RANGE = {
    "component": (lambda k: RING.component(k).mean, 99, "k must hold classes from 0 to 2, got 99"),
    "component below 0": (lambda k: RING.component(k).mean, -1, "k must hold classes from 0 to 2, got -1"),
    "coin_table": (lambda p: sk.typicality.coin_table(p, 3).log_mass, 1.5, "p must be in (0, 1)"),
    "log_sphere_area": (sk.typicality.log_sphere_area, -1.0, "dim must be finite and > 0"),
    "shell_mass of dim": (lambda d: sk.typicality.shell_mass(d, 0.0, 1.0), 0.5, "dim must be finite and >= 1"),
    "shell_mass of low": (lambda low: sk.typicality.shell_mass(3, low, 1.0), 2.0, "high must be >= low = 2.0, got 1.0"),
    "typical_mass": (lambda e: sk.typicality.typical_mass(3, e), -1.0, "epsilon must be finite and > 0"),
    "mirage_typical_radius": (sk.typicality.mirage_typical_radius, 0.5, "dim must be finite and >= 1"),
    "wiener_gain": (lambda p: spectra.wiener_gain(p * POWER, 0.0), -1.0, "power must be finite and >= 0"),
    "wiener_gain of NaN": (lambda p: spectra.wiener_gain(p * POWER, 0.0), np.nan, "power must be finite and >= 0"),
    "wiener_error": (lambda p: spectra.wiener_error(p * POWER, 0.0), -1.0, "power must be finite and >= 0"),
    "magnitude_from_mel": (
        lambda m: audio.magnitude_from_mel(m * np.ones(3, np.float32), BANK),
        -1.0,
        "mel must be finite and >= 0",
    ),
    "mu_law_decode": (lambda c: audio.mu_law_decode(c), 300, "codes must hold classes from 0 to 255, got 300"),
    "pcm_to_float": (lambda c: audio.pcm_to_float(c, 8), 128, "codes must be integers of 8 bits, got 128"),
    "to_unit": (lambda x: data.to_unit(x, 17), 17, "x must hold classes from 0 to 16, got 17"),
    "dequantise": (lambda x: data.dequantise(KEY, x, 17), -1, "x must hold classes from 0 to 16, got -1"),
    "fpr_at_tpr": (lambda p: metrics.fpr_at_tpr(IN, OUT, p), 2.0, "tpr must be in (0, 1], got 2.0"),
    "vendi_score": (lambda h: metrics.vendi_score(PAIR, h), -1.0, "bandwidth must be finite and > 0"),
    "bits_per_dim": (
        lambda x: sk.likelihood.dequantised_bits_per_dim(
            KEY, lambda key, z: jnp.sum(z, -1), x * np.ones((1, 1), int), 4
        ).bits_per_dim,
        4,
        "x must hold classes from 0 to 3, got [[4]]",
    ),
    "variational_bound": (
        lambda x: sk.likelihood.variational_bound(
            KEY, DENOISER, COSINE, x * np.ones((1, 1), np.float32), num_times=1, bins=3
        ).total,
        -2.0,
        "x0 must be of the values linspace(-1, 1, bins=3), got [[-2.]]",
    ),
}
"""Functions of one argument, a value, and the message; traced, the answer is NaN."""

WITHOUT_ANSWER = [
    (lambda: RING.components.sample(KEY, 3), "shape must be a tuple of integers >= 0, got 3"),
    (lambda: FIELD.sample(KEY, (2.5,)), "shape must be a tuple of integers >= 0, got (2.5,)"),
    (lambda: audio.float_to_pcm([0.0, np.nan]), "x must not be NaN, but 1 of 2 values are"),
    (lambda: audio.mu_law_encode([np.nan]), "x must not be NaN"),
    (lambda: data.from_unit(np.nan, 17), "x must not be NaN, but 1 of 1 values are"),
]
"""Calls without an answer, and the message."""

OTHER_SHAPES = {
    "denoising_loss": lambda x: sk.losses.denoising_loss(KEY, flat, FLOW, x),
    "denoising_loss, tree": lambda x: sk.losses.denoising_loss(KEY, as_tree, FLOW, x),
    "denoiser_from_network": lambda x: sk.denoisers.denoiser_from_network(flat, FLOW)(x, 0.5),
    "denoiser_from_network, t": lambda x: sk.denoisers.denoiser_from_network(lambda x, t: x, FLOW)(x, COLUMN[:2]),
    "denoiser_from_score": lambda x: sk.denoisers.denoiser_from_score(flat, FLOW)(x, 0.5),
    "perturb": lambda x: sk.process.perturb(x, COLUMN, 0.5, FLOW),
    "perturb, t": lambda x: sk.process.perturb(x, x, np.full((4, 2), 0.5), FLOW),
    "classification_loss": lambda x: sk.losses.classification_loss_at(flat, FLOW, x, x, AT, np.zeros(4, int)),
    "classification_loss, eps": lambda x: sk.losses.classification_loss_at(
        lambda x, t: x, FLOW, x, COLUMN, AT, np.zeros(4, int)
    ),
    "classifier_free": lambda x: sk.guidance.classifier_free(right, wrong, 2.0)(x, 0.5),
    "classifier_free, scale": lambda x: sk.guidance.classifier_free(right, right, np.ones((4, 2)))(x, 0.5),
    "interval": lambda x: sk.guidance.interval(right, wrong, FLOW)(x, COLUMN / 2),
    "dps": lambda x: sk.guidance.dps(right, FLOW, lambda x: x, COLUMN, 1.0)(x, 0.5),
    "consistency": lambda x: sk.flow_maps.consistency_training_loss(wrong, right, FLOW, x, x, AT.t, S),
    "consistency, student": lambda x: sk.flow_maps.consistency_training_loss(right, wrong, FLOW, x, x, AT.t, S),
    "matching_loss": lambda x: sk.flow_maps.matching_loss(x, wrong, right, FLOW, x, AT),
    "progressive": lambda x: sk.flow_maps.progressive_loss(
        lambda x, t: x, wrong, FLOW, x, x, sk.flow_maps.Steps(AT.t, 0.375 + 0 * S, S)
    ),
    "squared_error": lambda x: sk.flow_maps.squared_error(x, COLUMN),
    "update_ema": lambda x: training.update_ema({"0.9": x}, COLUMN, 1),
}
"""Functions that compare their argument with arrays of other shapes."""

LOG_SNR = jnp.zeros(())
TRACED = {
    "min_snr": lambda value: sk.weightings.min_snr(LOG_SNR, value),
    "edm": lambda value: sk.weightings.edm(LOG_SNR, value),
    "p2": lambda value: sk.weightings.p2(LOG_SNR, k=value),
    "logit_normal": lambda value: sk.weightings.logit_normal(LOG_SNR, std=value),
    "ema_decay": lambda value: training.ema_decay(value, 3.0),
    "transition": lambda value: sk.process.transition(FLOW, -0.1 * value, 0.5).std,
    "step_weight": lambda value: sk.flow_maps.step_weight(-0.1 * value, 0.5 + 0 * value, FLOW),
    "interval": lambda value: sk.guidance.interval(right, right, FLOW, 2.0 + value, 1.0)(jnp.ones(1), 0.5).x0[0],
    "earlier_time": lambda value: sk.flow_maps.earlier_time(0.5, np.array([1.0, 0.0]), value),
}
"""Functions whose answer is NaN for a traced -1."""
