"""The training step for any number of devices."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Protocol, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from scorekit.arguments import PositiveInt, checked
from scorekit.training._placement import AXES, average, check_mesh, check_rows, gather, shards, split_axes
from scorekit.training.devices import batch_sharding, make_mesh, place_batch, place_state, replicated, state_sharding
from scorekit.training.ema import update_ema
from scorekit.training.state import TrainState
from scorekit.trees import batch_size, where
from scorekit.typing import Array, Key, PyTree

Prepare: TypeAlias = Callable[[Key, PyTree], PyTree]
"""``(key, batch) -> batch``: makes all random draws of a step, for the global batch."""

Loss: TypeAlias = Callable[[PyTree, PyTree], tuple[Array, Mapping[str, Array]]]
"""``(params, batch) -> (loss per example, aux per example)``: deterministic, without a mean over the batch."""

Metrics: TypeAlias = dict[str, PyTree]
"""The metrics of a step by name: the loss and the norm of its gradient, and the values per example."""


class TrainStep(Protocol):
    """``(state, batch) -> (state, metrics)``, compiled; ``lower`` and ``trace`` are methods of ``jax.jit``."""

    lower: Callable[[TrainState, PyTree], jax.stages.Lowered]
    trace: Callable[[TrainState, PyTree], jax.stages.Traced]

    def __call__(self, state: TrainState, batch: PyTree, /) -> tuple[TrainState, Metrics]: ...


@checked
def make_train_step(
    prepare: Prepare,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    mesh: Mesh | None = None,
    parallel: Literal["jit", "pmap"] = "jit",
    accumulate: PositiveInt = 1,
    gathers: Collection[str] = (),
) -> TrainStep:
    """Builds the compiled step ``(state, batch) -> (state, metrics)``.

    Step n computes ``prepare(fold_in(key, n), batch)`` for the global batch and updates the parameters by the gradient
    of ``mean(loss(params, batch))``. Up to rounding, the result depends on the key and the global batch only, not on
    the number of devices or micro-batches. A step whose loss or gradient norm is not finite leaves parameters,
    optimiser and averages unchanged and is counted (see :func:`~scorekit.training.state.check_finite`).

    Each device computes its rows of the batch with all parameters: those that are split over ``fsdp`` are gathered
    once, and the gradient is averaged once over all devices, however many micro-batches there are.

    The buffers of the state are donated: use the returned state only. A state that is not on the mesh, new or restored,
    is placed there first.

    Args:
      prepare: ``(key, batch) -> batch``; every leaf of both batches has a leading axis of the global batch.
      loss: ``(params, batch) -> ((b,) losses, {name: (b, ...)})`` for any slice of a prepared batch.
      optimizer: an optax transformation.
      mesh: devices, see :func:`~scorekit.training.devices.make_mesh`, which says how many hold one copy of the state;
        all on ``data`` by default.
      parallel: ``'jit'``: one program over the mesh. ``'pmap'``: one program per device, parameters replicated, for
        a single process.
      accumulate: number of micro-batches per update, whose gradients are averaged; saves memory. Times the number of
        devices it divides the global batch.
      gathers: names on the paths of parameters that the loss gathers itself, by :func:`scorekit.training.gathered`, say
        the blocks of a transformer inside their rematerialised loop. They do so where all devices hold one copy: it
        saves memory, and costs another gathering in the backward pass, and both for every micro-batch.

    Returns:
      The step. Its metrics are ``loss`` and ``grad_norm`` (before clipping), scalars, and ``per_example_loss`` and
      ``aux``, in the order of the batch. The batch holds NumPy arrays, with several processes the rows of each, or
      arrays placed by :func:`~scorekit.training.devices.place_batch`.

    >>> from scorekit.training.state import init_state
    >>> def prepare(key, batch):
    ...     return {"x": batch["x"], "eps": jax.random.normal(key, batch["x"].shape)}
    >>> def loss(params, batch):
    ...     error = params["w"] * batch["x"] - batch["eps"]
    ...     return jnp.mean(error**2, axis=1), {}
    >>> optimizer = optax.sgd(0.1)
    >>> state = init_state(jax.random.key(0), {"w": jnp.zeros(2)}, optimizer)
    >>> step = make_train_step(prepare, loss, optimizer)
    >>> state, metrics = step(state, {"x": jnp.ones((8, 2))})
    >>> int(state.step), metrics["per_example_loss"].shape
    (1, (8,))
    """
    mesh = make_mesh() if mesh is None else mesh
    check_mesh(mesh)
    if parallel == "jit":
        run = _jit_step(prepare, loss, optimizer, mesh, accumulate, gathers)
    else:
        if mesh.shape["fsdp"] > 1:
            raise ValueError(
                f"parallel='pmap' replicates the parameters: the fsdp axis must be 1, got {mesh.shape['fsdp']}; use "
                f"parallel='jit'"
            )
        if jax.process_count() > 1:
            raise ValueError("parallel='pmap' runs in one process; use parallel='jit'")
        run = _pmap_step(prepare, loss, optimizer, mesh, accumulate)
    everywhere = replicated(mesh)

    def placed(state, batch):
        check_rows(batch, mesh, accumulate)
        if getattr(state.step, "sharding", None) != everywhere:
            state = place_state(state, mesh)
        # jit places NumPy arrays faster itself, but in one process only; JAX arrays may be on other devices
        if jax.process_count() > 1 or any(isinstance(x, jax.Array) for x in jax.tree.leaves(batch)):
            batch = place_batch(batch, mesh)
        return state, batch

    def step(state, batch):
        return run(*placed(state, batch))

    result = cast(Any, step)
    result.lower = lambda state, batch: cast(Any, run).lower(*placed(state, batch))
    result.trace = lambda state, batch: cast(Any, run).trace(*placed(state, batch))
    return result


def _jit_step(prepare, loss, optimizer, mesh, accumulate, gathers):
    rows, everywhere = batch_sharding(mesh), replicated(mesh)
    constrain = jax.lax.with_sharding_constraint
    gradient = _gradient(loss, accumulate, mesh)
    later = gathers if mesh.shape["data"] == 1 else ()  # with averages over data, it would move the most

    def run(state, batch):
        batch = prepare(jax.random.fold_in(state.key, state.step), batch)
        axes = split_axes(state.params, mesh)

        def local(params, batch):
            value, grads, per_example, aux = gradient(gather(shards(params, axes, mesh), later), batch)
            return jax.lax.pmean(value, AXES), average(grads, axes, mesh), per_example, aux

        specs = jax.tree.map(lambda sharding: sharding.spec, state_sharding(state.params, mesh))
        spread = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(specs, rows.spec),
            out_specs=(PartitionSpec(), specs, rows.spec, rows.spec),
            check_vma=False,  # a loss may hold loops whose carry starts from constants
        )
        value, grads, per_example, aux = spread(state.params, constrain(batch, rows))
        state, norm = _advance(optimizer, state, value, grads)
        state = constrain(state, state_sharding(state, mesh))
        return state, constrain(_metrics(value, norm, per_example, aux), everywhere)

    return jax.jit(run, in_shardings=(None, rows), donate_argnums=0)


def _pmap_step(prepare, loss, optimizer, mesh, accumulate):
    devices = mesh.devices.flatten().tolist()
    rows, gradient = batch_sharding(mesh), _gradient(loss, accumulate, mesh)

    def split(key, count, batch):
        batch = prepare(jax.random.fold_in(key, count), batch)
        return jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch)

    def local(state, batch):
        value, grads, per_example, aux = gradient(state.params, batch)
        value, grads = jax.lax.pmean((value, grads), "data")
        state, norm = _advance(optimizer, state, value, grads)
        return state, (value, norm), (per_example, aux)

    split = jax.jit(split, in_shardings=(None, None, rows), out_shardings=rows)
    # State and scalars are single values for all devices, so that checkpoints have no device axis.
    local = jax.pmap(local, "data", in_axes=(None, 0), out_axes=(None, None, 0), devices=devices, donate_argnums=0)
    merge = jax.jit(
        lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree), out_shardings=replicated(mesh)
    )

    def run(state, batch):
        state, scalars, rows = local(state, split(state.key, state.step, batch))
        return state, _metrics(*scalars, *merge(rows))

    return run


def _gradient(loss, accumulate, mesh):
    """``(params, rows) -> (mean loss, its gradient, loss per example, aux)`` of one device, over its micro-batches."""

    def mean_loss(params, batch):
        found = loss(params, batch)
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
            raise ValueError(f"loss must return (loss per example, aux per example), aux a dict, got {found!r:.60}")
        per_example, aux = found
        if per_example.shape != (batch_size(batch),):
            raise ValueError(
                f"loss must return one value per example, shape ({batch_size(batch)},), got {per_example.shape}"
            )
        for name, value in aux.items():
            if any(jnp.shape(leaf)[:1] != per_example.shape for leaf in jax.tree.leaves(value)):
                rows = f"one row per example, ({batch_size(batch)}, ...)"
                raise ValueError(
                    f"loss must return aux with {rows}, got {name} of shape {jax.tree.map(jnp.shape, value)}"
                )
        return jnp.mean(per_example, dtype=jnp.float32), (per_example, dict(aux))

    # XLA on CPU differentiates a convolution 100x slower inside a loop than outside: unroll there.
    unroll = mesh.devices.flat[0].platform == "cpu"
    value_and_grad = jax.value_and_grad(mean_loss, has_aux=True)

    def full_batch(params, batch):
        (value, (per_example, aux)), grads = value_and_grad(params, batch)
        return value, grads, per_example, aux

    def accumulated(params, batch):
        parts = jax.tree.map(lambda x: x.reshape(accumulate, -1, *x.shape[1:]), batch)

        def add(total, part):
            value, grads, per_example, aux = full_batch(params, part)
            return jax.tree.map(jnp.add, total, (value, grads)), (per_example, aux)

        zero = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, params))
        total, rows = jax.lax.scan(add, zero, parts, unroll=unroll)
        value, grads = jax.tree.map(lambda x: x / accumulate, total)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
        return value, grads, *rows

    return full_batch if accumulate == 1 else accumulated


def _advance(optimizer, state, value, grads):
    """The state after an update or a skipped step, and the norm of the gradient."""
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = update_ema(state.ema, params, state.step - state.skipped)
    new = where(finite, (params, opt_state, ema), (state.params, state.opt_state, state.ema))
    return TrainState(
        step=state.step + 1,
        params=new[0],
        opt_state=new[1],
        ema=new[2],
        key=state.key,
        skipped=state.skipped + ~finite,
        skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
    ), norm


def _metrics(value, norm, per_example, aux) -> Metrics:
    return {"loss": value, "grad_norm": norm, "per_example_loss": per_example, "aux": aux}
