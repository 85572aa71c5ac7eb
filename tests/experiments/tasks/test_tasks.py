"""The list of tasks: every one has the whole interface, and a config names its task or an error says what it may be."""

import inspect
import re

import pytest
from ml_collections import ConfigDict
from programs import changed, error_of, fails

from experiments import tasks
from experiments.cli.config import save_resolved
from experiments.configs import base
from experiments.configs.images import smoke
from experiments.tasks import TASKS, Task, named
from experiments.tasks.diffusion import task as diffusion

FUNCTIONS = [name for name, member in vars(Task).items() if inspect.isfunction(member) and name[0] != "_"]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_the_whole_interface(name):
    task = named(name)
    for function in FUNCTIONS:
        ours, theirs = (inspect.signature(getattr(one, function)).parameters for one in (task, Task))
        given = [parameter for parameter in theirs if parameter != "self"]
        assert list(ours)[: len(given)] == given, function
        assert all(ours[other].default is not inspect.Parameter.empty for other in list(ours)[len(given) :]), function
    assert task.OPENED_BY
    fields = task.fields()
    assert fields.defaults().task == name
    assert {"seed", "data", "training", "evaluation"} <= fields.keys()


def test_a_config_names_its_task():
    config = smoke.get_config()
    assert tasks.of(config) is tasks.named("diffusion")
    message = error_of(tasks.check_fields, changed(smoke, "task=diffussion"))
    assert re.match(r"config.task=diffussion: must be one of .* \(did you mean diffusion\?\)", message)
    assert "config.task: must be set, to one of diffusion, sequence" in error_of(tasks.of, ConfigDict())
    words = "config.conditions: config has no field conditions; it has classifier"
    assert words in error_of(tasks.check_fields, changed(smoke, "task=classifier"))


@pytest.mark.parametrize("name", [name for name in TASKS if name != "diffusion"])
def test_a_run_of_another_task_is_not_opened(tmp_path, name):
    save_resolved(base.get_config(name), tmp_path / "config.json")
    assert re.match(f"--workdir={tmp_path}: this run (is|has) ", error_of(diffusion.saved, str(tmp_path)))


def test_a_run_without_samples_is_not_sampled(tmp_path):
    save_resolved(base.get_config("autoencoder"), tmp_path / "config.json")
    words = "this run is an autoencoder; name it as --config.latents=… when a model is trained"
    assert fails("sample", f"--workdir={tmp_path}") == f"error: --workdir={tmp_path}: {words}\n"
