"""Averages of any relative width after training, from stored snapshots of power-function averages.

The density of an average of width w after t updates is ``p(s; t, g) = (g + 1) s^g / t^(g + 1)`` on [0, t], with g from
:func:`~scorekit.training.ema.power_ema_gamma`. The density of another width is approximated by a weighted sum of the
densities of the snapshots, least squares over s, and the same weights on the snapshots give the parameters.

Source: Karras et al. 2024 (https://arxiv.org/abs/2312.02696).
"""

import io
import zipfile
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Between, NonNegativeInt, checked
from scorekit.io import as_path, write_atomic
from scorekit.training._placement import place
from scorekit.training._trees import Nested, differences, from_nested, named_leaves, nest, nested_shapes
from scorekit.training._widths import Width, WidthArray
from scorekit.training.ema import power_ema_gamma, power_ema_width
from scorekit.training.state import TrainState
from scorekit.typing import ArrayLike, PyTree

SnapshotDtype = Literal["float32", "bfloat16"]
"""The type in which snapshots are stored."""


@checked
def post_hoc_weights(
    updates: Annotated[ArrayLike, Between(1)], widths: WidthArray, at: Annotated[int, Between(1)], width: Width
) -> np.ndarray:
    """The weights of snapshots in the average of another width: least squares between the densities, sum 1.

    Solves ``A w = b`` in float64 on the host, with the inner products of two densities, for s <= t,
    ``(g_s + 1) (g_t + 1) (s / t)^g_t / ((g_s + g_t + 1) t)``, and divides by the sum.

    Args:
      updates: ``(n,)`` number of updates at each snapshot.
      widths: ``(n,)`` their relative widths; no two snapshots may have both the same updates and the same width.
      at: number of updates of the average.
      width: its relative width.

    >>> post_hoc_weights([500, 1000, 500, 1000], [0.05, 0.05, 0.1, 0.1], 1000, 0.1).round(6) + 0.0
    array([0., 0., 0., 1.])
    """
    updates, widths = np.asarray(updates, np.float64), np.asarray(widths, np.float64)
    if updates.ndim != 1 or not updates.size or updates.shape != widths.shape:
        raise ValueError(f"updates and widths must have one shape (n,), got {updates.shape} and {widths.shape}")
    if len(set(zip(updates, widths, strict=True))) < len(updates):
        raise ValueError(f"updates and widths must be of different snapshots, got {updates} and {widths}")
    gammas = np.array([power_ema_gamma(w) for w in widths])
    products = _inner(updates[:, None], gammas[:, None], updates, gammas)
    weights = np.linalg.solve(products, _inner(updates, gammas, float(at), power_ema_gamma(width)))
    return weights / weights.sum()


def _inner(s, g_s, t, g_t):
    exponent = np.where(s < t, g_t, -g_s)
    return (g_s + 1) * (g_t + 1) * (s / t) ** exponent / ((g_s + g_t + 1) * np.maximum(s, t))


class _Snapshot(NamedTuple):
    """A stored average: its file, the step, the number of updates and the relative width."""

    path: Path
    step: int
    updates: int
    width: float


def _snapshots_in(directory: str | PathLike) -> list[_Snapshot]:
    """The snapshots in a folder, by step and width; none if there is no folder."""
    folder, found = as_path(directory), []
    for path in folder.glob("*.npz") if folder.exists() else ():
        parts = path.name.removesuffix(".npz").split("_")
        if len(parts) == 3 and parts[0].isdecimal() and parts[1].isdecimal():
            found.append(_Snapshot(path, int(parts[0]), int(parts[1]), float(parts[2])))
    return sorted(found, key=lambda snapshot: snapshot[1:])


@checked
def save_snapshots(directory: str | PathLike, state: TrainState, dtype: SnapshotDtype = "float32") -> None:
    """Writes the power-function averages of a state, one file each, ``<step>_<updates>_<width>.npz``.

    Each file is written atomically and replaces an earlier one of this step. With several processes all call it, and
    the first one writes. Blocks until the files are there.

    Args:
      directory: folder of this machine or of a bucket, created if missing.
      state: train state after an update, with power-function averages.
      dtype: type in which the averages are stored.

    >>> import dataclasses, optax, tempfile
    >>> from scorekit.training.state import init_state
    >>> state = init_state(jax.random.key(0), {"w": jnp.ones(2)}, optax.sgd(0.1), (), (0.05, 0.1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_snapshots(folder, dataclasses.replace(state, step=jnp.int32(1000)))
    ...     sorted(path.name for path in Path(folder).iterdir())[-2:]
    ['0001000_1000_0.05.npz', '0001000_1000_0.1.npz']
    """
    averages = {width: tree for name, tree in state.ema.items() if (width := power_ema_width(name)) is not None}
    step, updates = int(state.step), int(state.step) - int(state.skipped)
    if not averages or updates < 1:
        allowed = "one after at least one update, with power-function averages"
        raise ValueError(f"state must be {allowed}, got {updates} updates and averages {list(state.ema)}")
    writes, folder = jax.process_index() == 0, as_path(directory)
    earlier = [snapshot for snapshot in _snapshots_in(folder) if snapshot.step == step] if writes else []
    for width, tree in averages.items():
        arrays: dict[str, np.ndarray] = {}
        for names, leaf in named_leaves(tree):
            array = _on_the_host(leaf)  # one at a time: an array that is split is gathered
            if writes:
                arrays["/".join((_ROOT, *names))] = (
                    array.astype(jnp.bfloat16).view(np.uint16) if dtype == "bfloat16" else array
                )
        if writes:
            content = io.BytesIO()
            np.savez(content, snapshot=np.array([step, updates, width]), **arrays)  # type: ignore[arg-type]
            write_atomic(folder / f"{step:07d}_{updates}_{width}.npz", content.getvalue())
    for snapshot in earlier:
        if snapshot.updates != updates:
            snapshot.path.unlink()


