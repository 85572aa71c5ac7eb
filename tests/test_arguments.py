"""Every public function answers every hostile argument with an error that names it, or with a documented result."""

import pytest

from experiments.benchmarks.faults import library
from experiments.benchmarks.faults.calls import attacks, attempt

ROWS, EXEMPT = library.tables()
NAMES = library.public_names()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_hostile_arguments_are_named_or_documented(name):
    row = ROWS[name]
    row.function(**row.plain())  # the valid call works, else every attack would fail for its reason
    outcomes = {f"{a.argument}: {a.name}": attempt(row, a) for a in attacks(row)}
    wrong = {attack: outcome for attack, outcome in outcomes.items() if outcome.verdict in ("silent", "obscure")}
    assert not wrong, "\n".join(f"{attack}: {outcome.verdict}: {outcome.text}" for attack, outcome in wrong.items())


def test_every_public_function_has_a_row_or_a_reason():
    rows = {name.partition("/")[0] for name in ROWS}
    assert sorted(NAMES.keys() - rows - EXEMPT.keys()) == []
    assert sorted((rows | EXEMPT.keys()) - NAMES.keys()) == [], "rows of functions that do not exist"
    assert sorted(rows & EXEMPT.keys()) == []
