"""Every field of every kind of config has a bound, and a value outside it is an error that names the field."""

import math

import pytest
from ml_collections import ConfigDict

from experiments.cli.config import ConfigError, leaves
from experiments.cli.config_help import REQUIRED
from experiments.cli.fields import Choices, Limited, Section, typed
from experiments.configs import base
from experiments.configs.ood import ood_digits
from experiments.tasks import TASKS
from experiments.training import students
from scorekit.arguments import Bound

SECTIONS = {
    **{name: task.fields() for name, task in TASKS.items()},
    "ood": ood_digits.FIELDS,
    **{method: Section(distillation=section) for method, section in students.SECTIONS.items()},
}


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
                yield
            config[name].name = before


def limits_of(section) -> dict[tuple, Limited]:
    """What every field may be, for every choice."""
    config = section.defaults()
    return {(one.path, str(one.allowed)): one for _ in chosen(section, config) for one in section.limits(config)}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_raises_outside_its_bound_and_names_itself(name):
    limits = limits_of(SECTIONS[name])
    tried = 0
    for limit in limits.values():
        assert isinstance(limit.allowed, Bound) or limit.allowed is bool, limit
        for value in limit.allowed.outside() if isinstance(limit.allowed, Bound) else (None,):
            if not (limit.optional and value is None):
                with pytest.raises(ConfigError) as caught:
                    limit._replace(value=value).check()
                assert str(caught.value).startswith(f"config.{limit.path}="), (limit, value)
                assert "\n" not in str(caught.value)
                tried += 1
        for value in limit.allowed.inside() if isinstance(limit.allowed, Bound) else (True, False):
            limit._replace(value=value).check()
    assert tried > len(limits)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_the_config_has_a_bound_and_the_type_of_it(name):
    section = SECTIONS[name]
    kinds = dict(types_of(section.defaults()))
    bounds = {limit.path: limit.allowed for limit in limits_of(section).values()}
    assert set(kinds) - set(bounds) == set()
    for path, allowed in bounds.items():
        assert kinds[path] is getattr(allowed, "kind", allowed), path
    section.check(section.defaults())


@pytest.mark.parametrize("name", SECTIONS)
def test_the_default_of_every_argument_is_within_its_bound(name):
    limits = {(one.path, typed(one.allowed)): one for one in limits_of(SECTIONS[name]).values()}
    for argument in (a for row in SECTIONS[name].rows() for choice in row.choices for a in choice.arguments):
        if argument.default not in (REQUIRED, None, math.inf):
            limits[argument.path, argument.allowed]._replace(value=argument.default).check()


@pytest.mark.parametrize("name", ["diffusion", "sequence", "matching"])
def test_the_check_of_a_config_reaches_every_field(name):
    section = SECTIONS[name]
    config = section.defaults()
    found = {path for path, _ in leaves(config)}
    reached = {limit.path for limit in limits_of(section).values()}
    assert found == reached
    for limit in list(section.limits(config)):
        *holders, last = limit.path.split(".")
        holder = config
        for part in holders:
            holder = holder[part]
        before, kind = holder[last], holder.get_type(last)
        wrong = [v for v in getattr(limit.allowed, "outside", tuple)() if type(v) is kind]
        for value in wrong[:1]:
            holder[last] = value
            with pytest.raises(ConfigError, match=f"^config.{limit.path}="):
                section.check_values(config)
            holder[last] = before


def test_an_unset_field_without_a_default_of_none_raises():
    config = base.get_config()
    config.data.name = None
    with pytest.raises(ConfigError, match=r"config.data.name=None: must be set"):
        base.check_fields(config)
    config = base.get_config()
    config.training.steps = None
    with pytest.raises(ConfigError, match=r"config.training.steps=None: must be an integer from 1 to 2147483647"):
        base.check_fields(config)
    config = base.get_config()
    config.training.clip_norm = None  # no clipping
    base.check_fields(config)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "sampling.solver.name",
            "huen",
            r"solver.name=huen: must be one of .* \(did you mean heun\?\)",
        ),
        ("training.parallel", "jif", r"parallel=jif: must be one of jit, pmap \(did you mean jit\?\)"),
        ("training.steps", 10**400, "config.training.steps=10* ... 0*: must be an integer from 1 to 2147483647$"),
        (
            "network.channels",
            2**16 + 1,
            "channels=65537: must be an integer from 1 to 65536 for network.name=unet$",
        ),
        ("training.betas", (0.9, math.inf), r"must be a sequence of at least 2, each in \[0, 1\)$"),
        ("rules.cfg_zero_star.zero_above", math.inf, r"config.rules.cfg_zero_star.zero_above=inf: must be finite"),
    ],
)
def test_errors_say_what_is_allowed(path, value, message):
    config = base.get_config()
    config.update_from_flattened_dict({path: value})
    with pytest.raises(ConfigError, match=message):
        base.check_fields(config)


def test_only_the_chosen_one_says_what_its_arguments_may_be():
    config = base.get_config()
    config.sampling.solver.update(name="dpmpp_2m_sde", eta=1.5)
    base.check_fields(config)
    config.sampling.solver.name = "ancestral"
    with pytest.raises(ConfigError, match=r"eta=1.5: must be in \[0, 1\] for sampling.solver.name=ancestral"):
        base.check_fields(config)
