"""What tests of programs share: flags in this process, a process of its own, a run to work on, sounds in memory."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
from absl import flags

from experiments import data
from experiments.cli.config import save_resolved
from experiments.data.sounds import Sounds
from experiments.models.model import build_model, init_params
from scorekit import audio, training


def give(**given):
    """Sets flags as text, as if they had been on the command line."""
    for name, value in given.items():
        flags.FLAGS[name].parse(str(value))
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def run(program, *arguments):
    """A program of ``experiments`` in a process of its own: its exit code, output and errors."""
    command = [sys.executable, "-m", f"experiments.{program}", *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


def save_untrained(folder, config):
    """Leaves a run in ``folder`` whose network has not learned anything."""
    save_resolved(config, folder / "config.json")
    params = init_params(build_model(config, data.load(config)), jax.random.key(0))
    state = training.init_state(jax.random.key(0), params, optax.sgd(0.1), config.training.ema_decays)
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(1, state)
        checkpoints.wait()
    return folder


class SoundsInMemory(Sounds):
    """Sounds ``(N, L)`` at full scale 1 in some representation, for training and test alike."""

    def __init__(self, name, sounds, label, num_classes, sample_rate, representation):
        self.name, self.num_classes, self.examples = name, num_classes, len(sounds)
        self.sample_rate, self._representation = sample_rate, representation
        self.train = self.test = {"x": np.asarray(audio.float_to_pcm(sounds)), "label": np.asarray(label, np.int32)}
        self.shape = jax.eval_shape(self.to_model, self.test["x"][:1]).shape[1:]

    def batch(self, seed, step, size):
        return {name: value[np.resize(np.arange(self.examples), size)] for name, value in self.train.items()}

    def from_model(self, x, conditions=None):
        return self.to_sound(x, conditions)
