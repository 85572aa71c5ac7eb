"""Training: state, parameter averages, optimiser, the step for any number of devices, and checkpoints.

Returns:
  The state, the parameters with their step, or their average.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.numerics.meshes import Shard, gathered
    from scorekit.training._widths import POWER_EMA_WIDEST
    from scorekit.training.assignment import optimal_assignment
    from scorekit.training.checkpoints import Checkpoints, Restored
    from scorekit.training.devices import (
        batch_sharding,
        make_mesh,
        place_batch,
        place_state,
        replicate,
        replicated,
        state_sharding,
    )
    from scorekit.training.ema import (
        POWER_EMA_PREFIX,
        ema_decay,
        init_ema,
        power_ema_gamma,
        power_ema_rate,
        power_ema_width,
        update_ema,
    )
    from scorekit.training.optimizer import OptimizerName, learning_rate_schedule, make_optimizer, projected
    from scorekit.training.post_hoc import SnapshotDtype, post_hoc_ema, post_hoc_weights, save_snapshots
    from scorekit.training.restoring import restore_extra, restore_params
    from scorekit.training.state import TrainState, check_finite, init_state
    from scorekit.training.step import Loss, Metrics, Prepare, TrainStep, make_train_step

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "POWER_EMA_PREFIX",
    "POWER_EMA_WIDEST",
    "Checkpoints",
    "Loss",
    "Metrics",
    "OptimizerName",
    "Prepare",
    "Restored",
    "Shard",
    "SnapshotDtype",
    "TrainState",
    "TrainStep",
    "batch_sharding",
    "check_finite",
    "ema_decay",
    "gathered",
    "init_ema",
    "init_state",
    "learning_rate_schedule",
    "make_mesh",
    "make_optimizer",
    "make_train_step",
    "optimal_assignment",
    "place_batch",
    "place_state",
    "post_hoc_ema",
    "post_hoc_weights",
    "power_ema_gamma",
    "power_ema_rate",
    "power_ema_width",
    "projected",
    "replicate",
    "replicated",
    "restore_extra",
    "restore_params",
    "save_snapshots",
    "state_sharding",
    "update_ema",
]
