"""Data sets, streams, folders, tar and MIDI files, augmentation, quantisation; training, tuning and files of weights.

Nothing here compiles a training step: arguments are checked when it is built.
"""

import contextlib
import dataclasses
import itertools
import os
import tarfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from scorekit import audio, data, denoisers, densities, io, solvers, training, tuning
from scorekit.data.soundfont import _DEFAULTS as DEFAULTS
from scorekit.io import preconditioning
from scorekit.networks import MLP
from valid_calls.common import FLOW, KEY, TS, floats, in_folder, ones
from valid_calls.kinds import Choice, Classes, Count, Data, Number, Shaped, call

_IMAGES = np.linspace(-1.0, 1.0, 32, dtype=np.float32).reshape(2, 4, 4, 1)
_EXAMPLES = [{"x": np.full(2, i, np.float32)} for i in range(6)]


def _picture(folder):
    Image.new("L", (4, 4)).save(f"{folder}/1.png")
    return f"{folder}/1.png"


def _folder(path, **kwargs):
    return data.folder(os.path.dirname(path), **kwargs)[0]["x"]


def _tar(path, **kwargs):
    with tarfile.open(f"{path}.tar", "w") as file:
        file.add(path, "1.png")
    return data.tar(f"{path}.tar", **kwargs)[0]["x"]


def _recordings(path, **kwargs):
    audio.write(f"{path}.wav", np.zeros(99), 8000)
    return data.recordings(os.path.dirname(path), **kwargs)[0]["x"]


def _prefetch(size):
    with data.prefetch(itertools.repeat(np.ones(2, np.float32)), lambda x: x, size) as items:
        return next(items)


def _divided(process_index=0, process_count=2, batch_size=1):
    """Rows that the processes can divide equally, whichever of the three is given."""
    count = process_count + process_index
    return {"process_index": process_index, "process_count": count, "batch_size": batch_size * count}


def _stream(process_index=0, process_count=2, batch_size=1, **kwargs):
    with data.stream(_EXAMPLES, **_divided(process_index, process_count, batch_size), **kwargs) as batches:
        return next(batches)["x"]


_SOUND = {"sample_rate": 4000.0, "seconds": 0.1}
_ROLL = np.zeros((3, 128), np.int32)
_ROLL[1, 60] = 100
_ROLLS = Classes(_ROLL, num_classes=128)
_CODES = np.array([0, 3, 1])
_PIXELS = Classes(_CODES, num_classes=4)


def _write_and_read_roll(folder, roll, rate, program):
    data.midi.write_midi(f"{folder}/a.mid", roll, rate=rate, program=program)
    return data.midi.read_midi(f"{folder}/a.mid", rate=rate)


def _write_and_read_notes(folder, programs, seconds):
    data.midi.write_score(f"{folder}/a.mid", [data.phrases.Note(60, 100, 0.0, 0.1)], programs, seconds)
    return np.asarray(data.midi.read_score(f"{folder}/a.mid").notes)


def _silence(folder):
    """A file of 1000 s, in which every range of pitches is allowed."""
    data.midi.write_score(f"{folder}/a.mid", [], seconds=1000.0)
    return f"{folder}/a.mid"


def _one_tone():
    """A font that plays one sine on every key of its only instrument."""
    tone = np.sin(0.1 * np.arange(4410, dtype=np.float32))
    every = {"pitches": (0, 127), "velocities": (0, 127)}
    zone = data.soundfont.Zone(**every, sound=tone, loop=None, rate=44100.0, root=69.0, parameters=DEFAULTS)
    return data.soundfont.SoundFont(presets={(0, 0): (zone,)}, names={})


_PARAMS = {"w": ones(2)}
_OPTIMIZER = optax.sgd(0.1)
_STATE = training.init_state(KEY, _PARAMS, _OPTIMIZER, (), (0.1,))
_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(1, np.float32), std=0.5), FLOW)
_X = floats([1.0], [-0.5])
_TUNED = tuning.Tuned(jnp.asarray(TS), solvers.Euler(), jnp.asarray(0.5), jnp.asarray(0.25), {})


def _of_nothing(function):
    """A folder without checkpoints: what should be read is not there, but the argument is checked first."""

    def run(folder, **arguments):
        with contextlib.suppress(FileNotFoundError):
            return function(folder, **arguments)

    return in_folder(run)


def _saved(folder, dtype):
    training.save_snapshots(folder, dataclasses.replace(_STATE, step=np.int32(1)), dtype)


def _tune(ts, noise, end, held_out, **kwargs):
    pairs, held_out = tuning.Pairs(noise, end), tuning.Pairs(held_out, 0.5 * _X[None])
    return tuning.tune(_DENOISER, FLOW, solvers.Euler(), {"given": ts}, pairs, held_out, **kwargs).after


def _grid(folder):
    return tuning.save_grid(f"{folder}/grid.json", _TUNED, FLOW)


def _log_snr(preconditioning):
    return preconditioning.schedule.log_snr(0.5)


