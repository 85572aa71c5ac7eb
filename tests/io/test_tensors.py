"""Foreign tensors: layouts, and errors that name the tensor."""

import numpy as np
import pytest

from scorekit.io.tensors import Tensors, check_params

RNG = np.random.default_rng(0)


def test_layouts_are_those_of_flax():
    window, matrix, pointwise = RNG.normal(size=(5, 3, 2, 4)), RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3, 1, 1))
    found = Tensors({"c.weight": window, "d.weight": matrix, "d.bias": np.arange(5.0), "p.weight": pointwise})
    conv, dense = found.under("c").conv(), found.under("d").dense(lambda a: a[::-1])
    assert conv["kernel"][1, 2, 0, 4] == np.float32(window[4, 0, 1, 2])
    assert conv.keys() == {"kernel"}
    np.testing.assert_array_equal(dense["kernel"][:, 0], matrix[4].astype(np.float32))
    np.testing.assert_array_equal(dense["bias"], np.arange(5.0, dtype=np.float32)[::-1])
    assert found.under("p").dense()["kernel"].shape == (3, 5)
    found.check_all_taken()


def test_integers_keep_their_dtype_and_the_rest_is_float32():
    found = Tensors({"i": np.arange(2), "h": np.ones(2, np.float16)})
    assert np.issubdtype(found.take("i").dtype, np.integer)
    assert found.take("h").dtype == np.float32


def test_missing_and_unused_tensors_are_named():
    found = Tensors({"a.weight": np.ones((2, 2)), "b.weight": np.ones(1)}, "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors has no tensor 'b.bias'"):
        found.under("b").norm()
    with pytest.raises(ValueError, match=r"does not use: a.weight$"):
        found.check_all_taken()
    assert list(found.under("a")) == ["weight"]
    found.under("a").dense()
    found.check_all_taken()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, r"\['w'\] is missing"),
        ({"w": np.ones(2), "v": np.ones(1)}, r"\['v'\] is not one of the network"),
        ({"w": np.ones(3)}, r"\['w'\] must have shape \(2,\), got \(3,\)"),
    ],
)
def test_parameters_that_do_not_fit_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        check_params(params, {"w": np.ones(2)})
