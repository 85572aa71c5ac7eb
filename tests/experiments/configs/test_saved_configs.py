"""Configs of saved runs: rules added since are filled in, and runs of earlier versions raise."""

import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from programs import changed, error_of

from experiments import tasks
from experiments.cli import command_line
from experiments.cli.config import check_config, save_resolved
from experiments.configs import base
from experiments.configs.images import smoke
from experiments.training.loop import check_same_run


def test_a_run_without_a_newer_rule_is_opened_and_one_without_guidance_raises(tmp_path):
    fields = smoke.get_config().to_dict()
    del fields["rules"]["apg"], fields["rules"]["interval"]["noise_max"]
    save_resolved(ConfigDict(fields), tmp_path / "config.json")
    config = base.saved(str(tmp_path))
    check_config(config, base.get_config())
    assert config.rules.apg.momentum is None
    assert config.is_locked
    command_line.override(config, "rules.compose.weights", "1")  # the file did not say that this is a list
    assert config.rules.compose.weights == (1,)
    assert "must be a number" in error_of(command_line.override, config, "rules.interval.noise_max", "wide")
    del fields["guidance"], fields["rules"]
    save_resolved(ConfigDict(fields), tmp_path / "config.json")
    words = f"--workdir={tmp_path}: this run was saved by an earlier version, without config.guidance; train it again"
    assert error_of(base.saved, str(tmp_path)).startswith(words)


def test_a_run_of_a_version_without_a_condition_is_continued_without_it(tmp_path):
    old = smoke.get_config()
    with old.unlocked():
        del old.data["tokens"]
    save_resolved(old, tmp_path / "config.json")
    check_same_run(smoke.get_config(), tmp_path)
    message = error_of(check_same_run, changed(smoke, "data.tokens.name=captions"), tmp_path)
    assert re.match("config.data.tokens.name=captions: the run in .* has None", message)


TASKS_OF_GOLDEN = {
    **{name: name for name in ("autoencoder", "classifier", "sequence", "transcriber")},
    **{name: "dual_encoder" for name in ("contrastive", "evaluator")},
    "rolls": "sequence",
}
"""Their configs do not name a task yet."""
GOLDEN = Path(__file__).parents[2] / "golden" / "runs"


@pytest.mark.parametrize("run", sorted(path.parent.name for path in GOLDEN.glob("*/config.json")))
def test_the_config_of_a_golden_run_opens(run):
    """Runs of every kind, trained at an earlier commit; tests/golden/runs/make.py opens them with every program."""
    config = tasks.saved(str(GOLDEN / run))
    tasks.check_fields(config)
    assert config.task == TASKS_OF_GOLDEN.get(run, "diffusion")
