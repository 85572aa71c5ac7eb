"""What guidance is made from: operators of inverse problems, windows of long signals, discrete sequences."""

# pyright: reportArgumentType=false

import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, Shaped, call
from scorekit.guidance import operators, sequences, windows
from scorekit.typing import Prediction

_SIGNAL = np.ones((2, 4, 3), np.float32)
_FEW = np.ones((4, 2, 3), np.float32)
_LOG = np.log(np.full((2, 2), 0.25, np.float32))
_FLOATS = {"integer": "becomes float32"}
_WINDOWS = {"size": 2, "hop": 1}

ROWS: dict[str, Call] = {
    "guidance.operators.adjoint": call(
        lambda like: operators.adjoint(lambda x: 2.0 * x, like)(like),
        like=Data(_SIGNAL, {"shape": "any shape"}),
    ),
    "guidance.operators.average_pool": call(
        lambda factor, x: operators.average_pool(factor)(x), factor=2, x=Data(_SIGNAL, {"shape": "an image"})
    ),
    "guidance.operators.blur": call(
        lambda kernel, edge, x: operators.blur(kernel, edge)(x),
        kernel=Data(np.ones(3, np.float32), {"integer": "becomes the dtype of the data"}),
        edge="edge",
        x=Data(_SIGNAL),
    ),
    "guidance.operators.clip": call(
        lambda level, intact, x: operators.clip(level, intact)(x),
        level=1.0,
        intact=Shaped(np.ones((2, 4, 3), bool)),
        x=Data(_SIGNAL),
    ),
    "guidance.operators.grayscale": call(
        lambda weights, x: operators.grayscale(weights)(x),
        weights=Data(np.ones(3, np.float32), {"integer": "becomes the dtype of the data"}),
        x=Data(_SIGNAL),
    ),
    "guidance.operators.mask": call(
        lambda keep, x: operators.mask(keep)(x), keep=Shaped(np.ones((4, 3), bool)), x=Data(_SIGNAL)
    ),
    "guidance.sequences.conditional_log_probs": call(
        sequences.conditional_log_probs, log_prob=Data(_LOG, {"shape": "one symbol more", **_FLOATS})
    ),
    "guidance.sequences.guide_joint": call(
        sequences.guide_joint, cond=Data(_LOG, _FLOATS), uncond=Data(_LOG, _FLOATS), guidance_scale=2.0
    ),
    "guidance.sequences.guide_sequentially": call(
        sequences.guide_sequentially, cond=Data(_LOG, _FLOATS), uncond=Data(_LOG, _FLOATS), guidance_scale=2.0
    ),
    "guidance.sequences.joint_log_prob": call(
        lambda logits: sequences.joint_log_prob([logits, _LOG]), logits=Data(_LOG[0], _FLOATS)
    ),
    "guidance.sequences.total_variation": call(
        sequences.total_variation, log_p=Data(_LOG, _FLOATS), log_q=Data(_LOG, _FLOATS)
    ),
    "guidance.windows.blend_windows": call(
        windows.blend_windows, parts=Data(_FEW, {"shape": "any trailing axes"}), count=2, hop=1
    ),
    "guidance.windows.cut_windows": call(
        windows.cut_windows, x=Data(_SIGNAL, {"shape": "any trailing axes", "integer": "any dtype"}), **_WINDOWS
    ),
    "guidance.windows.num_windows": call(windows.num_windows, length=4, **_WINDOWS),
    "guidance.windows.windowed": call(
        lambda size, hop, x_t: windows.windowed(lambda x, t: Prediction(x, x), size, hop)(x_t, 0.5),
        x_t=Data(_SIGNAL, {"shape": "any trailing axes"}),
        **_WINDOWS,
    ),
}

EXEMPT: dict[str, str] = {}