@checked
def post_hoc_ema(
    directory: str | PathLike, width: Width, *, step: NonNegativeInt | None = None, like: PyTree | None = None
) -> tuple[int, PyTree]:
    """Parameters averaged with any relative width, from the snapshots up to a step.

    The weights are from :func:`post_hoc_weights`; the snapshots are read one at a time. A width that is stored is
    read as it is. Widths between the stored ones and somewhat wider ones are accurate; narrower widths need denser
    snapshots.

    Args:
      directory: the folder of :func:`save_snapshots`.
      width: relative width of the average.
      step: step at which there are snapshots, the newest by default.
      like: parameters, or their shapes, whose structure and sharding the result has; nested dictionaries on the first
        device by default.

    Returns:
      ``(step, params)``.

    Raises:
      FileNotFoundError: if there are no snapshots, or none at ``step``.
      ValueError: for a damaged or renamed snapshot, or parameters unlike ``like``.

    >>> import dataclasses, optax, tempfile
    >>> from scorekit.training.state import init_state
    >>> state = init_state(jax.random.key(0), {"w": jnp.ones(2)}, optax.sgd(0.1), (), (0.05, 0.1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for step in (500, 1000):
    ...         save_snapshots(folder, dataclasses.replace(state, step=jnp.int32(step)))
    ...     step, params = post_hoc_ema(folder, 0.07)
    >>> step, params["w"].round(4)
    (1000, Array([1., 1.], dtype=float32))
    """
    found = _snapshots_in(directory)
    steps = sorted({snapshot.step for snapshot in found})
    if not steps or (step is not None and step not in steps):
        at = "" if step is None else f" at step {step}"
        only = f", only at {steps}" if steps else ""
        raise FileNotFoundError(f"no snapshots of averages in {directory}{at}{only}")
    step = steps[-1] if step is None else step
    at = next(snapshot.updates for snapshot in found if snapshot.step == step)
    # those after the step have the weight 0; of those with as many updates, after skipped steps, one is enough
    used = {(snapshot.updates, snapshot.width): snapshot for snapshot in found if snapshot.step <= step}
    if (at, width) in used:
        used, weights = {(at, width): used[at, width]}, np.ones(1)
    else:
        updates, widths = zip(*used, strict=True)
        weights = post_hoc_weights(np.array(updates), np.array(widths), at, width)
    total: dict[str, np.ndarray] = {}
    for snapshot, weight in zip(used.values(), weights, strict=True):
        arrays = _read(snapshot)
        if total and {n: x.shape for n, x in arrays.items()} != {n: x.shape for n, x in total.items()}:
            raise ValueError(f"snapshot {snapshot.path} is of another network than the snapshots before it")
        for name, array in arrays.items():
            total[name] = total.get(name, np.float32(0)) + np.float32(weight) * array
    return step, _placed(nest({tuple(name.split("/")[1:]): x for name, x in total.items()}), like, directory)


_ROOT = "average"


def _on_the_host(x: Any) -> np.ndarray:
    """A full copy of one array, however it is split over the devices of all processes."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        mesh = cast(jax.sharding.NamedSharding, x.sharding).mesh
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        x = place(x, everywhere)
    return np.asarray(x)


def _read(snapshot: _Snapshot) -> dict[str, np.ndarray]:
    """The arrays of a snapshot, float32."""
    path, *name = snapshot
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            arrays = dict(file)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"snapshot {path} is damaged ({error}); remove it to do without") from error
    saved = arrays.pop("snapshot", np.array(name)).tolist()  # files of earlier versions do not say it
    if saved != name:
        raise ValueError(f"snapshot {path} was renamed: it was saved at step {saved[0]:g}, update {saved[1]:g}")
    return {name: x.view(jnp.bfloat16).astype(np.float32) if x.dtype == np.uint16 else x for name, x in arrays.items()}


def _placed(nested: Nested, like: PyTree | None, directory: str | PathLike) -> PyTree:
    """The arrays on their devices, in the structure of ``like``."""
    if like is None:
        return jax.tree.map(jnp.asarray, nested)
    wanted = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32, sharding=x.sharding), nested_shapes(like)
    )
    if wrong := differences(nested, wanted, "snapshot"):
        raise ValueError(f"snapshots in {directory} do not fit: {'; '.join(wrong[:6])}")
    return from_nested(jax.tree.map(lambda x, to: place(x, to.sharding), nested, wanted), like)
