"""The train state: all arrays that a training run carries from step to step."""

import jax.numpy as jnp
import optax

from scorekit.arguments import PositiveInt, checked
from scorekit.training._widths import Decays, Widths
from scorekit.training.ema import init_ema
from scorekit.trees import pytree_dataclass
from scorekit.typing import Array, Key, PyTree


@pytree_dataclass
class TrainState:
    """The state of a run.

    Attributes:
      step: steps taken, int32 scalar; skipped ones count.
      params: the parameters.
      opt_state: the optimiser's state.
      ema: averages of the parameters by name, see :func:`~scorekit.training.ema.init_ema`.
      key: PRNG key of the run; constant, step n draws from ``fold_in(key, n)``.
      skipped: steps skipped because loss or gradient was not finite, int32 scalar.
      skipped_in_a_row: number of consecutive skipped steps up to now, int32 scalar.

    >>> import jax
    >>> state = init_state(jax.random.key(0), {"w": jnp.ones(2)}, optax.sgd(0.1), (0.99,))
    >>> isinstance(state, TrainState), int(state.step), int(state.skipped), list(state.ema)
    (True, 0, 0, ['0.99'])
    """

    step: Array
    params: PyTree
    opt_state: optax.OptState
    ema: dict[str, PyTree]
    key: Key
    skipped: Array
    skipped_in_a_row: Array


@checked
def init_state(
    key: Key,
    params: PyTree,
    optimizer: optax.GradientTransformation,
    ema_decays: Decays = (0.999,),
    ema_widths: Widths = (),
) -> TrainState:
    """The state before the first step.

    Args:
      key: PRNG key of the run.
      params: initial parameters; the train step donates their buffers.
      optimizer: an optax transformation.
      ema_decays: decays of the averages to keep.
      ema_widths: relative widths of the power-function averages to keep.

    >>> import jax
    >>> int(init_state(jax.random.key(0), {"w": jnp.ones(2)}, optax.sgd(0.1)).step)
    0
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=init_ema(params, ema_decays, ema_widths),
        key=jnp.array(key, copy=True),
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_a_row=jnp.zeros((), jnp.int32),
    )


@checked
def check_finite(state: TrainState, limit: PositiveInt) -> None:
    """Raises a ``FloatingPointError`` if the loss or gradient of the latest ``limit`` steps was not finite.

    Blocks until the state is computed; call it where the host blocks anyway, for example when metrics are written.

    Args:
      state: the state after a step.
      limit: number of consecutive skipped steps that raises.

    >>> import jax
    >>> check_finite(init_state(jax.random.key(0), {"w": jnp.ones(2)}, optax.sgd(0.1)), limit=10)
    """
    in_a_row = int(state.skipped_in_a_row)
    if in_a_row >= limit:
        raise FloatingPointError(
            f"the loss or its gradient was not finite in {in_a_row} steps in a row, up to step "
            f"{int(state.step)} ({int(state.skipped)} skipped in total, limit {limit}); the parameters are those "
            f"of the last finite step: lower the learning rate or inspect the data"
        )
