"""Every numeric field of every kind of config has a range, and a value outside it is an error that names the field."""

import math

import pytest
from ml_collections import ConfigDict

from experiments.cli.config import ConfigError, leaves
from experiments.cli.ranges import Free, Items, above, at_least, between, check_fields_and_ranges, count, finite, items
from experiments.configs import base, base_classifier, base_contrastive, base_latent, base_sequence, base_transcriber
from experiments.configs.ood import ood_digits
from experiments.training import students

KINDS = (base, base_classifier, base_contrastive, base_latent, base_sequence, base_transcriber, ood_digits)
CONFIGS = {kind.__name__.split(".")[-1]: kind for kind in KINDS}
NUMBERS = (int, float, tuple)


def check(name, config):
    kind = CONFIGS[name]
    check_fields_and_ranges(config, kind.get_config(), kind.ranges())


def types_of(config, path=""):
    """The type of every field that is not a section."""
    for name in config:
        if isinstance(config[name], ConfigDict):
            yield from types_of(config[name], f"{path}{name}.")
        else:
            yield f"{path}{name}", config.get_type(name)


def numeric_fields(config):
    """The fields that hold numbers or lists of them; lists of names have a name as default."""
    values = dict(leaves(config))
    names = [
        field for field, value in values.items() if isinstance(value, tuple) and any(isinstance(x, str) for x in value)
    ]
    return {field: kind for field, kind in types_of(config) if kind in NUMBERS and field not in names}


def outside(allowed):
    """Values just outside a range, NaN and infinities; for an integer, whatever else its type lets through."""
    if isinstance(allowed, Items):
        short = [()] if allowed.least else []
        return short + [(inside(allowed.each), value) for value in outside(allowed.each)]
    found = [] if allowed.integer else [math.nan, math.inf, -math.inf]
    if math.isfinite(allowed.low):
        below = allowed.low - 1 if allowed.integer else math.nextafter(allowed.low, -math.inf)
        found.append(allowed.low if allowed.open_low else below)
    if math.isfinite(allowed.high):
        beyond = allowed.high + 1 if allowed.integer else math.nextafter(allowed.high, math.inf)
        found.append(allowed.high if allowed.open_high else beyond)
    return found


def inside(allowed):
    """A value at the lower end of a range."""
    low = allowed.low if math.isfinite(allowed.low) else 0.0
    return math.nextafter(low, math.inf) if allowed.open_low else low


def at(config, field):
    """The section of a field, and its own name."""
    *sections, name = field.split(".")
    for section in sections:
        config = config[section]
    return config, name


@pytest.mark.parametrize("name", CONFIGS)
def test_every_numeric_field_raises_outside_its_range_and_names_itself(name):
    defaults, ranges = CONFIGS[name].get_config(), CONFIGS[name].ranges()
    fields = numeric_fields(defaults)
    assert len(fields) > 20
    assert set(fields) - set(ranges) == set()
    check(name, defaults)
    tried = 0
    for field in fields:
        section, last = at(defaults, field)
        before = section[last]
        for value in outside(ranges[field]):
            section[last] = value
            with pytest.raises(ConfigError) as caught:
                check(name, defaults)
            assert str(caught.value).startswith(f"config.{field}="), (field, value)
            assert "\n" not in str(caught.value)
            tried += 1
        section[last] = before
    check(name, defaults)
    assert tried > 2 * len(fields)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_field_without_a_range_is_found(name):
    defaults = CONFIGS[name].get_config()
    with defaults.unlocked():
        defaults.new_number = 1.0
    assert set(numeric_fields(defaults)) - set(CONFIGS[name].ranges()) == {"new_number"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_field_of_integers_takes_integers(name):
    """A command line makes a number of what it is given by the type of the field."""
    defaults, ranges = CONFIGS[name].get_config(), CONFIGS[name].ranges()
    integers = {field for field, allowed in ranges.items() if getattr(allowed, "integer", False)}
    assert {field for field, kind in numeric_fields(defaults).items() if field in integers and kind is not int} == set()


@pytest.mark.parametrize("method", students.SECTIONS)
def test_every_field_of_a_distillation_raises_outside_its_range(method):
    options = students.SECTIONS[method]()
    students.check(options)
    numeric = numeric_fields(options)
    assert set(numeric) <= set(students.RANGES)
    for field, allowed in students.RANGES.items():
        if field not in numeric or isinstance(allowed, Free):
            continue
        for value in outside(allowed):
            changed = students.SECTIONS[method]()
            changed.update_from_flattened_dict({field: value})
            with pytest.raises(ConfigError, match=rf"config.distillation.{field}="):
                students.check(changed)


def test_an_unset_field_without_a_default_of_none_raises():
    config = base.get_config()
    config.data.name = None
    with pytest.raises(ConfigError, match=r"config.data.name=None: must be set"):
        check("base", config)
    config = base.get_config()
    config.training.steps = None
    with pytest.raises(ConfigError, match=r"config.training.steps=None: must be at least 1"):
        check("base", config)
    config = base.get_config()
    config.training.clip_norm = None  # no clipping
    check("base", config)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (count(1, 8), "at least 1, at most 8 and an integer"),
        (above(0), "above 0 and finite"),
        (at_least(0), "at least 0 and finite"),
        (between(0, 1), "in [0, 1]"),
        (between(0, 1, open_high=True), "at least 0 and below 1"),
        (finite, "finite"),
        (items(between(0, 1), least=2), "a list of at least 2 numbers, each in [0, 1]"),
        (items(finite), "a list of numbers, each finite"),
    ],
)
def test_a_range_says_what_it_allows(allowed, words):
    assert str(allowed) == words


@pytest.mark.parametrize("value", [True, "1", 1.0, 2.5, None, 10**400])
def test_an_integer_range_holds_integers_of_its_bounds_only(value):
    assert not count(1, 8).allows(value)
    assert count(1, 8).allows(8)
    assert not items(count(1)).allows(3)
