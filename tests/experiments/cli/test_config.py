"""Configs: validation errors of one line, names resolved to factories, and the saved file."""

import json

import pytest
from ml_collections import ConfigDict
from programs import error_of

from experiments.cli import config as lib

DEFAULTS = ConfigDict({"training": {"steps": 10, "rate": 0.1, "ema": True, "decays": (0.9,), "note": None}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stepz": 1}, ["config.training.stepz", "did you mean steps?"]),
        ({"steps": "5"}, ["config.training.steps=5", "an integer"]),
        ({"steps": True}, ["config.training.steps=True", "an integer"]),
        ({"steps": 5.0}, ["config.training.steps=5.0", "an integer"]),
        ({"rate": "fast"}, ["config.training.rate=fast", "a number"]),
        ({"ema": 1}, ["config.training.ema=1", "true or false"]),
        ({"decays": 0.9}, ["config.training.decays=0.9", "a list"]),
    ],
)
def test_check_config_raises_on_unknown_fields_and_other_types(change, words):
    config = ConfigDict({"training": {**DEFAULTS.training.to_dict(), **change}})
    message = error_of(lib.check_config, config, DEFAULTS)
    for word in words:
        assert word in message


@pytest.mark.parametrize("value", ["x" * 9999, {f"a{i}": 1 for i in range(9999)}])
def test_a_value_in_a_message_is_shortened(value):
    config = ConfigDict({"training": {**DEFAULTS.training.to_dict(), "steps": value}})
    assert len(error_of(lib.check_config, config, DEFAULTS)) < 300
    assert len(error_of(lib.require, False, "training.steps", 10**400, "less")) < 300


def test_a_saved_config_is_readable_and_loads_equal_and_locked(tmp_path):
    config = ConfigDict({"shape": {"name": "power", "exponent": 2, "slope": None}}).lock()
    with config.unlocked():
        config.training = ConfigDict(
            {"steps": 5, "rate": 1.0, "ema": True, "decays": (0.9, (1, 2)), "note": "é", "cap": 1e-9}
        )
    path = lib.save_resolved(config, tmp_path / "run" / "config.json")
    fields = json.loads(path.read_text())
    assert fields["training"]["steps"] == 5
    assert path.read_text().count("\n") > 10  # one field a line
    loaded = lib.load_resolved(path)
    assert loaded.to_dict() == config.to_dict()
    assert isinstance(loaded.training.rate, float)
    assert isinstance(loaded.training.decays[1], tuple)
    lib.check_config(loaded, config)
    with pytest.raises(AttributeError):
        loaded.training.stepz = 1
    with pytest.raises(TypeError):
        loaded.training.steps = "many"


def test_save_resolved_raises_on_values_that_json_cannot_hold_and_names_the_field(tmp_path):
    config = ConfigDict({"model": {"activation": len}})
    message = error_of(lib.save_resolved, config, tmp_path / "config.json")
    assert message.startswith("config.model.activation=")
    assert list(tmp_path.iterdir()) == []


FIELDS = [{"__class__": 1}, {"training": {"__init__": 1}}, {"a.b": 1}]
NO_CONFIGS = ["[1,2]", "5", "null", '"x"', "{", "", "\xff", '{"training": ', *map(json.dumps, FIELDS)]


@pytest.mark.parametrize("content", [*NO_CONFIGS, '{"a": ' * 900 + "1" + "}" * 900])
def test_load_resolved_raises_on_a_broken_file(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    assert error_of(lib.load_resolved, path).startswith(f"{path} is not a saved config: ")
