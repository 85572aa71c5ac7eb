"""``--help_config``: every field of every config has a meaning and a bound."""

import re

import pytest
from programs import succeeds
from small_configs import SECTIONS

from experiments.cli import config_help
from experiments.cli.config import ConfigError, leaves, save_resolved
from experiments.cli.config_help import as_text, describe, matching
from experiments.configs.images import digits
from experiments.tasks.diffusion import task as diffusion


def lacking(section):
    """The fields, choices and arguments without a meaning, and fields and arguments without a bound."""
    for row in section.rows():
        if not row.meaning or not (row.allowed or row.choices):
            yield row.path
        for choice in row.choices:
            if not choice.meaning:
                yield f"{row.path}={choice.name}"
            yield from (f"{a.path} of {choice.name}" for a in choice.arguments if not (a.allowed and a.meaning))


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_is_there_with_its_default_a_meaning_and_a_bound(name):
    assert list(lacking(SECTIONS[name])) == []
    rows = list(SECTIONS[name].rows())
    found = {row.path: row.default for row in rows}
    taken = {a.path for row in rows for choice in row.choices for a in choice.arguments}
    for path, default in leaves(SECTIONS[name].defaults()):
        assert path in taken or found[path] == default, path


def test_text_fits_a_terminal_and_shows_the_values_of_the_config():
    config = digits.get_config()
    for pattern in ("", "solver"):
        lines = describe(diffusion.check_fields, config, pattern).splitlines()
        assert max(map(len, lines)) <= config_help.WIDTH
        assert not any("``" in line or ":func:" in line for line in lines)
    text = " ".join(describe(diffusion.check_fields, config, "").split())
    assert "training.steps = 2500 (default 1000) (int >= 1, or None) Updates of the parameters." in text
    assert "channels = 24 (default 32) (int in [1, 65536])" in text
    assert "sigma_max = 80.0 (float > 0)" in text


def test_a_pattern_selects_fields_and_choices():
    every = list(diffusion.FIELDS.rows())
    assert [field.path for field in matching(every, "Solver")] == ["sampling.solver.name"]
    (field,) = matching(every, "wavenet")
    assert [choice.name for choice in field.choices] == ["wavenet", "causal_wavenet"]
    text = as_text([field], detailed=True)
    assert re.search(r"^ +cycle = 10 \(int in \[1, 1024\]\)", text, re.MULTILINE)
    with pytest.raises(ConfigError, match=r"--help_config=nothing: no field or choice has this .*training"):
        matching(every, "nothing")


def test_programs_print_the_fields_of_their_config_and_need_none(no_data, tmp_path):
    assert "training.steps = 1000" in succeeds("train", "--help_config")
    save_resolved(digits.get_config(), tmp_path / "config.json")
    config = f"--config=experiments/configs/distil.py:{tmp_path},matching"
    out = succeeds("train", config, f"--workdir={tmp_path}", "--help_config=distillation")
    assert "distillation.student_rate = 0.2 (float > 0)" in out
    assert "teacher_steps" not in out
