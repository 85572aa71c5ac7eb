"""Choices: a section has the fields of the factory that it names, and builds it."""

import copy
import functools
from collections.abc import Callable
from typing import Annotated

import pytest
from ml_collections import ConfigDict
from programs import error_of

from experiments.cli.choices import Choices
from experiments.cli.fields import Section
from scorekit.arguments import Count


def line(slope: float = 1.0, offset=0.0):
    return ("line", slope, offset)


def power(exponent: int, *, slope: float = 1.0):
    if exponent < 0:
        raise ValueError(f"exponent must be >= 0, got {exponent}")
    return ("power", exponent, slope)


def along(schedule, gamma=5.0):
    return (schedule, gamma)


class Curve:
    """A curve in a shape.

    Args:
      shape: the shape.
      length: its length.
    """

    def __init__(self, shape: "Annotated[Callable | None, SHAPES]" = None, length: Annotated[int, Count(1)] = 2):
        self.value = (None if shape is None else shape(), length)


SHAPES = Choices({"line": line, "power": power, "half": functools.partial(line, slope=0.5)}, None, "A shape.")
Curve.__init__.__annotations__["shape"] = Annotated[Callable | None, SHAPES]
WEIGHTINGS = Choices(
    {"line": line, "along": along, "cosine": "scorekit.schedules:Cosine"}, "line", "A weighting.", ("schedule",)
)
CURVES = Choices({"curve": Curve}, "curve", "A curve.")


def config_of(choices, name=None, **values):
    section = choices.defaults()
    section.update({} if name is None else {"name": name}, **values)
    return ConfigDict({"part": section}).lock()


def test_a_section_has_the_arguments_of_the_chosen_factory_typed():
    section = config_of(SHAPES, "power").part
    assert set(section) == {"name", "exponent", "slope"}
    assert (section.slope, section.get_type("slope"), section.get_type("exponent")) == (None, float, int)
    with pytest.raises(TypeError):
        section.slope = "steep"
    with pytest.raises(AttributeError):
        section.offset = 1.0


def test_another_name_brings_other_fields_and_keeps_those_that_both_have():
    section = config_of(SHAPES, "line", slope=2.0, offset=1.0).part
    section.name = "power"
    assert section.to_dict() == {"name": "power", "exponent": None, "slope": 2.0}
    section.name = "of no such name"  # the check says so
    assert section.slope == 2.0
    section.name = "line"
    assert section.to_dict() == {"name": "line", "offset": None, "slope": 2.0}


def test_the_factory_is_called_with_the_fields_that_are_set_and_what_the_program_supplies():
    assert SHAPES.build(config_of(SHAPES, "line"), "part") == ("line", 1.0, 0.0)
    assert SHAPES.build(config_of(SHAPES, "power", exponent=2), "part") == ("power", 2, 1.0)
    assert SHAPES.build(config_of(SHAPES, "half"), "part") == ("line", 0.5, 0.0)
    assert WEIGHTINGS.build(config_of(WEIGHTINGS, "along"), "part", schedule="vp") == ("vp", 5.0)
    assert "schedule" not in config_of(WEIGHTINGS, "along").part
    assert WEIGHTINGS.build(config_of(WEIGHTINGS, "line"), "part", schedule="vp") == ("line", 1.0, 0.0)
    assert WEIGHTINGS.build(config_of(WEIGHTINGS, "cosine", s=0.01), "part").s == 0.01  # by its module


def test_an_argument_may_be_a_choice_itself():
    config = config_of(CURVES)
    assert CURVES.build(config, "part").value == (None, 2)
    config.part.shape.update(name="line", slope=3.0)
    assert CURVES.build(config, "part").value == (("line", 3.0, 0.0), 2)
    assert [limit.path for limit in CURVES.limits(config.part, "part")] == [
        "part.name",
        "part.shape.name",
        "part.shape.slope",
        "part.shape.offset",
        "part.length",
    ]


def test_a_name_of_no_choice_is_the_error_and_not_the_fields_beside_it():
    section = Section(part=SHAPES, curve=CURVES)
    config = section.defaults()
    config.part.update(name="line", slope=2.0)
    config.part.name = "lin"
    words = "must be one of line, power, half (did you mean line?)"
    assert error_of(section.check, config) == f"config.part.name=lin: {words}"
    config.part.name = "line"
    config.curve.shape.name = "lin"
    for given in (config, ConfigDict(config.to_dict()), section.read(ConfigDict(config.to_dict()))):
        assert error_of(section.check, given) == f"config.curve.shape.name=lin: {words}"


def test_errors_name_the_section_the_choice_and_the_field():
    assert (
        error_of(SHAPES.build, config_of(SHAPES, "power"), "part")
        == "config.part.exponent=None: must be set for part.name=power"
    )
    message = error_of(SHAPES.build, config_of(SHAPES, "power", exponent=-1), "part")
    assert message == "config.part (power): exponent must be >= 0, got -1; set config.part.exponent"
    assert "did you mean power?" in error_of(SHAPES.build, config_of(SHAPES, "powr"), "part")


@pytest.mark.parametrize("copied", [copy.deepcopy, ConfigDict.copy_and_resolve_references])
def test_a_copy_of_a_config_chooses_as_well(copied):
    config = config_of(SHAPES, "line", slope=2.0)
    other = copied(config)
    assert other == config
    other.part.name = "power"
    assert (set(other.part), config.part.name) == ({"name", "exponent", "slope"}, "line")
