"""Metrics, scores and tests of typicality do not answer data that are not finite: concrete an error, traced NaN."""

import re

import jax
import numpy as np
import pytest
from valid_calls import rows
from valid_calls.kinds import Data

from scorekit import metrics, typicality

OF_DENOISERS = ("local_typicality", "score_norms", "reconstruction_errors", "path_statistics", "score_curvature")
ROWS = {
    name: row
    for name, row in rows().items()
    if name.startswith(("metrics.", "typicality."))
    and any(isinstance(argument, Data) for argument in row.arguments.values())
    and name.removeprefix("typicality.") not in (*OF_DENOISERS, "seek_mode", "code_length")
}
ON_THE_HOST = {
    "metrics.feature_statistics",
    "metrics.fid",
    "metrics.inception_score",
    "metrics.kid",
    "metrics.fit_linear_probe",
    "metrics.probe_accuracy",
    "metrics.fit_reference_classifier",
    "metrics.class_accuracy",
    "metrics.classification_accuracy_score",
    "metrics.posterior_ranks",
    "metrics.interval_coverage",
    "metrics.expected_coverage",
    "metrics.tarp",
    "metrics.tarp/references",
    "metrics.coverage_test",
    "metrics.two_sample_test",
}
INFINITE_IS_ALLOWED = {
    ("metrics.expected_coverage", "log_density_samples"),
    ("metrics.expected_coverage", "log_density_truth"),
    ("typicality.excess_information", "log_density"),
    ("typicality.typical_set", "log_density"),
    ("typicality.typicality_test", "log_density"),
    ("typicality.p_values", "calibration"),
    ("typicality.p_values", "scores"),
}
PER_EXAMPLE = {
    ("typicality.excess_information", "log_density"),
    ("typicality.typical_set", "log_density"),
    ("typicality.typicality_test", "log_density"),
    ("typicality.p_values", "scores"),
    *((name, "statistics") for name in ROWS if "calibration" in ROWS[name].arguments),
}


def hostile(name):
    """The valid data, and every argument in turn with one value that it does not allow."""
    row = ROWS[name]
    data = {k: v.value for k, v in row.arguments.items() if isinstance(v, Data) and v.value.dtype != np.uint8}
    cases = []
    for argument in data:
        for value in (np.nan,) if (name, argument) in INFINITE_IS_ALLOWED else (np.nan, np.inf, -np.inf):
            x = np.array(data[argument], np.float32)
            x.reshape(-1)[0] = value
            cases.append((argument, data | {argument: x}))
    return data, cases


@pytest.mark.parametrize("name", sorted(ROWS))
def test_concrete_values_that_are_not_finite_raise(name):
    row = ROWS[name]
    for argument, arrays in hostile(name)[1]:
        names = "|".join(re.escape(n) for n in (argument, row.arguments[argument].alias) if n)
        with pytest.raises(ValueError, match=rf"(?<!\w)({names})(?!\w)"):
            row(**arrays)


@pytest.mark.parametrize("name", sorted(ROWS.keys() - ON_THE_HOST))
def test_traced_values_that_are_not_finite_give_nan(name):
    row = ROWS[name]
    data, cases = hostile(name)
    is_test = lambda found: isinstance(found, typicality.TypicalityTest)
    answer = lambda found: (found.p_value, found.rejected) if is_test(found) else found
    program = jax.jit(lambda arrays: answer(row(**arrays)))
    wrong = lambda leaf: np.isnan(leaf) if leaf.dtype != bool else leaf == ("test" in name)  # rejected, not a member
    for argument, arrays in cases:
        for leaf in map(np.asarray, jax.tree.leaves(program(arrays))):
            found = leaf[:1] if (name, argument) in PER_EXAMPLE else leaf
            assert wrong(found).all(), (argument, leaf)
    for leaf in jax.tree.leaves(program(data)):
        assert np.isfinite(leaf).all()


FEATURES = np.random.default_rng(0).normal(size=(20, 3))


def test_traced_features_whose_squares_overflow_give_nan():
    found = jax.jit(metrics.precision_recall)(FEATURES, np.float32(1e30) * FEATURES.astype(np.float32))
    assert np.isnan(found).all()


def test_a_covariance_in_float32_of_few_examples_is_no_indefinite_one():
    few = metrics.feature_statistics(np.random.default_rng(0).normal(size=(9, 64)))
    rounded = few._replace(covariance=few.covariance.astype(np.float32))
    assert np.linalg.eigvalsh(rounded.covariance.astype(np.float64))[0] < 0
    assert abs(metrics.fid(rounded, few)) < 1e-3


def test_infinite_log_densities_are_ordered_and_rejected():
    x = np.array([np.inf, 0.0, -np.inf], np.float32)
    scores = np.array([0.0, 2.0, 1.0, 4.0], np.float32)
    p = typicality.p_values(scores, x)
    np.testing.assert_allclose(p, [0.2, 1.0, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(typicality.typical_set(x, 0.0, 1.0), [False, True, False])
    found = typicality.typicality_test(jax.random.key(0), -1.0, scores, x[:, None], num_resamples=19)
    np.testing.assert_array_equal(np.asarray(found.rejected)[[0, 2]], True)


@pytest.mark.parametrize("name", ["auroc", "aupr", "fpr_at_tpr"])
def test_detection_metrics_keep_double_precision(name):
    with jax.enable_x64(True):
        row = ROWS[f"metrics.{name}"]
        found = row()
    assert found.dtype == np.float64
