"""What may differ between a run and the config that continues it."""

import pytest

from experiments.cli.config import ConfigError, save_resolved
from experiments.configs.images import smoke
from experiments.training.loop import check_same_run


def test_a_run_of_a_version_without_a_condition_is_continued_without_it(tmp_path):
    old = smoke.get_config()
    with old.unlocked():
        del old.data["tokens"]
    save_resolved(old, tmp_path / "config.json")
    config = smoke.get_config()
    check_same_run(config, tmp_path)
    config.data.tokens.name = "captions"
    with pytest.raises(ConfigError, match=r"config.data.tokens.name=captions: the run in .* has None"):
        check_same_run(config, tmp_path)
