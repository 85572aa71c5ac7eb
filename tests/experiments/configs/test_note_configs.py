"""The configs of notes: each validates, and its network has a loss on its representation of sounds."""

import importlib

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import changed, check_config

from experiments import data, training
from experiments.configs.notes import notes, notes_complex, notes_controls, notes_spectrogram
from experiments.models.run_files import fields_of
from experiments.tasks.diffusion.build import build_model, dropout_rates
from experiments.tasks.diffusion.loss import make_loss, make_prepare


def loss_of(config, run):
    """One batch through the network of a config, by ``run`` of a function and its arguments."""
    config.training.batch_size = 4
    config.training.warmup_steps = 1
    dataset = data.build(config)
    model = build_model(config, dataset)
    prepare = make_prepare(model, dataset, dropout_rates(config), config.loss.joint_dropout)

    def loss(params, key, batch):
        return make_loss(model)(params, prepare(key, batch))[0]

    return dataset, run(loss, random_params(model), jax.random.key(0), dataset.batch(0, 0, 4))


SHAPES = {
    notes: (128, 64),
    notes_complex: (64, 256),
    notes_controls: (32, 97),
    notes_spectrogram: (128, 128),
}


@pytest.mark.slow
@pytest.mark.parametrize("module", SHAPES)
def test_config_validates_and_its_network_takes_the_representation(module):
    """The network at its full size by shapes alone, a smaller one with a finite loss."""
    check_config(module.get_config())
    training.check_devices(module.get_config())
    dataset, loss = loss_of(module.get_config(), jax.eval_shape)
    assert dataset.shape == SHAPES[module]
    assert loss.shape == (4,)
    small = changed(module, "network.channels=8", "network.heads=1", "network.blocks=1")
    _, loss = loss_of(small, jax.jit(lambda f, *rest: f(*rest), static_argnums=0))
    assert np.all(np.isfinite(loss))


STUDENTS = {
    "consistency_notes": "flow_map_notes_teacher",
    "flow_map_notes": "flow_map_notes_teacher",
    "vocoder_student": "vocoder",
    "vocoder_student:mean_flow": "vocoder",
}


def config_of(name):
    file, *argument = name.split(":")
    return importlib.import_module(f"experiments.configs.notes.{file}").get_config(*argument)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_has_the_network_of_its_teacher(name):
    student, teacher = (fields_of(config_of(each)) for each in (name, STUDENTS[name]))
    differ = {field for field in {*student, *teacher} if student.get(field) != teacher.get(field)}
    own = ("loss.flow_map.", "loss.times.", "data.representation.iterations")
    assert not [field for field in differ if not field.startswith(own)]
    assert teacher["preconditioning.noise.name"] == "clock"
    assert config_of(name).sampling.ema == config_of(STUDENTS[name]).sampling.ema
