"""What tests of programs share: flags and programs in this process, processes, a run to work on, sounds in memory."""

import contextlib
import copy
import functools
import io
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
import types
import warnings
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import flags, logging
from jax.experimental.compilation_cache import compilation_cache
from parameters import random_like, random_params
from PIL import Image

from experiments import data, tasks, training
from experiments.cli import command_line
from experiments.cli.config import ConfigError, save_resolved
from experiments.data.sounds import Sounds
from experiments.tasks.diffusion.build import build_model
from scorekit import audio
from scorekit import training as scorekit_training

ROOT = Path(__file__).parents[2]


def give(**given):
    """Sets flags as text, as if they had been on the command line."""
    for name, value in given.items():
        flags.FLAGS[name].parse(str(value))
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


_KEPT = "experiments.cli.compilation_cache"  # its flag is defined once, when it is imported


def _forget(values):
    """Removes the flags that modules of ``experiments`` have defined; returns them by module."""
    found = {}
    for module, defined in list(values.flags_by_module_dict().items()):
        if module.startswith("experiments.") and module != _KEPT:
            found[module] = list(defined)
            for flag in found[module]:
                if flag.name in values:
                    delattr(values, flag.name)
    return found


@contextlib.contextmanager
def separate_flags():
    """Puts the flags of all programs aside: two programs may define one by the same name."""
    values = flags.FLAGS
    parsed, ours = values.is_parsed(), _forget(values)
    try:
        yield
    finally:
        _forget(values)
        for module, defined in ours.items():
            for flag in defined:
                values[flag.name] = flag
                values.register_flag_by_module(module, flag)
        if not parsed:
            values.unparse_flags()


def _run_app(main, argv=None, flags_parser=None):
    """``absl.app.run`` without what it does to the process."""
    sys.exit(main((flags_parser or flags.FLAGS)(sys.argv if argv is None else argv)))


def _to_stderr(message, category, filename, lineno, file=None, line=None):
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


@functools.cache
def _cache():
    """A folder of compiled programs that all runs of this process share."""
    return tempfile.TemporaryDirectory(prefix="scorekit-tests-")


@contextlib.contextmanager
def _temporary_config():
    """Restores the values of jax that the cache of compiled programs sets."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def run(program, *arguments):
    """``python -m experiments.<program> <arguments>`` in this process: its exit code, output and errors.

    An error that is not one of the config propagates.
    """
    name = f"experiments.{program}"
    out, err = io.StringIO(), io.StringIO()
    verbosity, formatwarning = logging.get_verbosity(), warnings.formatwarning
    with (
        separate_flags(),
        mock.patch.object(sys, "argv", [name, *map(str, arguments)]),
        mock.patch.object(command_line.app, "run", _run_app),
        mock.patch.dict(os.environ, {"SCOREKIT_CACHE": _cache().name}),
        _temporary_config(),
        contextlib.chdir(ROOT),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        warnings.simplefilter("default")
        for ignored in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", ignored)
        warnings.showwarning = _to_stderr
        imported = sys.modules.pop(name, None)  # by another test: runpy would warn
        try:
            runpy.run_module(name, run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            if imported is not None:
                sys.modules[name] = imported
            logging.set_verbosity(verbosity)
            warnings.formatwarning = formatwarning
    return code, out.getvalue(), err.getvalue()


def start(program, *arguments, shell=(), **environment):
    """The same as a process of its own with one device, which has begun; ``shell`` is what its command follows."""
    command = [*shell, sys.executable, "-m", f"experiments.{program}", *map(str, arguments)]
    flags = os.environ["SCOREKIT_TEST_XLA_FLAGS"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def end(process):
    """The exit code, output and errors of a process."""
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def start_two(*arguments, devices=2):
    """Two processes of one program on this machine, each with simulated devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        together = [f"--coordinator=localhost:{free.getsockname()[1]}", "--processes=2", "--heartbeat=10"]
    devices = {"JAX_NUM_CPU_DEVICES": str(devices)}
    return [start(*arguments, *together, f"--process_id={i}", **devices) for i in range(2)]


def end_two(both):
    """Exit codes, outputs and errors of two processes, without the lines of their connection."""
    own = lambda text: "\n".join(x for x in text.splitlines() if "[Gloo]" not in x and "peer ranks" not in x).strip()
    codes, outs, errors = zip(*map(end, both), strict=True)
    return list(codes), list(map(own, outs)), list(map(own, errors))


def newest(workdir):
    """The step of the newest checkpoint and its parameters."""
    step, params = scorekit_training.restore_params(workdir / "checkpoints")
    return step, jax.tree.map(np.asarray, jax.tree.leaves(params))


def wait_until(happens, *processes):
    """Waits until ``happens()`` is true, while these processes run."""
    until = time.monotonic() + 300
    while not happens():
        assert all(process.poll() is None for process in processes), [end(process) for process in processes]
        assert time.monotonic() < until
        time.sleep(0.01)


def succeeds(program, *arguments):
    """The output of a program that ends without an error."""
    code, out, err = run(program, *arguments)
    assert code == 0, err
    return out


