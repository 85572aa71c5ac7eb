"""Trees, checks and protocols: the vocabulary of the other packages."""

# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, Shaped, call
from scorekit import checks, trees

_TREE = {"a": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)}
_X = np.ones((2, 3), np.float32)
_ANY = dict.fromkeys(("shape", "empty", "integer", "nan"), "only shapes are read")

ROWS: dict[str, Call] = {
    "trees.batch_size": call(trees.batch_size, tree=Data(_TREE, _ANY)),
    "trees.batch_size/shapes": call(
        lambda x: trees.batch_size({"x": x, "y": np.ones(2)}), x=Data(_X, {**_ANY, "empty": ""})
    ),
    "trees.event_size": call(trees.event_size, tree=Data(_TREE, _ANY)),
    "trees.expand": call(trees.expand, coefficient=Data(np.ones(2, np.float32), {"integer": "any dtype"}), leaf=_X),
    "trees.combine": call(
        lambda coefficient, x, y: trees.combine((coefficient, x), (1.0, y)),
        coefficient=Data(np.ones(2, np.float32), {"integer": "any dtype"}),
        x=Data(_X, alias="terms"),
        y=Shaped(_X, alias="terms"),
    ),
    "trees.where": call(
        trees.where,
        condition=np.array([True, False]),
        on_true=Data(_X, {"integer": "the wider dtype"}),
        on_false=Shaped(_X),
    ),
    "trees.normal_like": call(
        trees.normal_like, key=jax.random.key(0), tree=Data(_X, {n: "any" for n in ("shape", "empty", "nan")})
    ),
    "trees.sum_per_example": call(
        lambda tree: trees.sum_per_example(jnp.square, tree),
        tree=Data(_X, {"shape": "any shape", "integer": "at least float32", "empty": "an empty batch"}),
    ),
}

EXEMPT = {
    "arguments.Between": "declares a bound",
    "arguments.Bound": "a base class",
    "arguments.Count": "declares a bound",
    "arguments.Each": "declares a bound",
    "arguments.OneOf": "declares a bound",
    "arguments.bounds_of": "takes functions",
    "arguments.checked": "takes functions",
    "trees.as_pytree": "takes a function",
    "trees.is_traced": "takes anything",
    "trees.pytree_dataclass": "takes a class",
    "trees.static": "takes what dataclasses.field takes",
    **{f"checks.{name}": "is itself the check" for name in checks.__all__},
    **{
        f"arguments.{name}": "is itself the check"
        for name in ("Between", "Bound", "Count", "Each", "OneOf", "bounds_of", "checked")
    },
    **{f"typing.{name}": "a protocol or a type" for name in ("Schedule", "Solver", "Prediction")},
}
