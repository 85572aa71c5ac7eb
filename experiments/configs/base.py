"""The fields that every config has, with defaults. A name may be changed without clearing the numbers of another: a
number left at None is the default of whatever is named."""

import math

from ml_collections import ConfigDict

from experiments import build
from experiments.config import Config, section


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    config.noise_factor = 1.0
    """Multiplies sigma / alpha at every t: above 1 for images larger than the schedule was made for."""

    config.data = data = ConfigDict()
    data.name = "sklearn_digits"
    """A TFDS name, or "ring" for the 2-D mixture."""
    data.data_dir = "~/tensorflow_datasets"
    data.train_split = "train"
    data.test_split = "test"

    config.schedule = section(build.SCHEDULES, "cosine")
    config.network = section(build.NETWORKS, "unet", offered=("num_classes",))

    config.loss = loss = ConfigDict()
    loss.target = section(build.TARGETS, "v")
    loss.weighting = section(build.WEIGHTINGS, "v", offered=("schedule",))
    loss.times = section(build.TIMES, "uniform")
    loss.label_dropout = 0.1

    config.training = training = ConfigDict()
    training.steps = 1000
    training.batch_size = 128
    training.learning_rate = 2e-3
    training.warmup_steps = 100
    training.final_fraction = 0.01
    training.clip_norm = 1.0
    training.weight_decay = 0.0
    training.ema_decays = (0.999,)
    training.accumulate = 1
    training.parallel = "jit"
    """"jit" (one program over a mesh) or "pmap"."""
    training.model_axis = 1
    """Devices on the mesh's model axis."""
    training.shard_params = False
    """Split parameters and optimiser state over the model axis."""
    training.skip_limit = 20
    """Stop after this many steps in a row whose loss was not finite."""
    training.log_every = 50
    training.sample_every = 500
    training.checkpoint_every = 500
    training.keep = 2
    """Newest checkpoints kept, beside the best by held-out loss."""

    config.sampling = sampling = ConfigDict()
    sampling.solver = section(build.SOLVERS, "unipc")
    sampling.grid = section(build.GRIDS, "vp_quadratic", offered=("schedule", "n"))
    """Solver and grid lead experiments.benchmarks.quality --digits at 10 to 25 steps. "file" takes the grid at
    ``path``, which experiments.tune wrote for this solver and number of steps."""
    sampling.steps = 25
    sampling.guidance_scale = 2.0
    sampling.guidance_noise_min = 0.0
    sampling.guidance_noise_max = math.inf
    """Guide only where noise_min < sigma / alpha <= noise_max."""
    sampling.threshold = section(build.THRESHOLDS, "none", offered=("denoiser", "schedule"))
    sampling.ema = "0.999"
    """Which average to sample from: one of training.ema_decays, or "none"."""
    sampling.batch_size = 500

    config.evaluation = evaluation = ConfigDict()
    evaluation.num_samples = 1500
    evaluation.guidance_scales = (1.0, 2.0, 4.0)
    evaluation.bound_times = 32
    """Noise levels per test example in the variational bound."""
    return config.lock()
