"""Training (state, averages, optimiser, the step for any number of devices, checkpoints), and tuning of samplers."""

from scorekit.training.checkpoints import Checkpoints, Restored
from scorekit.training.devices import make_mesh, place_state, state_sharding
from scorekit.training.ema import ema_decay, init_ema, update_ema
from scorekit.training.optimizer import OptimizerName, learning_rate_schedule, make_optimizer
from scorekit.training.restoring import restore_params
from scorekit.training.saved_grids import SavedGrid, load_grid, restore_solver, save_grid
from scorekit.training.state import TrainState, check_finite, init_state
from scorekit.training.step import make_train_step
from scorekit.training.tuning import Pairs, Trial, Tuned, distances, fine_pairs, tune

__all__ = [
    "Checkpoints",
    "OptimizerName",
    "Pairs",
    "Restored",
    "SavedGrid",
    "TrainState",
    "Trial",
    "Tuned",
    "check_finite",
    "distances",
    "ema_decay",
    "fine_pairs",
    "init_ema",
    "init_state",
    "learning_rate_schedule",
    "load_grid",
    "make_mesh",
    "make_optimizer",
    "make_train_step",
    "place_state",
    "restore_params",
    "restore_solver",
    "save_grid",
    "state_sharding",
    "tune",
    "update_ema",
]
