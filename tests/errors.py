"""Tests of errors, made from a table."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest


def raising(
    cases: Mapping[str, Any] | Iterable[tuple[str, Any]],
    run: Callable = lambda call: call(),
    error: type[Exception] | tuple[type[Exception], ...] = ValueError,
):
    """A test that ``run(case)`` raises an error with this message, a regular expression, for every case."""
    pairs = list(cases.items() if isinstance(cases, Mapping) else cases)
    assert pairs, "no cases"

    @pytest.mark.parametrize(("message", "case"), pairs, ids=[message for message, _ in pairs])
    def test(message, case):
        with pytest.raises(error, match=message):
            run(case)

    return test
