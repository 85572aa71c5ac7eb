"""The command line: overrides, and every error as a single line with exit code 2 and without a traceback."""

import functools
import os
import subprocess
import sys
import textwrap

import pytest
from absl import flags
from programs import ROOT, error_of

from experiments.__main__ import programs
from experiments.cli import command_line as lib
from experiments.cli.config import save_resolved

CONFIG = """
    from ml_collections import ConfigDict, config_dict

    def get_config():
        config = ConfigDict()
        config.seed = 0
        config.training = ConfigDict(
            dict(steps=10, rate=1e-3, ema=True, decays=(0.9, 0.99), widths=(8, 16), tags=("a",))
        )
        config.model = ConfigDict(dict(name="unet", note=None, empty=()))
        config.model.limit = config_dict.placeholder(int)
        return config
"""


@pytest.fixture
def parse(tmp_path):
    """Parses ``arguments`` after ``--config=FILE --workdir=d``, as a program does."""
    path = tmp_path / "digits.py"
    path.write_text(textwrap.dedent(CONFIG))

    def parse(*arguments, first=(f"--config={path}", "--workdir=d")):
        values = flags.FlagValues()
        flags.DEFINE_string("config", None, "", flag_values=values)
        flags.DEFINE_string("workdir", None, "", flag_values=values)
        config = lib.parse(["prog", *first, *arguments], lambda: values["config"].value, values)
        return config, values["workdir"].value

    return parse


@pytest.fixture
def message_of(parse):
    """The one line of the error that arguments raise."""
    return functools.partial(error_of, parse)


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("--config.seed=7", "seed", 7),
        ("--config.training.steps=1_000", "training.steps", 1000),
        ("--config.training.rate=5", "training.rate", 5.0),
        ("--noconfig.training.ema", "training.ema", False),
        ("--config.training.decays=0.5", "training.decays", (0.5,)),
        ("--config.training.decays=()", "training.decays", ()),
        ("--config.training.tags=x, y", "training.tags", ("x", "y")),
        ("--config.model.note=0.5", "model.note", 0.5),
        ("--config.model.limit=3", "model.limit", 3),
    ],
)
def test_an_override_has_the_type_of_its_field(parse, argument, field, value):
    config, workdir = parse(argument)
    for name in field.split("."):
        config = config[name]
    assert config == value
    assert type(config) is type(value)
    assert workdir == "d"


def test_an_override_takes_the_next_argument_and_the_last_one_wins(parse):
    config, workdir = parse("--config.seed", "3", "--config.training.ema", "--workdir=e", "--config.seed", "-4")
    assert (config.seed, config.training.ema, workdir) == (-4, True, "e")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.training.stepz=5", ["config.training has no field stepz", "did you mean steps?", "it has", "ema"]),
        ("--config.steps=5", ["config has no field steps", "did you mean config.training.steps?"]),
        ("--config.training.steps.x=5", ["config.training.steps is a single value, 10"]),
        ("--config.training=5", ["config.training is a section; set one of"]),
        ("--config.training.steps=abc", ["must be an integer", "now 10"]),
        ("--config.training.rate=nan", ["must be a number"]),
        ("--config.training.ema=maybe", ["must be true or false", "now True"]),
        ("--config.training.widths=0.5", ["must be a list"]),
    ],
)
def test_an_invalid_override_raises_a_config_error(message_of, argument, words):
    message = message_of(argument)
    assert message.startswith("--config.")  # the argument itself comes first
    for word in words:
        assert word in message


def test_flags_and_files_that_there_are_not_raise_a_config_error_with_the_nearest(message_of, tmp_path):
    assert "did you mean" in message_of("--workdri=x").lower()
    assert "stray" in message_of("stray")
    assert message_of("--processes=2") == "--processes: must be left out, this program runs in one process"
    assert "--config=FILE must be given" in message_of("--config.seed=1", first=())
    assert f"did you mean {tmp_path}/digits.py?" in message_of(first=(f"--config={tmp_path}/digit.py",))


def test_overrides_apply_to_a_saved_config_and_may_stand_in_a_flagfile(parse, message_of, tmp_path):
    config, _ = parse("--config.training.steps=77")
    saved = f"--config={save_resolved(config, tmp_path / 'config.json')}"
    (tmp_path / "flags.txt").write_text("--config.seed=1\n")
    again, _ = parse(f"--flagfile={tmp_path}/flags.txt", first=(saved,))
    assert (again.training.steps, again.seed, again.training.is_locked) == (77, 1, True)
    assert "has no field sed" in message_of("--config.sed=1", first=(saved,))


PROGRAM = """
    import sys
    from absl import flags
    from experiments.cli.command_line import run
    from experiments.cli.config import require

    CONFIG = flags.DEFINE_string("config", None, "", required=True)

    def main(config):
        require(config.training.steps > 0, "training.steps", config.training.steps, "at least 1")
        print("ran", config.training.steps)
        if config.seed == 13:
            raise ValueError("a bug")

    def config_file():
        assert "jax" not in sys.modules  # an error is reported before jax is imported
        return CONFIG.value

    if __name__ == "__main__":
        run(main, config_file, check=lambda config: None)
"""


def test_a_program_prints_one_line_and_exits_with_2(tmp_path):
    assert programs()["experiments.sample"] == "Draws samples from a trained model."
    (tmp_path / "digits.py").write_text(textwrap.dedent(CONFIG))
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*arguments):
        command = [sys.executable, tmp_path / "program.py", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stdout, done.stderr

    config = f"--config={tmp_path}/digits.py"
    assert run(config, "--config.training.steps=3") == (0, "ran 3\n", "")
    words = "config.training.steps=0: must be at least 1"
    assert run(config, "--config.training.steps=0") == (2, "", f"error: {words}\n")
    assert run() == (2, "", "error: --config=... must be given\n")
    code, out, err = run(config, "--config.seed=13")  # a bug keeps its traceback
    assert (code, out, "Traceback" in err) == (1, "ran 10\n", True)
