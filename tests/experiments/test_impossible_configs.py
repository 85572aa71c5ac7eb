"""Commands that no program can run: one line names the field or flag before data are loaded or anything is written."""

import shutil

import jax
import pytest
from programs import changed, error_of, fails, given

from experiments import data
from experiments.configs.images import digits, smoke
from experiments.models import devices
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_model

DIT = digits.get_config("dit")


@pytest.fixture(scope="module")
def digits():
    return data.build(smoke.get_config())


@pytest.mark.parametrize(
    ("start", "text", "words"),
    [
        (smoke, "network.multipliers=1,2,4,8,16", "config.network (unet): x must have a | divisible by 16"),
        (smoke, "network.channels=65536", "config.network: has "),
        (DIT, "network.patch=3", "patch must divide the sides of x, 8 x 8, got 3; set config.network.patch"),
        (DIT, "network.heads=5", "width must be divisible by heads = 5 | , got 64; set config.network.width"),
        (DIT, "network.mlp_ratio=0.001", "mlp_ratio must be at least 1 / 64 | ; set config.network.mlp_ratio"),
    ],
)
def test_a_network_that_fits_neither_data_nor_machine_is_an_error(digits, start, text, words):
    config = changed(start, text)
    model = build_model(config, digits)
    shapes = lambda: devices.param_shapes("network", config.network.to_dict(), lambda: model.init(jax.random.key(0)))
    message = error_of(shapes)
    assert all(part in message for part in words.split(" | ")), message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("network.channels=65536", ["error: config.network: has ", "parameters, which take at least "]),
        ("training.batch_size=7 training.accumulate=2", ["config.training.batch_size=7", "multiple of"]),
        ("training.stepz=5", ["stepz", "did you mean steps?"]),
        ("training.steps=abc", ["training.steps=abc", "integer"]),
    ],
)
def test_what_cannot_be_trained_is_known_before_anything_is_written(tmp_path, overrides, words):
    err = fails("train", *given("images/smoke", overrides), f"--workdir={tmp_path}/run")
    assert all(word in err for word in words), err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("program", "config"),
    [
        ("train", "images/smoke"),
        ("train", "images/digits_classifier"),
        ("train", "latents/digits_latent"),
        ("train", "projects/audio/configs/transcriber"),
        ("projects.denoising.band_weighting", "images/smoke"),
    ],
)
def test_a_program_that_trains_validates_every_field_first(no_data, tmp_path, program, config):
    workdir = [] if program == "projects.denoising.band_weighting" else [f"--workdir={tmp_path}/run"]
    for field in ("training.keep=0", "seed=-1", "training.learning_rate=-1"):
        err = fails(program, *given(config, field), *workdir)
        assert err.startswith(f"error: config.{field}")
    assert not (tmp_path / "run").exists()


ON_SOUNDS = ("evaluate_notes", "perform", "vocode")
OPENING = [
    *("sample", "evaluate", "edit", "tune", "projects.denoising.autoencoder", "projects.denoising.noise_and_scale"),
    *(f"projects.audio.sound.{name}" for name in ON_SOUNDS),
]


@pytest.mark.parametrize("program", [*OPENING, "train", "tasks.latents.cascade", "benchmarks.few_steps"])
def test_a_program_that_opens_a_run_validates_every_field_first(no_data, digits_run, tmp_path, program):
    of_run = f"--workdir={digits_run}"
    arguments = {
        "train": [f"--config=experiments/configs/distil.py:{digits_run},progressive", f"--workdir={tmp_path}/student"],
        "tasks.latents.cascade": [f"--stages={digits_run},{digits_run}"],
        "benchmarks.few_steps": [of_run, f"--students={digits_run}"],
    }.get(program, [of_run])
    for value, most in (("sampling.batch_size=-5", 2**20), ("evaluation.num_samples=0", 10**8)):
        err = fails(program, *arguments, f"--config.{value}")
        assert err == f"error: config.{value}: must be an integer from 1 to {most}\n"
    assert not (tmp_path / "student").exists()


def test_values_of_a_saved_config_are_validated_and_may_be_overridden(no_data, digits_run, tmp_path):
    workdir = shutil.copytree(digits_run, tmp_path / "run")
    path = workdir / "config.json"
    path.write_text(path.read_text().replace('"guidance_scale": 2.0', '"guidance_scale": Infinity'))
    err = fails("sample", f"--workdir={workdir}")
    assert err.startswith("error: config.sampling.guidance_scale=inf: must be finite and >= 0")
    diffusion.check_fields(changed(diffusion.saved(str(workdir)), "sampling.guidance_scale=1"))
    path.write_text(path.read_text().replace('"heads": null', '"heads": 1.5'))
    err = fails("sample", f"--workdir={workdir}")
    assert err.startswith("error: config.network.heads=1.5: must be an integer")
