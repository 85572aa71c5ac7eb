"""Every public function answers every hostile argument with an error that names it, or with a documented result.

What a bound in an annotation allows is tried just outside, where the error comes before anything else of the function
runs, and just inside, where the answer must be finite; rows are needed for arrays and for functions that need some.
"""

import inspect
import re

import jax
import numpy as np
import pytest

from experiments.benchmarks.faults import library
from experiments.benchmarks.faults.calls import Call, attacks, attempt
from scorekit import discrete
from scorekit.arguments import bounds_of

ROWS, EXEMPT = library.tables()
NAMES = library.public_names()
BOUNDED = {
    name: bounds
    for name, thing in NAMES.items()
    if not (inspect.isclass(thing) and thing.__init__ is object.__init__) and (bounds := bounds_of(thing))
}


@pytest.mark.parametrize("name", sorted(BOUNDED))
def test_values_outside_the_bounds_are_named(name):
    for argument, bounded in BOUNDED[name].items():
        for value in bounded.bound.outside():
            if not (value is None and bounded.optional):
                with pytest.raises(ValueError, match=rf"^{argument} must be {re.escape(str(bounded.bound))}, got"):
                    NAMES[name](**{argument: value})


def test_defaults_are_within_the_bounds():
    for name, bounds in BOUNDED.items():
        for argument, bounded in bounds.items():
            default = inspect.signature(NAMES[name]).parameters[argument].default
            if default is not inspect.Parameter.empty:
                bounded.check(f"{name}: {argument}", default)


def valid_call(name):
    """The row of a function, or a call with values inside its bounds; None where it needs more than that."""
    required = [key for key, each in inspect.signature(NAMES[name]).parameters.items() if each.default is each.empty]
    if name not in ROWS and all(key in BOUNDED[name] for key in required):
        return Call(NAMES[name], {key: BOUNDED[name][key].bound.inside()[0] for key in required})
    return ROWS.get(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name in BOUNDED if valid_call(name) is not None))
def test_values_inside_the_bounds_give_finite_answers(name):
    """Or an error of a relation, as between the ends of an interval, which is never an error of the bound."""
    row, errors = valid_call(name), []
    for argument, bounded in BOUNDED[name].items():
        for value in bounded.bound.inside():
            try:
                answer = row.function(**{**row.plain(), argument: value})
            except (ValueError, RuntimeError) as error:
                errors.append(str(error))
                continue
            leaves = [leaf for leaf in jax.tree.leaves(answer) if isinstance(leaf, jax.Array | np.ndarray | float)]
            holds_defaults = inspect.isclass(NAMES[name])  # such as no upper limit
            assert holds_defaults or all(np.all(np.isfinite(leaf)) for leaf in leaves), f"{argument} = {value}"
        assert not any(f"{argument} must be {bounded.bound}, got" in error for error in errors)


def wrong(row, chosen):
    """The attacks that are answered in silence or by an error that does not name the argument."""
    outcomes = {f"{a.argument}: {a.name}": attempt(row, a) for a in chosen}
    found = {attack: outcome for attack, outcome in outcomes.items() if outcome.verdict in ("silent", "obscure")}
    return "\n".join(f"{attack}: {outcome.verdict}: {outcome.text}" for attack, outcome in found.items())


def may_be_answered(row, attack):
    return attack.name in {"nan", "inf", *row.arguments[attack.argument].documented}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_hostile_arguments_are_named(name):
    """Those that must raise an error, which costs no compilation."""
    row = ROWS[name]
    assert wrong(row, (a for a in attacks(row) if not may_be_answered(row, a))) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_other_hostile_arguments_are_named_or_documented(name):
    row = ROWS[name]
    row.function(**row.plain())  # the valid call works, else every attack would fail for its reason
    assert wrong(row, (a for a in attacks(row) if may_be_answered(row, a))) == ""


WRONG = {
    "schedule": discrete.absorbing(4),
    "denoiser": lambda x, *times: jax.tree.map(lambda leaf: 0.0 * leaf, x),
}
"""A process of tokens, which holds a schedule, and a network, which predicts an array."""
UNREAD = {"denoisers.condition_on_log_snr", "flow_maps.two_times", "times.draw"}
"""Rows that read the schedule later or for other choices than theirs."""


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, arg) for name in sorted(ROWS.keys() - UNREAD) for arg in WRONG if arg in ROWS[name].arguments],
)
def test_what_is_no_schedule_and_no_denoiser_is_named(name, argument):
    row = ROWS[name]
    with pytest.raises(ValueError, match=rf"^{argument} must"):
        row.function(**{**row.plain(), argument: WRONG[argument]})


def test_every_public_function_has_a_row_or_a_reason():
    rows = {name.partition("/")[0] for name in ROWS}
    needs_more = lambda name: any(
        each.default is each.empty and key not in BOUNDED.get(name, ())
        for key, each in inspect.signature(NAMES[name]).parameters.items()
    )
    takes_nothing = {name for name in NAMES if not inspect.signature(NAMES[name]).parameters}
    bounded = takes_nothing | {name for name in BOUNDED if not needs_more(name)}
    assert sorted(NAMES.keys() - rows - EXEMPT.keys() - bounded) == []
    assert sorted((rows | EXEMPT.keys()) - NAMES.keys()) == [], "rows of functions that do not exist"
    assert sorted(rows & EXEMPT.keys()) == []
