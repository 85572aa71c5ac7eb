"""Training: state, parameter averages, optimiser, the step for any number of devices, and checkpoints."""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.numerics.meshes import Shard as Shard
    from scorekit.numerics.meshes import gathered as gathered
    from scorekit.training._widths import POWER_EMA_WIDEST as POWER_EMA_WIDEST
    from scorekit.training.assignment import optimal_assignment as optimal_assignment
    from scorekit.training.checkpoints import Checkpoints as Checkpoints
    from scorekit.training.checkpoints import Restored as Restored
    from scorekit.training.devices import batch_sharding as batch_sharding
    from scorekit.training.devices import make_mesh as make_mesh
    from scorekit.training.devices import place_batch as place_batch
    from scorekit.training.devices import place_state as place_state
    from scorekit.training.devices import replicate as replicate
    from scorekit.training.devices import replicated as replicated
    from scorekit.training.devices import state_sharding as state_sharding
    from scorekit.training.ema import POWER_EMA_PREFIX as POWER_EMA_PREFIX
    from scorekit.training.ema import ema_decay as ema_decay
    from scorekit.training.ema import init_ema as init_ema
    from scorekit.training.ema import power_ema_gamma as power_ema_gamma
    from scorekit.training.ema import power_ema_rate as power_ema_rate
    from scorekit.training.ema import power_ema_width as power_ema_width
    from scorekit.training.ema import update_ema as update_ema
    from scorekit.training.optimizer import OptimizerName as OptimizerName
    from scorekit.training.optimizer import learning_rate_schedule as learning_rate_schedule
    from scorekit.training.optimizer import make_optimizer as make_optimizer
    from scorekit.training.optimizer import projected as projected
    from scorekit.training.post_hoc import SnapshotDtype as SnapshotDtype
    from scorekit.training.post_hoc import post_hoc_ema as post_hoc_ema
    from scorekit.training.post_hoc import post_hoc_weights as post_hoc_weights
    from scorekit.training.post_hoc import save_snapshots as save_snapshots
    from scorekit.training.restoring import restore_extra as restore_extra
    from scorekit.training.restoring import restore_params as restore_params
    from scorekit.training.state import TrainState as TrainState
    from scorekit.training.state import check_finite as check_finite
    from scorekit.training.state import init_state as init_state
    from scorekit.training.step import Loss as Loss
    from scorekit.training.step import Metrics as Metrics
    from scorekit.training.step import Prepare as Prepare
    from scorekit.training.step import TrainStep as TrainStep
    from scorekit.training.step import make_train_step as make_train_step

__getattr__, __dir__ = attach(__name__)