_MLP = MLP(features=4, blocks=1)
_SHAPES = jax.eval_shape(_MLP.init, KEY, np.ones((1, 2), np.float32), 0.0)
_WEIGHTS = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _SHAPES)
USUAL = {
    "data": {
        "x": Data(_IMAGES, "integer; nan: pixels are moved, not computed with"),
        "font": _one_tone(),
        "notes": [data.phrases.Note(60, 100, 0.0, 0.1)],
        "roll": _ROLLS,
        "bins": 4,
    },
    "training tuning": {
        "params": Data(_PARAMS, "shape, empty; nan: the parameters of the caller"),
        "optimizer": _OPTIMIZER,
        "denoiser": _DENOISER,
        "solver": solvers.Euler(),
    },
}
ROWS = {
    "data.stream": call(_stream, seed=0, workers=0),
    "data.prefetch": call(_prefetch),
    "data.recordings": call(in_folder(_recordings, _picture), length=64, sample_rate=4000),
    "data.folder": call(in_folder(_folder, _picture)),
    "data.tar": call(in_folder(_tar, _picture)),
    "data.read_picture": call(in_folder(data.read_picture, _picture)),
    "data.open_images": call(
        in_folder(lambda folder, **given: data.open_images(data_dir=folder, **given)[0]["x"]),
        name=Choice("sklearn_digits"),
        split=Choice("train[:1%]"),
    ),
    "data.edm_augment": call(x=Data(_IMAGES)),
    "data.synthesis.render_note": call(pitch=69, **_SOUND),
    "data.phrases.render_phrase": call(**_SOUND),
    "data.midi.read_midi": call(in_folder(data.midi.read_midi, _silence)),
    "data.midi.write_midi": call(in_folder(_write_and_read_roll), roll=_ROLLS, program=0, rate=62.5),
    "data.midi.read_score": call(in_folder(data.midi.read_score, _silence)),
    "data.midi.write_score": call(
        in_folder(_write_and_read_notes),
        programs=Classes(np.array([73]), num_classes=128),
        seconds=Number(1.0, low=0.0),
    ),
    "data.midi.notes_of_roll": call(answer=np.asarray),
    "data.to_unit": call(x=_PIXELS),
    "data.from_unit": call(x=Data(ones(16), "integer, shape, empty")),
    "data.dequantise": call(x=_PIXELS),
    "data.batch_at": call(
        arrays=Data(
            ones(3), "shape; integer: any rows; nan: any rows", alias="x", of=lambda x: {"x": x, "label": _CODES}
        ),
        step=Count(1, least=0, most=2**61 - 1),
    ),
    "data.load": call(
        in_folder(lambda folder, name, split: data.load(name, split, folder).x),
        name=Choice("sklearn_digits"),
        split=Choice("train[:1%]"),
    ),
    "io.write_atomic": call(
        in_folder(lambda folder, content: io.write_atomic(f"{folder}/a.txt", content).read_text()),
        content=Shaped(np.frombuffer(b"text", np.uint8).tobytes()),
    ),
    "training.optimal_assignment": call(cost=Data(np.eye(2, dtype=np.float32))),
    "training.Checkpoints": call(
        in_folder(lambda folder, **given: training.Checkpoints(folder, **given).close()), metric="loss"
    ),
    "training.restore_params": call(
        _of_nothing(training.restore_params), decay=Number(0.9, "text: the key of an average", low=-0.1, high=1.0)
    ),
    "training.check_finite": call(state=_STATE),
    "training.init_state": call(answer=lambda state: state.params),
    "training.post_hoc_weights": call(
        lambda updates, widths, **given: training.post_hoc_weights(np.array([updates]), np.array([widths]), **given),
        updates=5,
        at=5,
        width=0.1,
    ),
    "training.post_hoc_ema": call(_of_nothing(training.post_hoc_ema), width=0.1),
    "training.save_snapshots": call(in_folder(_saved), dtype="bfloat16"),
    "training.update_ema": call(ema={"0.9": _PARAMS}, params=Shaped(_PARAMS)),
    "training.make_train_step": call(
        prepare=lambda key, batch: batch, loss=lambda params, batch: (batch["x"], {}), parallel="jit", accumulate=1
    ),
    "tuning.distances": call(ts=Data(TS), noise=Data(_X, alias="end"), end=Data(0.5 * _X)),
    "tuning.fine_pairs": call(
        like=Data(_X, "nan: only its shape and dtype are read; shape: any that the denoiser takes", alias="x_t"),
        steps=4,
    ),
    "tuning.tune": call(
        _tune,
        ts=Data(TS, alias="grids"),
        noise=Data(_X[None], alias="pairs"),
        end=Data(0.5 * _X[None], alias="pairs"),
        held_out=Data(_X[None]),
        steps=1,
    ),
    "tuning.save_grid": call(in_folder(lambda path: tuning.load_grid(path).ts, _grid)),
    "tuning.load_grid": call(in_folder(lambda valid, path: tuning.load_grid(path or valid).ts, _grid), path=Choice("")),
    "tuning.restore_solver": call(
        in_folder(lambda path, solver: tuning.restore_solver(tuning.load_grid(path), solver, FLOW), _grid),
        solver=Choice(solvers.Euler()),
    ),
    "io.Loaded": call(lambda num: io.Loaded(_MLP, _WEIGHTS, preconditioning.ve(), (2,)).prior(KEY, num), num=Count(2)),
    "io.preconditioning.ddpm": call(answer=_log_snr, betas=Choice("linear", alias="name"), target=Choice("eps")),
    "io.preconditioning.vp": call(answer=_log_snr, beta_min=Number(0.1, low=0.0), beta_max=Number(20.0, low=0.05)),
    "io.preconditioning.ve": call(answer=_log_snr, sigma_min=Number(0.02, low=0.0), sigma_max=Number(100.0, low=0.01)),
    "io.preconditioning.edm": call(answer=_log_snr, sigma_min=Number(0.02, low=-0.1), sigma_max=Number(80.0, low=0.01)),
}
