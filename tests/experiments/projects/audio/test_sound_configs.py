"""The sizes of sounds and latents in configs of sounds, and students that have the network of their teacher."""

import jax
import jax.numpy as jnp
import pytest
from programs import ROOT

from experiments import data
from experiments.cli.command_line import load_config
from experiments.models.run_files import fields_of
from experiments.tasks.latents.model import AUTOENCODERS

SHAPES = {
    "notes.py": (128, 64),
    "notes.py:controls": (32, 97),
    "notes.py:spectrogram": (128, 128),
}
STUDENTS = {
    "vocoder.py:mean_flow": "vocoder.py",
}


def config_of(name):
    return load_config(f"{ROOT}/experiments/projects/audio/configs/{name}")


@pytest.mark.parametrize("name", SHAPES)
def test_sounds_have_the_shape_of_their_representation(name):
    assert data.build(config_of(name)).shape == SHAPES[name]


def test_latents_of_full_phrases_have_62_5_positions_a_second():
    config, rate = config_of("phrases_latent.py"), 4000
    module = AUTOENCODERS.build(config, "autoencoder", data_channels=1)
    x = jax.ShapeDtypeStruct((1, round(4.096 * rate), 1), jnp.float32)
    z, _ = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x, method="encode"), x)
    assert z.shape == (1, 256, config.autoencoder.latent_channels)
    assert rate / module.stride == 62.5
    prior = config_of("phrases_of_latents.py")
    assert prior.data.representation.to_dict() == config.data.representation.to_dict()


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_has_the_network_of_its_teacher(name):
    student, teacher = (fields_of(config_of(each)) for each in (name, STUDENTS[name]))
    differ = {field for field in {*student, *teacher} if student.get(field) != teacher.get(field)}
    own = ("loss.flow_map.", "loss.times.", "data.representation.iterations")
    assert not [field for field in differ if not field.startswith(own)]
    assert teacher["preconditioning.noise.name"] == "clock"
    assert config_of(name).sampling.ema == config_of(STUDENTS[name]).sampling.ema
