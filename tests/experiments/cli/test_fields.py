"""Rows of fields: the config, the check and the help that come from them, and choices as annotations describe them."""

import re
import runpy
from pathlib import Path

import pytest
from programs import error_of

from experiments.cli.choices import Choice, Choices, is_within, narrowed
from experiments.cli.fields import FRACTION, POSITIVE, Field, Row, Section, Text
from scorekit.arguments import Between, Count, Each, Fraction, OneOf, bounds_of, checked
from scorekit.typing import Number


@checked
def line(x, slope: Fraction[Number] = 1.0, *, offset=0.0):
    """A line.

    Args:
      slope: steepness of it. Not 0.
      offset: its value at 0.
    """
    return slope * x + offset


TABLE = {
    "line": Choice(line, offset=2.0),
    "flat": Choice(lambda level=0.0: level, "Level.", level=Field(1.0, POSITIVE, "height.")),
}
SECTION = Section(
    steps=Field(10, Count(), "How many."),
    rate=Field(None, POSITIVE, "How fast."),
    clip=Field(1.0, POSITIVE, "How large.", optional=True),
    shape=Choices(TABLE, "line", "What it is.", ("x",)),
    part=Section(plain=Field(True, bool, "Whether."), names=Field(("a",), Each(Text("names")), "Which ones.")),
    rules=Choices(TABLE, None, "All of them.", ("x",), several=True),
)


def test_the_config_has_defaults_and_types():
    config = SECTION.defaults()
    assert config.is_locked
    assert config.to_dict() == {
        "steps": 10,
        "rate": None,
        "clip": 1.0,
        "shape": {"name": "line", "slope": None, "offset": None},
        "part": {"plain": True, "names": ("a",)},
        "rules": {"line": {"slope": None, "offset": None}, "flat": {"level": None}},
    }
    assert config.get_type("rate") is float
    SECTION.check(config)
    config.clip = None
    SECTION.check(config)
    config.steps = None
    assert error_of(SECTION.check, config).startswith("config.steps=None: must be ")


def test_rows_of_the_help():
    rows = {row.path: row for row in SECTION.rows()}
    assert list(rows) == ["steps", "rate", "clip", "shape.name", "part.plain", "part.names", "rules"]
    assert (rows["rate"].allowed, rows["part.names"].allowed) == ("float > 0, or None", "list of names")
    first, second = rows["shape.name"].choices
    slope = Row("shape.slope", 1.0, "float in [0, 1]", "steepness of it. Not 0.")
    assert first.arguments == (slope, Row("shape.offset", 2.0, "float", "its value at 0."))
    assert second.arguments == (Row("shape.level", 1.0, "float > 0", "height."),)
    assert (first.meaning, second.meaning) == ("A line.", "Level.")
    assert rows["rules"].choices[0].arguments[0].path == "rules.line.slope"


def test_a_choice_calls_its_factory_with_its_own_defaults():
    assert TABLE["line"](x=1.0) == 3.0
    assert TABLE["line"](x=1.0, offset=0.0) == 1.0
    make = Choice(lambda **values: values, line, drop=("x",), slope=Field(0.5, FRACTION, ""))
    assert make() == {"slope": 0.5}
    assert set(bounds_of(make)) == {"slope"}


@pytest.mark.parametrize("bound", [Between(0), Between(-0.1, 1), Between(0, 1.5)])
def test_a_choice_never_widens_a_bound(bound):
    with pytest.raises(ValueError, match=r"slope must stay in \[0, 1\], which .* is not"):
        Choice(line, slope=bound)
    assert bounds_of(narrowed(line, {"slope": bound}))["slope"].bound == FRACTION
    narrow = Between(0.1, 0.9)
    assert bounds_of(narrowed(line, {"slope": narrow}))["slope"].bound == narrow


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        (Count(1, 8), Count(1), True),
        (Count(0), Count(1), False),
        (FRACTION, Between(0), True),
        (FRACTION, POSITIVE, False),
        (OneOf("a"), OneOf("a", "b"), True),
        (OneOf("a", "c"), OneOf("a", "b"), False),
        (Each(Count(1, 3), least=1), Each(Count()), True),
        (Each(Count(0)), Each(Count()), False),
    ],
)
def test_bounds_within_others(inner, outer, expected):
    assert is_within(inner, outer) is expected


def test_the_page_of_the_site_has_fields_choices_and_their_arguments_as_tables():
    path = Path(__file__).parents[3] / "docs" / "_extensions" / "config_fields.py"
    text = runpy.run_path(str(path))["page"]()
    assert "| `training.steps` | `1000` | int >= 1 | Updates of the parameters. |" in text
    for row in text.splitlines():
        assert not row.startswith("|") or row.replace("\\|", "").count("|") == 5, row
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(example, {})
