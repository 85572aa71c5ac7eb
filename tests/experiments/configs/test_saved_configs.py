"""Configs of saved runs: types are given back to fields that are None, and a file that lacks a field raises."""

from ml_collections import ConfigDict
from programs import error_of

from experiments.cli import command_line
from experiments.cli.config import check_config, save_resolved
from experiments.configs import base
from experiments.configs.images import smoke
from experiments.tasks.diffusion import task as diffusion


def test_a_saved_config_has_the_types_of_its_fields_and_all_of_them(tmp_path):
    fields = smoke.get_config().to_dict()
    save_resolved(ConfigDict(fields), tmp_path / "config.json")
    config = diffusion.saved(str(tmp_path))
    check_config(config, base.get_config())
    assert config.is_locked
    command_line.override(config, "rules.compose.weights", "1")  # the file did not say that this is a list
    assert config.rules.compose.weights == (1,)
    assert "must be a number" in error_of(command_line.override, config, "rules.interval.noise_max", "wide")
    del fields["guidance"], fields["rules"]
    save_resolved(ConfigDict(fields), tmp_path / "config.json")
    message = error_of(diffusion.saved, str(tmp_path))
    assert f"--workdir={tmp_path}: config.guidance: this field is missing" in message
    assert "its config.json lacks it" in message
    del fields["task"]
    save_resolved(ConfigDict(fields), tmp_path / "config.json")
    assert "it has no field task" in error_of(diffusion.saved, str(tmp_path))
