"""``--help_config``: every field of every config has a meaning and a range that are read from the code."""

import re

import pytest
from ml_collections import ConfigDict
from programs import run

from experiments import data
from experiments.cli import config_help
from experiments.cli.config import ConfigError, leaves, save_resolved, section
from experiments.cli.config_help import Declaration, as_text, declaration_of, describe, matching
from experiments.cli.declared import declarations
from experiments.cli.ranges import count
from experiments.configs import base, base_classifier, base_contrastive, base_latent, base_transcriber
from experiments.configs.images import digits
from experiments.configs.ood import ood_digits
from experiments.training import students

DECLARATIONS = {
    "model": base.declaration(),
    "classifier": base_classifier.declaration(),
    "autoencoder": base_latent.declaration(),
    "dual_encoder": base_contrastive.declaration(),
    "transcriber": base_transcriber.declaration(),
    "ood": Declaration({"": ood_digits.get_config}, ood_digits.ranges()),
    **{method: students.declaration(Declaration({}, {}), method) for method in students.SECTIONS},
}
SHAPES = {"line": lambda slope=1.0: slope, "flat": lambda: 0.0}


def lacking(declaration):
    """The fields, choices and arguments without a meaning or without a range."""
    for field in declaration.fields():
        if not field.meaning or not (field.allowed or field.choices):
            yield field.path
        for choice in field.choices:
            if not choice.meaning:
                yield f"{field.path}={choice.name}"
            yield from (a.path for a in choice.arguments if not (a.allowed and a.meaning))


@pytest.mark.parametrize("name", DECLARATIONS)
def test_every_field_has_a_meaning_and_a_range(name):
    assert list(lacking(DECLARATIONS[name])) == []


@pytest.mark.parametrize("name", DECLARATIONS)
def test_every_field_of_the_config_is_there_with_its_default(name):
    declaration = DECLARATIONS[name]
    found = {field.path: field.default for field in declaration.fields()}
    taken = {a.path for field in declaration.fields() for choice in field.choices for a in choice.arguments}
    for part, function in declaration.functions.items():
        for path, default in leaves(function()):
            full = f"{part}.{path}" if part else path
            assert full in taken or found[full] == default or full.startswith("train."), full


def fields():
    """What a package might declare."""
    config = ConfigDict()
    config.told = 1
    """The first field."""
    config.part = part = ConfigDict()
    part.untold = 2
    part.shape = section(SHAPES, "line")
    """A shape."""
    part.shape.slope = 2.0
    return config


def test_what_the_source_leaves_out_is_found():
    found = Declaration({"": fields}, {"told": count(1)})
    assert list(lacking(found)) == ["part.untold", "part.shape.name=line", "part.shape.slope", "part.shape.name=flat"]
    assert found.fields()[0].meaning == "The first field."
    assert found.fields()[0].allowed == "int >= 1"
    assert list(declarations(fields)) == ["told", "part", "part.untold", "part.shape"]


def test_text_fits_a_terminal_and_shows_the_values_of_the_config():
    config = digits.get_config()
    for pattern in ("", "solver"):
        lines = describe(base.check_fields, config, pattern).splitlines()
        assert max(map(len, lines)) <= config_help.WIDTH
        assert not any("``" in line or ":func:" in line for line in lines)
    text = " ".join(describe(base.check_fields, config, "").split())
    assert "training.steps = 2500 (default 1000) (int >= 1) Updates of the parameters." in text
    assert "* unet: " in text
    assert "channels = 24 (default 32) (int in [1, 65536])" in text
    assert "- edm: EDM schedule" in text
    assert "sigma_max = 80.0 (float > 0)" in text
    assert "set one as --config.training.steps=5" in text.splitlines()[-1]


def test_a_pattern_selects_fields_and_choices():
    every = base.declaration().fields()
    assert [field.path for field in matching(every, "Solver")] == ["sampling.solver.name"]
    (field,) = matching(every, "wavenet")
    assert [choice.name for choice in field.choices] == ["wavenet", "causal_wavenet"]
    text = as_text([field], detailed=True)
    assert re.search(r"^ +cycle = 10 \(int in \[1, 1024\]\): \w+", text, re.MULTILINE)
    with pytest.raises(ConfigError, match=r"--help_config=nothing: no field or choice has this .*training"):
        matching(every, "nothing")


def test_a_check_without_a_declaration_says_so():
    with pytest.raises(ConfigError, match="this program has no config"):
        declaration_of(lambda config: None)


@pytest.fixture
def no_data(monkeypatch):
    def load(config):
        raise AssertionError("data were loaded")

    monkeypatch.setattr(data, "load", load)


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("train", "training.steps = 1000"),
        ("train_classifier", "classifier.name = unet_encoder"),
        ("latents.train", "autoencoder.name = convolutional"),
        ("ood.detect", "ascent_steps = 100"),
    ],
)
def test_programs_print_their_fields_without_a_config(no_data, program, shown):
    code, out, err = run(program, "--help_config")
    assert (code, err) == (0, "")
    assert shown in out


def test_a_program_prints_the_fields_of_its_config_and_then_what_is_wrong(no_data):
    config = "--config=experiments/configs/images/digits.py"
    code, out, err = run("train", config, "--config.training.steps=7", "--help_config=training.steps")
    assert (code, err) == (0, "")
    assert "training.steps = 7  (default 1000)" in out
    code, out, err = run("train", config, "--config.training.steps=0", "--help_config=training.steps")
    assert code == 2
    assert "(int >= 1)" in out
    assert err.startswith("error: config.training.steps=0: must be at least 1")
    code, out, err = run("train", "--help_config=nothing")
    assert (code, out) == (2, "")
    assert err.startswith("error: --help_config=nothing: no field")


def test_a_distillation_prints_the_fields_of_its_method(no_data, tmp_path):
    save_resolved(digits.get_config(), tmp_path / "config.json")
    code, out, err = run("distill", f"--workdir={tmp_path}", "--method=matching", "--help_config=distillation")
    assert (code, err) == (0, "")
    assert "distillation.student_rate = 0.2  (float > 0)" in out
    assert "teacher_steps" not in out
