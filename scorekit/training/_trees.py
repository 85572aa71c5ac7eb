"""Train states as nested dictionaries, independent of the classes that held them, and their checksums."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from scorekit.typing import Array, PyTree

Nested = dict[str, Any]


def to_nested(tree: PyTree) -> Nested:
    """Nested dictionaries of the leaves by the names on their paths; PRNG keys become their key data."""
    return nest({names: _words(leaf) for names, leaf in named_leaves(tree)})


def from_nested(nested: Nested, like: PyTree) -> PyTree:
    """The inverse of :func:`to_nested`, given a tree (or its shapes) of the target structure."""

    def pick(names, leaf):
        value: Any = nested
        for name in names:
            value = value[name]
        if not _is_key(leaf):
            return value
        implementation = jax.random.key_impl(jnp.empty(leaf.shape, leaf.dtype))
        return jax.random.wrap_key_data(value, impl=implementation)

    leaves = [pick(names, leaf) for names, leaf in named_leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def nested_shapes(tree: PyTree) -> Nested:
    """Shape, dtype and sharding of every leaf, nested; the default sharding is the first local device."""
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def leaf(x):
        words = jax.eval_shape(_words, jax.ShapeDtypeStruct(x.shape, x.dtype))
        sharding = getattr(x, "sharding", None) or first
        return jax.ShapeDtypeStruct(words.shape, words.dtype, sharding=sharding)

    return nest({names: leaf(x) for names, x in named_leaves(tree)})


def differences(saved: Nested, wanted: Nested, place: str = "checkpoint") -> list[str]:
    """The differences that prevent restoring ``saved`` as ``wanted``, one sentence each."""
    there = {"/".join(names) or "(one array)": x for names, x in named_leaves(saved)}
    here = {"/".join(names) or "(one array)": x for names, x in named_leaves(wanted)}
    found = [f"{name} is not in the {place}" for name in here if name not in there]
    found += [f"{name} is only in the {place}" for name in there if name not in here]
    for name in here.keys() & there.keys():
        a, b = ((tuple(x.shape), jnp.dtype(x.dtype).name) for x in (there[name], here[name]))
        if a != b:
            found.append(f"{name} is {a[1]}{list(a[0])} in the {place} and {b[1]}{list(b[0])} here")
    return sorted(found)


@jax.jit
def checksums(nested: Nested) -> Nested:
    """A 32-bit checksum of each array that changes with any of its bits and not with the sharding."""

    def leaf(x: Array) -> Array:
        x = x.astype(jnp.uint8) if x.dtype == jnp.bool_ else x
        unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(x.dtype.itemsize, jnp.uint32)
        words = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32).ravel()
        odd = 2 * jax.lax.iota(jnp.uint32, words.size) + 1
        return jnp.sum(words * odd, dtype=jnp.uint32)

    return jax.tree.map(leaf, nested)


def named_leaves(tree: PyTree) -> list[tuple[tuple[str, ...], Any]]:
    """The leaves with the names on their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(tuple(jax.tree_util.keystr((k,), simple=True) for k in path), x) for path, x in leaves]


def nest(flat: Mapping[tuple[str, ...], Any]) -> Any:
    """Nested dictionaries of leaves by the names on their paths."""
    nested = {}
    for names, leaf in flat.items():
        if not names:  # the tree is one array
            return leaf
        node = nested
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = leaf
    return nested


def _is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _words(x):
    x = jnp.asarray(x)
    return jax.random.key_data(x) if _is_key(x) else x
