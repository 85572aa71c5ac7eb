"""``experiments.audio.perform``: its flags and the conditions of the model are validated."""

import pytest
from programs import give

from experiments.cli.config import ConfigError
from experiments.configs.phrases import phrases


@pytest.fixture
def program(load_program, tmp_path):
    found = load_program("experiments.audio.perform")
    give(workdir=tmp_path)
    return found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"overlap": "1"}, r"--overlap=1.0: must be in \[0, 1\)"),
        ({"seconds": "0"}, "--seconds=0.0: must be finite and > 0"),
        ({"program": "5"}, "--program=5: must be one of 0, 4, "),
    ],
)
def test_flags_are_validated(program, given, message):
    give(**given)
    with pytest.raises(ConfigError, match=message):
        program.main(phrases.get_config())


def test_model_must_be_conditioned_on_the_piano_roll(program):
    config = phrases.get_config()
    config.data.map.update(name="none", count=None)
    with pytest.raises(ConfigError, match=r"config.data.map.name=none: must be piano_roll or tones: the model must be"):
        program.main(config)
