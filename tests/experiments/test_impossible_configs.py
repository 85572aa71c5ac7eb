"""Commands that no program can run: one line names the field or flag before data are loaded or anything is written."""

import shutil

import pytest
from programs import changed, fails, given

from experiments.tasks.diffusion import task as diffusion


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("network.channels=65536", ["error: config.network: has ", "parameters, which take at least "]),
        ("network.multipliers=1,2,4,8,16", ["error: config.network (unet): x must have", "divisible by 16"]),
        ("training.batch_size=7 training.accumulate=2", ["config.training.batch_size=7", "multiple of"]),
    ],
)
def test_what_cannot_be_trained_is_known_before_anything_is_written(tmp_path, overrides, words):
    err = fails("train", *given("images/smoke", overrides), f"--workdir={tmp_path}/run")
    assert all(word in err for word in words), err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", ["images/smoke", "images/digits_classifier", "latents/digits_latent"])
def test_a_program_that_trains_validates_every_field_first(no_data, tmp_path, config):
    for field in ("training.keep=0", "seed=-1"):
        assert fails("train", *given(config, field), f"--workdir={tmp_path}/run").startswith(f"error: config.{field}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("program", ["sample", "evaluate", "edit", "tune", "train"])
def test_a_program_that_opens_a_run_validates_every_field_first(no_data, digits_run, tmp_path, program):
    arguments = {
        "train": [f"--config=experiments/configs/distil.py:{digits_run},progressive", f"--workdir={tmp_path}/student"],
    }.get(program, [f"--workdir={digits_run}"])
    err = fails(program, *arguments, "--config.sampling.batch_size=-5")
    assert err == f"error: config.sampling.batch_size=-5: must be an integer from 1 to {2**20}\n"
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
