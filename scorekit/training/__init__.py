"""Training: state, parameter averages, optimiser, the step for any number of devices, and checkpoints."""

from scorekit.training.checkpoints import Checkpoints, Restored
from scorekit.training.devices import make_mesh, place_batch, place_state, replicate, state_sharding
from scorekit.training.ema import ema_decay, init_ema, power_ema_gamma, power_ema_rate, update_ema
from scorekit.training.optimizer import OptimizerName, learning_rate_schedule, make_optimizer
from scorekit.training.post_hoc import post_hoc_ema, post_hoc_weights, save_snapshots
from scorekit.training.projection import projected
from scorekit.training.restoring import restore_params
from scorekit.training.state import TrainState, check_finite, init_state
from scorekit.training.step import make_train_step

__all__ = [
    "Checkpoints",
    "OptimizerName",
    "Restored",
    "TrainState",
    "check_finite",
    "ema_decay",
    "init_ema",
    "init_state",
    "learning_rate_schedule",
    "make_mesh",
    "make_optimizer",
    "make_train_step",
    "place_batch",
    "place_state",
    "post_hoc_ema",
    "post_hoc_weights",
    "power_ema_gamma",
    "power_ema_rate",
    "projected",
    "replicate",
    "restore_params",
    "save_snapshots",
    "state_sharding",
    "update_ema",
]
