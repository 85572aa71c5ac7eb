"""The fields that every config has, with defaults. A name may be changed without clearing the numbers of another: a
number left at None is the default of whatever is named."""

from ml_collections import ConfigDict, config_dict

from experiments.models import choices as build, rules
from experiments.data import conditions, representation as forms
from experiments.cli.config import Config, section


def get_config() -> Config:
    """The common defaults; a config file overwrites what it needs."""
    config: Config = ConfigDict()
    config.seed = 0
    config.noise_factor = 1.0
    """Multiplies sigma / alpha at every t: above 1 for images larger than the schedule was made for."""

    config.data = data = ConfigDict()
    data.name = "sklearn_digits"
    """A TFDS name of images, notes or phrases, or "ring" for the 2-D mixture."""
    data.data_dir = "~/tensorflow_datasets"
    data.train_split = "train"
    data.test_split = "test"
    data.label = config_dict.placeholder(str)
    """Of sounds, what the class is: "instrument" (the default), of notes "family", or "none": one class for all."""
    data.crop = config_dict.placeholder(int)
    """Of sounds, the samples of one example: a random piece of a longer sound. None is the whole."""
    data.peak = config_dict.placeholder(float)
    """Of sounds, the largest sample of each, of full scale, of data and of what is drawn. None leaves it as it is."""
    data.latents = config_dict.placeholder(str)
    """Folder of a run of experiments.latents.train whose latents the network sees; None is the data themselves."""
    data.form = forms.section()
    """Of sounds, how the network sees them: as the waveform (the default), as a spectrogram that can be inverted, or as
    the magnitudes beside the mel spectrogram that ``map`` tells."""
    data.map = section(conditions.MAPS, "none", offered=("sample_rate", "to_model"))
    """A dense map that the network is told beside the class, computed from the example."""
    data.vector = section(conditions.VECTORS, "none")
    """Likewise a vector."""

    config.schedule = section(build.SCHEDULES, "cosine")
    config.network = section(build.NETWORKS, "unet", offered=("num_classes", "vector_size", "map_shape"))

    config.loss = loss = ConfigDict()
    loss.target = section(build.TARGETS, "v")
    loss.weighting = section(build.WEIGHTINGS, "v", offered=("schedule",))
    loss.times = section(build.TIMES, "uniform")
    loss.label_dropout = 0.1
    loss.vector_dropout = 0.1
    loss.map_dropout = 0.1
    """Each condition is replaced by its null token in this share of the examples, independently of the others."""
    loss.map_noise = config_dict.placeholder(float)
    """Noise-conditioning augmentation: the map is corrupted at a level drawn from 0 to this (at most 1), which the
    network is told; None is a map as it is."""
    loss.joint_dropout = 0.0
    """In this share of the examples all conditions are dropped together."""

    config.training = training = ConfigDict()
    training.steps = 1000
    training.batch_size = 128
    training.optimizer = config_dict.placeholder(str)
    """"adamw" (the default) or "muon", with which U-Nets learn fine detail in fewer steps."""
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
    ``path``, which experiments.tune wrote for this solver and number of steps; "times" takes ``times`` as they are."""
    sampling.steps = 25
    sampling.guidance_scale = 2.0
    """γ: 0 unconditional, 1 conditional, above 1 guided."""
    sampling.guidance_shape = section(rules.SCALES, "constant", offered=("guidance_scale",))
    """Of γ over time: constant, or from ``noise`` at t = 1 to ``guidance_scale`` at t = 0."""
    sampling.map_noise = config_dict.placeholder(float)
    """Level at which the map is corrupted when sampling, up to loss.map_noise; None is 0."""
    sampling.ema = "0.999"
    """Which average to sample from: one of training.ema_decays, or "none"."""
    sampling.batch_size = 500

    config.guidance = ("classifier_free",)
    """Rules, innermost first: one that chooses the base, then any that wrap it (experiments.models.rules.RULES)."""
    config.rules = rules.section()
    """The numbers of the rules that config.guidance names."""

    config.evaluation = evaluation = ConfigDict()
    evaluation.num_samples = 1500
    evaluation.guidance_scales = (1.0, 2.0, 4.0)
    evaluation.bound_times = 32
    """Noise levels per test example in the variational bound."""
    return config.lock()
