"""The training step for any number of devices."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from scorekit.checks import check_count
from scorekit.training.devices import check_global_batch, make_mesh, place_state, state_sharding
from scorekit.training.ema import update_ema
from scorekit.training.state import TrainState
from scorekit.trees import batch_size, where
from scorekit.typing import Array, Key, PyTree

Prepare: TypeAlias = Callable[[Key, PyTree], PyTree]
"""``(key, batch) -> batch``: makes all random draws of a step, for the global batch."""

Loss: TypeAlias = Callable[[PyTree, PyTree], tuple[Array, Mapping[str, Array]]]
"""``(params, batch) -> (loss per example, aux per example)``: deterministic, without a mean over the batch."""

Metrics: TypeAlias = dict[str, PyTree]
TrainStep: TypeAlias = Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]


def make_train_step(
    prepare: Prepare,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    mesh: Mesh | None = None,
    parallel: Literal["jit", "pmap"] = "jit",
    shard_params: bool = False,
    accumulate: int = 1,
) -> TrainStep:
    """Builds the compiled step ``(state, batch) -> (state, metrics)``.

    Step n computes ``prepare(fold_in(key, n), batch)`` for the global batch and updates the parameters by the gradient
    of ``mean(loss(params, batch))``. Up to rounding, the result depends on the key and the global batch only, not on
    the number of devices or micro-batches. A step whose loss or gradient norm is not finite leaves parameters,
    optimiser and averages unchanged and is counted (see :func:`~scorekit.training.state.check_finite`).

    The buffers of the state are donated: use the returned state only. A state that is not on the mesh, new or restored,
    is placed there first.

    Args:
      prepare: ``(key, batch) -> batch``; every leaf of both batches has a leading axis of the global batch.
      loss: ``(params, batch) -> ((b,) losses, {name: (b, ...)})`` for any slice of a prepared batch.
      optimizer: an optax transformation.
      mesh: device mesh with axes ``data`` and ``model``; all devices on ``data`` by default.
      parallel: ``'jit'``: one program over the mesh. ``'pmap'``: one program per device, parameters replicated, for
        a single process.
      shard_params: shard parameters, averages and optimiser state over ``model``; only for ``'jit'``.
      accumulate: number of micro-batches per update, whose gradients are averaged; saves memory.

    Returns:
      The step. Its metrics are ``loss`` and ``grad_norm`` (before clipping), scalars, and ``per_example_loss`` and
      ``aux``, in the order of the batch. The batch holds NumPy or JAX arrays; with several processes each passes
      the full global batch.

    Raises:
      ValueError: for an unknown or unsupported layout, and, when called, if ``data`` devices x ``accumulate`` does
        not divide the global batch.

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
    if set(mesh.axis_names) != {"data", "model"}:
        raise ValueError(f"mesh must have axes ('data', 'model'), got {mesh.axis_names}")
    check_count(accumulate=accumulate)
    if parallel == "jit":
        run = _jit_step(prepare, loss, optimizer, mesh, shard_params, accumulate)
    elif parallel == "pmap":
        if mesh.shape["model"] > 1 or shard_params:
            raise ValueError(
                f"parallel='pmap' replicates the parameters: shard_params must be False and the model axis 1, got "
                f"shard_params={shard_params} and model={mesh.shape['model']}; use parallel='jit'"
            )
        if jax.process_count() > 1:
            raise ValueError("parallel='pmap' runs in one process; use parallel='jit'")
        run = _pmap_step(prepare, loss, optimizer, mesh, accumulate)
    else:
        raise ValueError(f"parallel must be 'jit' or 'pmap', got {parallel!r}")
    data, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())

    def step(state, batch):
        check_global_batch(batch_size(batch), mesh.shape["data"], accumulate)
        if getattr(state.step, "sharding", None) != everywhere:
            state = place_state(state, mesh, shard_params)
        # jit places NumPy arrays faster itself, but in one process only; JAX arrays may be on other devices
        if jax.process_count() > 1 or any(isinstance(x, jax.Array) for x in jax.tree.leaves(batch)):
            batch = jax.device_put(batch, data)
        return run(state, batch)

    return step


def _jit_step(prepare, loss, optimizer, mesh, shard_params, accumulate):
    data, micro, everywhere = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("data",), (None, "data"), ()))
    constrain = jax.lax.with_sharding_constraint

    def run(state, batch):
        batch = prepare(jax.random.fold_in(state.key, state.step), batch)
        gradient = _gradient(loss, accumulate, mesh, lambda x: constrain(x, micro))
        value, grads, per_example, aux = gradient(state.params, constrain(batch, data))
        state, norm = _advance(optimizer, state, value, grads)
        state = constrain(state, state_sharding(state, mesh, shard_params))
        return state, constrain(_metrics(value, norm, per_example, aux), everywhere)

    return jax.jit(run, in_shardings=(None, data), donate_argnums=0)


def _pmap_step(prepare, loss, optimizer, mesh, accumulate):
    devices = mesh.devices.flatten().tolist()
    data, everywhere = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("data",), ()))

    def split(key, count, batch):
        batch = prepare(jax.random.fold_in(key, count), batch)
        return jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch)

    def local(state, batch):
        gradient = _gradient(loss, accumulate, mesh, lambda x: x)
        value, grads, per_example, aux = gradient(state.params, batch)
        value, grads = jax.lax.pmean((value, grads), "data")
        state, norm = _advance(optimizer, state, value, grads)
        return state, (value, norm), (per_example, aux)

    split = jax.jit(split, in_shardings=(None, None, data), out_shardings=data)
    # State and scalars are single values for all devices, so that checkpoints have no device axis.
    local = jax.pmap(
        local,
        "data",
        in_axes=(None, 0),
        out_axes=(None, None, 0),
        devices=devices,
        donate_argnums=0,
    )
    merge = jax.jit(
        lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree),
        out_shardings=everywhere,
    )

    def run(state, batch):
        state, scalars, rows = local(state, split(state.key, state.step, batch))
        return state, _metrics(*scalars, *merge(rows))

    return run


def _gradient(loss, accumulate, mesh, constrain):
    """``(params, batch) -> (mean loss, its gradient, loss per example, aux)`` averaged over micro-batches."""

    def mean_loss(params, batch):
        per_example, aux = loss(params, batch)
        if per_example.shape != (batch_size(batch),):
            raise ValueError(
                f"loss must return one value per example, shape ({batch_size(batch)},), got {per_example.shape}"
            )
        return jnp.mean(per_example, dtype=jnp.float32), (per_example, dict(aux))

    # XLA on CPU differentiates a convolution 100x slower inside a loop than outside: unroll there.
    unroll = mesh.devices.flat[0].platform == "cpu"
    value_and_grad = jax.value_and_grad(mean_loss, has_aux=True)

    def full_batch(params, batch):
        (value, (per_example, aux)), grads = value_and_grad(params, batch)
        return value, grads, per_example, aux

    def accumulated(params, batch):
        # Micro-batch i takes every accumulate-th example, so that examples stay on their device.
        parts = jax.tree.map(lambda x: constrain(x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1)), batch)

        def add(total, part):
            value, grads, per_example, aux = full_batch(params, part)
            return jax.tree.map(jnp.add, total, (value, grads)), (per_example, aux)

        zero = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, params))
        total, rows = jax.lax.scan(add, zero, parts, unroll=unroll)
        value, grads = jax.tree.map(lambda x: x / accumulate, total)
        rows = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), rows)
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
