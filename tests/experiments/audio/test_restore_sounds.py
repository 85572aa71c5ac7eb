"""``experiments.audio.restore_sounds``: its flags and runs are validated."""

import pytest
from programs import give

from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.configs.notes import notes


@pytest.fixture
def program(load_program, tmp_path):
    found = load_program("experiments.audio.restore_sounds")
    give(workdir=tmp_path)
    return found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "gp"}, r"--task=gp: must be one of gap, .* \(did you mean gap\?\)"),
        ({"noise_std": "-1"}, r"--noise_std=-1.0: must be a finite number >= 0"),
        ({"method": "mmsp"}, r"--method=mmsp: must be one of .* \(did you mean mmps\?\)"),
        ({"condition": "class"}, "--condition=class: must be own or null"),
    ],
)
def test_flags_are_validated(program, given, message):
    give(**given)
    with pytest.raises(ConfigError, match=message):
        program.main(notes.get_config())


def test_run_must_be_on_waveforms(program):
    with pytest.raises(ConfigError, match="must hold a run on sounds, and its data are sklearn_digits"):
        program.main(base.get_config())
    with pytest.raises(ConfigError, match=r"config.data.representation.name=log_magnitudes: must be waveform"):
        program.main(notes.get_config())
