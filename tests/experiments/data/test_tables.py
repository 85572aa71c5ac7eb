"""A user's own table as a data set: columns, conditions, standardisation, and what is wrong with a file."""

import csv
import re

import numpy as np
import pytest
from programs import given, run

from experiments.data.vectors.columns import read_columns
from experiments.data.vectors.tables import Columns, Table

NAMES = ("a", "b", "c", "place")
ROWS = np.random.default_rng(0).standard_normal((60, 3)) * [1, 20, 1e4] + [0, 5, 1e6]
HELD_OUT = np.linspace(0, 59, 6).round().astype(int)
KEPT = np.delete(np.arange(60), HELD_OUT)


def write(path, rows=ROWS, names=NAMES):
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([names, *([*row, "in, town"] for row in rows)])
    return path


def load(path, **arguments):
    return Table(path=str(path), **arguments)


def test_years_and_times_keep_their_differences_and_the_ends_of_their_bounds(tmp_path):
    year, seconds = np.linspace(2000, 2020, 60), 1.7e9 + 100 * ROWS[:, 0]
    rows = np.stack([year, seconds, ROWS[:, 2]], axis=1)
    dataset = load(write(tmp_path / "t.csv", rows), x="a,b", bounds="2000:2020,:")
    expected = (seconds[KEPT] - seconds[KEPT].mean()) / seconds[KEPT].std()
    np.testing.assert_allclose(dataset.train["x"][:, 1], expected, atol=1e-5)
    assert np.isfinite(dataset.test["x"]).all()


def test_columns_are_standardised_by_the_training_set_and_samples_have_their_units(tmp_path):
    dataset = load(write(tmp_path / "t.csv"), x="c,a")
    assert (dataset.columns, dataset.shape, dataset.examples, len(dataset.test["x"])) == (("c", "a"), (2,), 54, 6)
    x = np.asarray(dataset.from_model(dataset.train["x"]))
    np.testing.assert_allclose(dataset.train["x"].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.train["x"].std(axis=0), 1, atol=1e-5)
    kept = ROWS[KEPT]
    np.testing.assert_allclose(x, kept[:, [2, 0]], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dataset.as_batch(x)["x"], dataset.train["x"], atol=1e-4)
    real = dataset.scorer().real
    assert dataset.scorer().samples(x, None)["energy distance"] == pytest.approx(real["energy distance"], abs=1e-4)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_conditions_are_the_other_columns(tmp_path, suffix):
    path = write(tmp_path / "t.csv")
    if suffix == "npz":
        path = tmp_path / "t.npz"
        np.savez(path, a=ROWS[:, 0], bc=ROWS[:, 1:])
    dataset = load(path, x="a", condition="b,c" if suffix == "csv" else "bc")
    kept = ROWS[KEPT]
    batch = dataset.batch(0, 0, 54)
    rows = np.abs(kept[:, 0] - np.asarray(dataset.from_model(batch["x"]))).argmin(axis=1)
    assert sorted(rows) == list(range(54))
    expected = (kept[:, 1:] - kept[:, 1:].mean(axis=0)) / kept[:, 1:].std(axis=0)
    np.testing.assert_allclose(Columns()(batch), expected[rows], atol=1e-4)
    shown = dataset.shown_conditions(np.zeros(6, np.int32))["condition"]
    np.testing.assert_allclose(shown, ROWS[HELD_OUT, 1:], rtol=1e-5, atol=1e-5)


ARRAY, COLUMN = [{"tokens": "set"}, {"map": "sequence"}], [{"vector": "columns"}]


@pytest.mark.parametrize(
    ("condition", "kind", "fitting"),
    [
        (None, None, [{}]),
        ("vector", "columns", COLUMN),
        ("vector,matrix", "columns", COLUMN),
        ("array", "array", ARRAY),
        ("masked", "array", ARRAY),
    ],
)
def test_a_condition_is_read_by_one_condition_of_its_kind(tmp_path, condition, kind, fitting):
    rng = np.random.default_rng(0)
    shapes = {"a": (60,), "vector": (60,), "matrix": (60, 3), "array": (60, 4, 2), "masked": (60, 4)}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    np.savez(tmp_path / "t.npz", **arrays, masked_mask=rng.integers(0, 2, (60, 4)))
    dataset = load(tmp_path / "t.npz", x="a", condition=condition)
    assert dataset.condition_kind == kind
    with pytest.raises(ValueError, match="vector,array: must be columns, or the name of one array, as array"):
        load(tmp_path / "t.npz", x="a", condition="vector,array")
    for chosen in [{}, *COLUMN, *ARRAY, {"tokens": "set", "map": "sequence"}]:
        if chosen in fitting:
            dataset.check_conditions({"vector": "moments", **chosen})
        else:
            with pytest.raises(ValueError, match=rf"config.conditions: must have .* of kind {str(kind).lower()}, got"):
                dataset.check_conditions(chosen)


