"""The differentiable synthesiser of :mod:`scorekit.audio.ddsp`."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, Number, call
from scorekit.audio import ddsp

_FREE = {"integer": "integers count as floats", "shape": "leading axes are free: sounds of one sample"}
_RATE = Number(1000.0, low=0.0)
_F0 = np.full(16, 100.0, np.float32)
_SOUND = np.sin(np.arange(16, dtype=np.float32))
_BANDS = np.ones((5, 3), np.float32)

ROWS: dict[str, Call] = {
    "audio.ddsp.accumulate_phase": call(ddsp.accumulate_phase, f0=Data(_F0, _FREE), sample_rate=_RATE),
    "audio.ddsp.harmonics": call(
        ddsp.harmonics,
        f0=Data(_F0, {"integer": "integers count as floats"}, alias="amplitudes"),
        amplitudes=Data(np.ones((16, 2), np.float32), {"integer": "integers count as floats"}),
        sample_rate=_RATE,
    ),
    "audio.ddsp.upsample": call(
        ddsp.upsample,
        controls=Data(_BANDS, {"integer": "integers count as floats", "nan": "NaN gives NaN"}),
        hop=4,
        length=16,
        method="linear",
    ),
    "audio.ddsp.exp_sigmoid": call(
        ddsp.exp_sigmoid,
        x=Data(_SOUND, _FREE | {"shape": "any shape", "empty": "no value gives no value"}),
    ),
    "audio.ddsp.filtered_noise": call(
        lambda **kwargs: ddsp.filtered_noise(jax.random.key(0), **kwargs),
        bands=Data(_BANDS, {"integer": "integers count as floats"}),
        hop=4,
        length=16,
    ),
    "audio.ddsp.reverberate": call(
        ddsp.reverberate,
        x=Data(_SOUND, {"shape": "leading axes are free: sounds of one sample"}, alias="response"),
        response=Data(_SOUND[:4], {"shape": "leading axes are free: responses of one tap"}),
    ),
    "audio.ddsp.analyse": call(
        ddsp.analyse,
        x=Data(_SOUND, {"integer": "integers count as floats"}, alias="f0"),
        f0=Data(np.full(5, 100.0, np.float32), {"integer": "integers count as floats"}),
        sample_rate=_RATE,
        count=2,
        bands=3,
        hop=4,
        window=8,
    ),
    "audio.ddsp.refine_f0": call(
        ddsp.refine_f0,
        x=Data(_SOUND, {"integer": "integers count as floats"}, alias="f0"),
        f0=Number(100.0, low=0.0, high=500.0),
        sample_rate=_RATE,
        partials=2,
        hop=4,
        window=32,
    ),
    "audio.ddsp.synthesise": call(
        lambda **kwargs: ddsp.synthesise(jax.random.key(0), **kwargs),
        f0=Data(np.full(5, 100.0, np.float32), {"integer": "integers count as floats"}, alias="amplitudes"),
        amplitudes=Data(_BANDS, {"integer": "integers count as floats"}),
        bands=Data(_BANDS, {"integer": "integers count as floats"}),
        sample_rate=_RATE,
        hop=4,
        length=16,
    ),
    "audio.ddsp.loudness": call(
        ddsp.loudness,
        f0=Data(np.full(5, 100.0, np.float32), {"integer": "integers count as floats"}, alias="amplitudes"),
        amplitudes=Data(_BANDS, {"integer": "integers count as floats"}),
        bands=Data(_BANDS, {"integer": "integers count as floats"}),
        sample_rate=_RATE,
        floor=1e-3,
    ),
    "audio.ddsp.note_controls": call(
        ddsp.note_controls,
        length=16,
        sample_rate=_RATE,
        partials=2,
        bands=3,
        hop=4,
        window=8,
        floor=1e-3,
        log_mean=-5.0,
        log_std=1.5,
    ),
}

EXEMPT: dict[str, str] = {}
