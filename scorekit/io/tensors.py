"""Foreign tensors by name: each is taken once, in the layout of Flax, and none may be missing or left over."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr

from scorekit.io._naming import check_none
from scorekit.typing import PyTree

__all__ = ["Tensors", "check_params"]

_MOST = 8  # names of tensors, or of parameters, in one error


class Tensors:
    """Tensors of a checkpoint of another code base, from which a converter takes what it knows.

    Args:
      named: arrays by their foreign name, in PyTorch's layouts.
      source: name of their origin in errors, such as the path of a file.
      prefix: prefix of the names that are taken from here, see :meth:`under`.

    >>> found = Tensors({"out.weight": np.ones((3, 2)), "out.bias": np.zeros(3)})
    >>> found.shape("out.weight"), found.under("out").dense()["kernel"].shape
    ((3, 2), (2, 3))
    >>> found.check_all_taken()
    >>> found.take("out.bias").shape, found.under("out").norm()["scale"].shape
    ((3,), (3, 2))
    >>> Tensors({"weight": np.ones((4, 2, 3, 3))}).conv()["kernel"].shape
    (3, 3, 2, 4)
    """

    def __init__(self, named: Mapping[str, Any], source: str = "the checkpoint", prefix: str = ""):
        self.source, self.prefix = source, prefix
        self._named, self._taken = named, set()

    def __contains__(self, name: object) -> bool:
        return f"{self.prefix}{name}" in self._named

    def __iter__(self) -> Iterator[str]:
        """The names below the prefix, without it."""
        return (name[len(self.prefix) :] for name in self._named if name.startswith(self.prefix))

    def under(self, name: str) -> "Tensors":
        """The tensors whose names start with ``name`` and a dot; what is taken from them counts as taken here.

        Args:
          name: name of a tensor, or of a part of the network, below the prefix.
        """
        inner = Tensors(self._named, self.source, f"{self.prefix}{name}.")
        inner._taken = self._taken
        return inner

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, in PyTorch's layout; the tensor is not taken.

        Args:
          name: name of a tensor, or of a part of the network, below the prefix.
        """
        if name not in self:
            raise ValueError(f"{self.source} has no tensor {self.prefix + name!r}")
        return tuple(self._named[self.prefix + name].shape)

    def take(self, name: str) -> np.ndarray:
        """A tensor in its own layout, float32 if it is floating.

        Args:
          name: name of a tensor, or of a part of the network, below the prefix.
        """
        self.shape(name)
        self._taken.add(self.prefix + name)
        array = np.asarray(self._named[self.prefix + name])
        return array if np.issubdtype(array.dtype, np.integer) else array.astype(np.float32)

    def dense(self, permute: Callable[[np.ndarray], np.ndarray] = lambda a: a) -> dict[str, np.ndarray]:
        """A dense layer ``(in, out)``: ``weight`` ``(out, in)``, or of a pointwise convolution ``(out, in, 1, ...)``.

        Args:
          permute: orders the leading axis (out) of both.
        """
        weight = permute(self.take("weight"))
        kernel = weight.reshape(weight.shape[:2]).T
        return {"kernel": kernel, **({"bias": permute(self.take("bias"))} if "bias" in self else {})}

    def conv(self) -> dict[str, np.ndarray]:
        """A convolution ``(*window, in, out)``: ``weight`` ``(out, in, *window)`` and, if there is one, ``bias``."""
        kernel = np.moveaxis(self.take("weight"), (0, 1), (-1, -2))
        return {"kernel": kernel, **({"bias": self.take("bias")} if "bias" in self else {})}

    def norm(self) -> dict[str, np.ndarray]:
        """A normalisation with parameters: ``weight`` and ``bias``."""
        return {"scale": self.take("weight"), "bias": self.take("bias")}

    def check_all_taken(self) -> None:
        """Raises a ``ValueError`` that names the first tensors that no one has taken."""
        left = [name for name in self._named if name.startswith(self.prefix) and name not in self._taken]
        if left:
            more = f" and {len(left) - _MOST} more" if len(left) > _MOST else ""
            raise ValueError(
                f"{self.source} has tensors that the network does not use: {', '.join(left[:_MOST])}{more}"
            )


def check_params(params: PyTree, expected: PyTree) -> None:
    """Validates converted parameters against the parameters of a network.

    Args:
      params: nested dicts of arrays.
      expected: the tree of ``jax.eval_shape(network.init, ...)``.

    >>> check_params({"bias": np.ones(2)}, {"bias": jax.ShapeDtypeStruct((3,), "float32")})
    Traceback (most recent call last):
    ValueError: parameter ['bias'] must have shape (3,), got (2,)
    """
    ours, theirs = (
        {keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)} for tree in (expected, params)
    )
    problems, is_floating = [], lambda leaf: jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    for name in dict.fromkeys([*ours, *theirs]):
        if name not in theirs:
            problems.append(f"{name} is missing; it must have shape {np.shape(ours[name])}")
        elif name not in ours:
            problems.append(f"{name} is not one of the network; it has shape {np.shape(theirs[name])}")
        elif np.shape(ours[name]) != np.shape(theirs[name]):
            problems.append(f"{name} must have shape {np.shape(ours[name])}, got {np.shape(theirs[name])}")
        elif is_floating(ours[name]) and not is_floating(theirs[name]):
            problems.append(f"{name} must be floating, got dtype {jnp.result_type(theirs[name])}")
    more = [f"and {len(problems) - _MOST} more"] if len(problems) > _MOST else []
    check_none([f"parameter {problem}" for problem in problems[:_MOST]] + more)
