"""Every field of every kind of config has a bound, and a value outside it is an error that names the field."""

import math

import pytest
from ml_collections import ConfigDict
from programs import changed, error_of
from small_configs import SECTIONS

from experiments import data
from experiments.cli.choices import Choices
from experiments.cli.config_help import REQUIRED
from experiments.cli.fields import Limited, Section, typed
from experiments.configs import base
from experiments.tasks.diffusion import task as diffusion
from scorekit.arguments import Bound


def types_of(config, path=""):
    """The type of every field that is not a section."""
    for name in config:
        if isinstance(config[name], ConfigDict):
            yield from types_of(config[name], f"{path}{name}.")
        else:
            yield f"{path}{name}", config.get_type(name)


def chosen(section, config):
    """The config with every choice of every table, one after the other: one config, changed in place."""
    yield
    for name, one in section.items():
        if isinstance(one, Section):
            yield from chosen(one, config[name])
        elif isinstance(one, Choices) and not one.several:
            before = config[name].name
            for config[name].name in one.table:
                inner = {key: argument.table for key, argument in one.arguments(config[name].name).items()}
                yield from chosen(inner, config[name])
            config[name].name = before


def limits_of(section) -> dict[tuple, Limited]:
    """What every field may be, for every choice."""
    config = section.defaults()
    return {(one.path, typed(one.allowed)): one for _ in chosen(section, config) for one in section.limits(config)}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_raises_outside_its_bound_and_names_itself(name):
    limits = limits_of(SECTIONS[name])
    tried = 0
    for limit in limits.values():
        assert isinstance(limit.allowed, Bound) or limit.allowed is bool, limit
        for value in limit.allowed.outside() if isinstance(limit.allowed, Bound) else (None,):
            if not (limit.optional and value is None):
                message = error_of(limit._replace(value=value).check)
                assert message.startswith(f"config.{limit.path}="), (limit, value)
                tried += 1
        for value in limit.allowed.inside() if isinstance(limit.allowed, Bound) else (True, False):
            limit._replace(value=value).check()
    assert tried > len(limits)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_the_config_has_a_bound_and_the_type_of_it(name):
    section = SECTIONS[name]
    config = section.defaults()
    for _ in chosen(section, config):
        limits = section.limits(config)
        assert dict(types_of(config)) == {one.path: getattr(one.allowed, "kind", one.allowed) for one in limits}
    section.check(section.defaults())


@pytest.mark.parametrize("name", SECTIONS)
def test_the_default_of_every_argument_is_within_its_bound(name):
    limits = limits_of(SECTIONS[name])
    for argument in (a for row in SECTIONS[name].rows() for choice in row.choices for a in choice.arguments):
        if argument.default not in (REQUIRED, None, math.inf):
            limits[argument.path, argument.allowed]._replace(value=argument.default).check()


def test_an_unset_field_without_a_default_of_none_raises():
    of_data = f"must be one of {', '.join(data.KINDS)}"
    for field, words in (("data.name", of_data), ("training.keep", "must be an integer from 1 to 2147483647")):
        assert error_of(diffusion.check_fields, changed(base, f"{field}=None")) == f"config.{field}=None: {words}"
    diffusion.check_fields(changed(base, "training.clip_norm=None"))  # no clipping


def test_only_the_chosen_one_says_what_its_arguments_may_be():
    config = changed(base, "sampling.solver.name=dpmpp_2m_sde", "sampling.solver.eta=1.5")
    diffusion.check_fields(config)
    config.sampling.solver.name = "ancestral"
    words = "eta=1.5: must be in [0, 1] for sampling.solver.name=ancestral"
    assert words in error_of(diffusion.check_fields, config)
