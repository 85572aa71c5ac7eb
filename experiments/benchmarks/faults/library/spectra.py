"""Power spectra and errors by frequency band."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Count, Data, call
from scorekit import denoisers, schedules
from scorekit.densities import random_fields, spectra

_FLOATS = {"integer": "integers count as floats"}
_LEVELS = _FLOATS | {"shape": "any shape is allowed", "empty": "no level gives no value"}
_SCHEDULE = schedules.cosine()
_DENOISER = denoisers.exact_denoiser(random_fields.random_field(np.ones(4, np.float32)), _SCHEDULE)
_BANDS = spectra.radial_bands((4,))
_X = np.array([[[1.0], [0.0], [2.0], [-1.0]], [[1.0], [0.5], [0.0], [2.0]]], np.float32)
_POWER = np.array([4.0, 1.0, 0.5], np.float32)
_SPECTRUM = {"power": Data(_POWER, _FLOATS), "log_snr": Data(np.array([0.0, 1.0], np.float32), _LEVELS)}

ROWS: dict[str, Call] = {
    "densities.spectra.radial_bands": call(
        lambda size, edges: spectra.radial_bands((size,), edges),
        size=Count(4, alias="grid"),
        edges=Data(np.array([0.1, 0.3]), {"empty": "without edges there is one band"}),
    ),
    "densities.spectra.band_power": call(lambda x: spectra.band_power(x, _BANDS), x=Data(_X, _FLOATS)),
    "densities.spectra.power_spectrum": call(lambda x: spectra.power_spectrum(x, _BANDS), x=Data(_X, _FLOATS)),
    "densities.spectra.band_snr": call(spectra.band_snr, **_SPECTRUM),
    "densities.spectra.wiener_gain": call(spectra.wiener_gain, **_SPECTRUM),
    "densities.spectra.wiener_error": call(spectra.wiener_error, **_SPECTRUM),
    "densities.spectra.transition_log_snr": call(spectra.transition_log_snr, power=Data(_POWER, _FLOATS)),
    "densities.spectra.cutoff_frequency": call(
        lambda gain: spectra.cutoff_frequency(gain, _BANDS), gain=Data(np.array([0.9, 0.6, 0.1], np.float32), _FLOATS)
    ),
    "densities.spectra.error_by_band": call(
        lambda x0, ts: spectra.error_by_band(jax.random.key(0), _DENOISER, _SCHEDULE, x0, ts, _BANDS),
        x0=Data(_X),
        ts=Data(np.array([0.3, 0.6], np.float32), _FLOATS),
    ),
}

EXEMPT: dict[str, str] = {}
