"""The differentiable synthesiser of :mod:`scorekit.audio.ddsp`: one sample is two frames of two hops."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, Number, call
from scorekit.audio import ddsp

_FREE = {"integer": "integers count as floats", "shape": "leading axes are free: sounds of one sample"}
_RATE = 1000.0
_F0 = np.zeros(16, np.float32)
_SOUND = np.sin(np.arange(16, dtype=np.float32))
_BANDS = np.ones((2, 3), np.float32)
_ONE_SAMPLE = {"hop": 2, "length": 1}

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
        **_ONE_SAMPLE,
    ),
    "audio.ddsp.exp_sigmoid": call(
        ddsp.exp_sigmoid,
        x=Data(_SOUND, _FREE | {"shape": "any shape", "empty": "no value gives no value"}),
    ),
    "audio.ddsp.filtered_noise": call(
        lambda **kwargs: ddsp.filtered_noise(jax.random.key(0), **kwargs),
        bands=Data(_BANDS, {"integer": "integers count as floats"}),
        **_ONE_SAMPLE,
    ),
    "audio.ddsp.reverberate": call(
        ddsp.reverberate,
        x=Data(_SOUND, {"shape": "leading axes are free: sounds of one sample"}, alias="response"),
        response=Data(_SOUND[:4], {"shape": "leading axes are free: responses of one tap"}),
    ),
    "audio.ddsp.analyse": call(
        ddsp.analyse,
        x=Data(_SOUND[1:2], {"integer": "integers count as floats"}, alias="f0"),
        f0=Data(np.full(2, 100.0, np.float32), {"integer": "integers count as floats"}),
        sample_rate=_RATE,
        count=2,
        bands=2,
        hop=1,
        window=8,
    ),
    "audio.ddsp.refine_f0": call(
        lambda sample_rate, **kwargs: ddsp.refine_f0(_SOUND, 0.45 * sample_rate, sample_rate, **kwargs),
        sample_rate=_RATE,
        window=8,
    ),
    "audio.ddsp.refine_f0/sound": call(
        lambda x, f0: ddsp.refine_f0(x, f0, _RATE, hop=4, window=32),
        x=Data(_SOUND, {"integer": "integers count as floats"}, alias="f0"),
        f0=Number(100.0, low=0.0, high=500.0),
    ),
    "audio.ddsp.synthesise": call(
        lambda **kwargs: ddsp.synthesise(jax.random.key(0), **kwargs),
        f0=Data(np.zeros(2, np.float32), {"integer": "integers count as floats"}, alias="amplitudes"),
        amplitudes=Data(_BANDS, {"integer": "integers count as floats"}),
        bands=Data(_BANDS, {"integer": "integers count as floats"}),
        sample_rate=_RATE,
        **_ONE_SAMPLE,
    ),
    "audio.ddsp.loudness": call(
        ddsp.loudness,
        f0=Data(np.zeros(2, np.float32), {"integer": "integers count as floats"}, alias="amplitudes"),
        amplitudes=Data(_BANDS, {"integer": "integers count as floats"}),
        bands=Data(_BANDS, {"integer": "integers count as floats"}),
        sample_rate=_RATE,
        floor=1e-3,
    ),
    "audio.ddsp.note_controls": call(
        ddsp.note_controls,
        length=2,
        sample_rate=_RATE,
        bands=2,
        hop=1,
        window=8,
    ),
}

EXEMPT: dict[str, str] = {}