def fails(program, *arguments, at_once=True):
    """What a program prints on stderr, one line of which says what is wrong with its config or flags; that line alone,
    and nothing on stdout, if it ends ``at_once``, before it has begun."""
    code, out, err = run(program, *arguments)
    assert (code, err.count("error: "), "Traceback" in err) == (2, 1, False), err
    if at_once:
        assert (out, err.count("\n")) == ("", 1), err
        assert err.startswith("error: ")
    return err


def overridden(fields):
    """Flags of the overrides of a config, which spaces divide."""
    return [f"--config.{text}" for text in fields.split()]


def given(path, fields=""):
    """The flag of a config below ``experiments/configs``, or of a project, and those of overrides."""
    return [f"--config=experiments/{'' if path.startswith('projects/') else 'configs/'}{path}.py", *overridden(fields)]


def saved_config(config, folder):
    """The flag of a config, which is written into a file in ``folder``."""
    return f"--config={save_resolved(config, folder / 'config_file.json')}"


POINTS = given("points/mixture_2d", "network.features=8 network.blocks=1 training.batch_size=16")
"""A small model of points: seconds to compile, and the same code as for images."""


def changed(start, *overrides):
    """A config, or the config of a module, with overrides as a command line gives them; ``None`` unsets a field."""
    config = start.get_config() if isinstance(start, types.ModuleType) else copy.deepcopy(start)
    for text in overrides:
        field, value = text.split("=", 1)
        if value == "None":
            config.update_from_flattened_dict({field: None})
        else:
            command_line.override(config, field, value)
    return config


def error_of(call, *arguments, **named):
    """The one line of the ConfigError that a call raises."""
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_config(config):
    """What ``experiments.train`` validates before it loads data."""
    tasks.check_fields(config)
    task = tasks.of(config)
    task.build(config, task.load(config))
    training.check(config)


SQUARES = ("a red square", "a green square", "a blue square")


def captioned_squares(root):
    """Writes 24 pictures of 16 x 16 pixels with their captions, and a file of the states of these, into ``root``."""
    (root / "pictures").mkdir()
    for i in range(24):
        x = np.zeros((16, 16, 3), np.uint8)
        x[4:12, 4:12, i % 3] = 100 + 5 * i
        Image.fromarray(x).save(root / "pictures" / f"{i:02}.png")
        (root / "pictures" / f"{i:02}.txt").write_text(SQUARES[i % 3])
    rng = np.random.default_rng(0)
    states, pooled = rng.normal(size=(3, 4, 6)), rng.normal(size=(3, 6))
    mask = np.array([[True] * 4, [True] * 3 + [False], [True] * 4])
    np.savez(root / "encoder.npz", captions=np.array(SQUARES), states=states, mask=mask, pooled=pooled)
    return root


def save_untrained(folder, config, step=1):
    """Writes a run into ``folder`` whose network has random parameters."""
    return save_run(folder, config, random_params(build_model(config, data.build(config)), 0.02), step)


def save_random(folder, config, scale=0.02):
    """Writes a run of any task into ``folder`` whose network has random parameters."""
    task = tasks.of(config)
    init = task.build(config, task.load(config)).trained.init
    return save_run(folder, config, random_like(jax.eval_shape(init, jax.random.key(0)), scale))


def save_run(folder, config, params, step=1, extra=None):
    """Writes a run into ``folder`` with these parameters, and ``extra`` beside them."""
    save_resolved(config, folder / "config.json")
    params = jax.tree.map(jnp.asarray, params)
    state = scorekit_training.init_state(jax.random.key(0), params, optax.sgd(0.1), config.training.ema_decays)
    with scorekit_training.Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(step, state, extra=extra)
        checkpoints.wait()
    return folder


class SoundsInMemory(Sounds):
    """Sounds ``(N, L)`` at full scale 1 in some representation, for training and test alike.

    It has the maps of sounds; ``fields`` of a batch beside ``x`` and ``label`` are given by name.
    """

    def __init__(self, name, sounds, label, num_classes, sample_rate, representation, **fields):
        self.name, self.num_classes, self.examples = name, num_classes, len(sounds)
        self.sample_rate, self.fields = sample_rate, tuple(fields)
        self._representation, self._peak = representation, None
        self.train = self.test = {
            "x": np.asarray(audio.float_to_pcm(sounds)),
            "label": np.asarray(label, np.int32),
            **{name: np.asarray(value) for name, value in fields.items()},
        }
        self.shape = jax.eval_shape(self.to_model, self.test["x"][:1]).shape[1:]

    def batch(self, seed, step, size):
        return {name: value[np.resize(np.arange(self.examples), size)] for name, value in self.train.items()}


def tones(representation):
    """Eight sines of 512 samples at 4 kHz."""
    n, rng = np.arange(512), np.random.default_rng(0)
    x = 0.5 * np.sin(2 * np.pi * rng.integers(5, 200, size=(8, 1)) * n / 512)
    return SoundsInMemory("tones", x.astype(np.float32), np.arange(8) % 2, 2, 4000, representation)


def validate(config, *checks):
    """A config as programs validate it: its fields when the command line is read, then how they go together."""
    for check in (tasks.check_fields, *checks):
        check(config)