def spoiled(row, column, value):
    rows = ROWS.astype(object)
    rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "fields", "words"),
    [
        (spoiled(7, 1, "nan"), {"x": "a,b"}, "row 8, column b: must be a finite number, got 'nan'"),
        (spoiled(7, 2, "1_000"), {"x": "c"}, "row 8, column c: must be a finite number, got '1_000'"),
        (ROWS, {"x": "a,b", "bounds": "1_0:2_0"}, "config.data.bounds=1_0:2_0: must be 2 pairs such as 0:1"),
        (ROWS, {"x": "a", "validation": 1e-4}, "config.data.validation=0.0001: must be two of 60 rows at least"),
        (spoiled(7, 2, ""), {"x": "c"}, "row 8, column c: must be a finite number, got ''"),
        (ROWS, {"x": "a,place"}, "row 1, column place: must be a finite number, got 'in, town'"),
        (ROWS, {"x": "a,d"}, "config.data.x=a,d: must be some of the columns a, b, c, place, each once"),
        (ROWS, {"x": "a,a"}, "config.data.x=a,a: must be some of the columns a, b, c, place, each once"),
        (ROWS, {"x": "a", "bounds": "1:0"}, "config.data.bounds=1:0: must be 1 pairs such as"),
        (
            np.sort(ROWS, 0),
            {"x": "a,b", "bounds": "-1:,:"},
            "row 1, column a: must be within its bounds -1 to inf",
        ),
        (spoiled(slice(None), [0, 2], 3.0), {"x": "a,b,c"}, "the same in all training rows must be left out, got a, c"),
        (ROWS * [1, 1e200, 1], {"x": "a,b"}, "column b: must have a standard deviation from 1e-30 to 1e+30, got inf"),
        (ROWS * [1, 1e-300, 1], {"x": "a,b"}, "column b: must have a standard deviation from 1e-30 to 1e+30, got 0;"),
        (ROWS[:9], {"x": "a"}, "there must be at least 20 rows, there are 9"),
        (ROWS, {"condition": "a,b,c,place"}, "config.data.condition=a,b,c,place: must be a part of the columns"),
    ],
)
def test_what_is_wrong_names_the_row_and_the_column(tmp_path, rows, fields, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        load(write(tmp_path / "t.csv", rows), **fields)


@pytest.mark.parametrize("name", ["none.csv", "none.npz", "t.txt", "a\0.csv"])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, name):
    with pytest.raises(ValueError, match=rf"^config\.data\.path={re.escape(str(tmp_path / name))}: .*$"):
        load(tmp_path / name)


@pytest.mark.slow
def test_a_table_is_learned_given_a_condition_in_the_units_of_the_file(tmp_path):
    rng = np.random.default_rng(1)
    c = rng.uniform(0, 1, 2000)
    rows = np.stack([300 + 100 * c + rng.standard_normal(2000), rng.standard_normal(2000), c], axis=1)
    fields = f"""
        data.path={write(tmp_path / "t.csv", rows)} data.x=a,b data.condition=c conditions.vector.name=columns
        network.features=32 training.steps=600 training.sample_every=100000 training.learning_rate=5e-3
        sampling.batch_size=200 evaluation.num_samples=200 evaluation.bound_times=2
    """
    code, _, err = run("train", *given("points/table", fields), f"--workdir={tmp_path / 'run'}")
    assert code == 0, err
    code, _, err = run("sample", f"--workdir={tmp_path / 'run'}", "--num=200")
    assert code == 0, err
    with np.load(tmp_path / "run" / "samples" / "sample.npz") as file:
        x, condition, columns = file["x"], file["condition"], file["columns"]
    written = read_columns(tmp_path / "run" / "samples" / "sample.csv")
    assert (columns.tolist(), [*written]) == (["a", "b"], ["a", "b", "c"])
    np.testing.assert_array_equal(np.stack([*written.values()], 1).astype(np.float32)[:, :2], x)
    held_out = rows[np.linspace(0, 1999, 200).round().astype(int)]
    assert abs(np.corrcoef(x[:, 0], held_out[:, 0])[0, 1]) > 0.9  # the condition of each sample is that of its row
    np.testing.assert_allclose(condition, held_out[:, 2:], atol=1e-5)
    assert abs(x[:, 0].mean() - held_out[:, 0].mean()) < 5
