"""No metric, score or test of typicality answers data that are not finite: concrete they raise, traced they give NaN."""

import re

import jax
import numpy as np
import pytest

from experiments.benchmarks.faults.calls import Data
from experiments.benchmarks.faults.library import metrics as metric_rows

ROWS = metric_rows.ROWS
ON_THE_HOST = {
    "metrics.fit_linear_probe",
    "metrics.probe_accuracy",
    "metrics.fit_reference_classifier",
    "metrics.class_accuracy",
    "metrics.classification_accuracy_score",
}


def with_one(row, name, value):
    x = np.array(row.arguments[name].value, np.float32)
    x.reshape(-1)[0] = value
    return x


@pytest.mark.parametrize("name", sorted(ROWS))
def test_values_that_are_not_finite_raise_or_give_nan(name):
    row = ROWS[name]
    data = [k for k, v in row.arguments.items() if isinstance(v, Data)]
    plain = row.plain()
    fixed = {k: v for k, v in plain.items() if k not in data}
    for argument in data:
        for value in (np.nan, np.inf, -np.inf):
            hostile = {**{k: plain[k] for k in data}, argument: with_one(row, argument, value)}
            with pytest.raises(ValueError, match=rf"(?<!\w){re.escape(argument)}(?!\w)"):
                row.function(**fixed, **hostile)
    if name in ON_THE_HOST:
        return
    program = jax.jit(lambda arrays: row.function(**fixed, **arrays))
    for argument in data:
        for value in (np.nan, np.inf, -np.inf):
            found = program({**{k: plain[k] for k in data}, argument: with_one(row, argument, value)})
            assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(found)), (argument, value, found)
    valid = program({k: plain[k] for k in data})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(valid))


@pytest.mark.parametrize("name", ["auroc", "aupr", "fpr_at_tpr"])
def test_detection_metrics_keep_double_precision(name):
    with jax.enable_x64(True):
        row = ROWS[f"metrics.{name}"]
        found = row.function(**row.plain())
    assert found.dtype == np.float64
