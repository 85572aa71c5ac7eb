"""A config's network, loss, sampler and guidance; opening what a run has trained."""

from ml_collections import ConfigDict, config_dict

from experiments.cli.config import section
from experiments.cli.ranges import above, at_least, between, count, free, one_of, or_none, within
from experiments.models import choices, couplings, flow_map_losses, rule_choices, solver_choices
from experiments.models.sampling import GRID_RANGES, GRIDS
from experiments.models.solver_choices import SOLVERS


def fields() -> ConfigDict:
    """The sections ``schedule``, ``network``, ``loss``, ``sampling``, ``guidance`` and ``rules``, with defaults."""
    config = ConfigDict()
    config.noise_factor = 1.0
    """Multiplies sigma / alpha at every t: above 1 for images larger than the schedule was made for."""
    config.schedule = section(choices.SCHEDULES, "cosine")
    """How much signal, alpha(t), and noise, sigma(t), there is at each time."""
    config.network = section(
        choices.NETWORKS, "unet", supplied=("num_classes", "outputs", "vector_size", "map_shape", "token_size")
    )
    """What is trained: the function of the noisy example, the noise level and the conditions."""
    config.init_from = config_dict.placeholder(str)
    """A folder or file that scorekit.io.load reads: training starts from its parameters, with the network and the
    preconditioning that they belong to, a flow map from those of a denoiser too; None starts from random parameters."""
    config.preconditioning = ConfigDict()
    config.preconditioning.noise = section(choices.NOISE_INPUTS, "log_snr", supplied=("schedule",))
    """What the network is called with for the noise level."""
    config.preconditioning.sigma_data = config_dict.placeholder(float)
    """Standard deviation of the data: the input of the network is scaled to unit variance; None leaves it at x_t."""

    config.loss = loss = ConfigDict()
    loss.target = section(choices.TARGETS, "v")
    """What the output of the network is."""
    loss.weighting = section(choices.WEIGHTINGS, "v", supplied=("schedule",))
    """λ, the weight of the squared error of eps at each noise level."""
    loss.times = section(choices.TIMES, "uniform")
    """The distribution of the times, and so of the noise levels, of training."""
    loss.levels = "example"
    """What has a time, and so a noise level, of its own in training: every example, or every frame ("frame", diffusion
    forcing) of a signal of frames; then ``experiments.benchmarks.roll_out`` draws sounds of any length."""
    loss.log_variance = config_dict.placeholder(bool)
    """Learns the log-variance u of the loss at each noise level and trains on loss / exp(u) + u, so that all noise
    levels contribute equally (Karras et al. 2024)."""
    loss.flow_map = section(flow_map_losses.LOSSES, "none")
    """Trains a flow map in place of a denoiser (experiments.models.flow_map_losses): the network gets the length of the
    jump, ``sampling.solver.name=flow_map`` samples with it, and ``loss.weighting`` is not used."""
    loss.coupling = section(couplings.COUPLINGS, "independent", supplied=("label_dropout",))
    """Which noise goes with which example (experiments.models.couplings): independent; the optimal transport of the
    batch, for straighter paths; or what leads to its dense map, where sampling starts then."""
    loss.guidance_max = config_dict.placeholder(float)
    """A flow map takes γ as a condition, drawn for each example from 1 to this: ``sampling.guidance_scale`` chooses
    it, at one evaluation a step; None is a map without guidance."""
    loss.label_dropout = 0.1
    """The class is replaced by the null token in this share of the examples, for guidance."""
    loss.vector_dropout = 0.1
    """The same of the vector, independently of the other conditions."""
    loss.map_dropout = 0.1
    """The same of the dense map, independently of the other conditions."""
    loss.tokens_dropout = config_dict.placeholder(float)
    """The same of the tokens, independently of the other conditions; None is 0."""
    loss.caption_dropout = config_dict.placeholder(float)
    """In this share of the examples all that describes them, class, vector and tokens, is dropped together, and the
    dense map is kept; None is 0."""
    loss.map_noise = config_dict.placeholder(float)
    """Noise-conditioning augmentation: the map is corrupted at a level drawn from 0 to this (at most 1), which is a
    condition of the network; None is no augmentation."""
    loss.joint_dropout = 0.0
    """In this share of the examples all conditions are dropped together."""

    config.sampling = sampling = ConfigDict()
    sampling.solver = section(SOLVERS, "recommended", supplied=("schedule", "n"))
    """What takes a step; "recommended" is the solver of :func:`scorekit.samplers.recommended` for ``steps``."""
    sampling.grid = section(GRIDS, "recommended", supplied=("schedule", "n", "stochastic"))
    """The times of the steps; "recommended" is the grid that belongs to the solver, "file" takes the grid at ``path``,
    which experiments.tune wrote for this solver and number of steps, "times" takes ``times``."""
    sampling.steps = 25
    """Steps of the solver, each of one network evaluation for most of them."""
    sampling.denoise = config_dict.placeholder(bool)
    """Evaluates once more, at the last time of the grid, and takes x0: for schedules that begin with noise."""
    sampling.guidance_scale = 2.0
    """γ: 0 unconditional, 1 conditional, above 1 guided."""
    sampling.guidance_shape = section(rule_choices.SCALES, "constant", supplied=("guidance_scale",))
    """Of γ over time: constant, or from ``noise`` at t = 1 to ``guidance_scale`` at t = 0."""
    sampling.map_noise = config_dict.placeholder(float)
    """Level at which the map is corrupted when sampling, up to loss.map_noise; None is 0."""
    sampling.keep_map = config_dict.placeholder(bool)
    """The unconditional branch of guidance keeps the dense map, so that guidance is towards class and caption alone;
    None is False."""
    sampling.ema = "0.999"
    """Which average to sample from: one of training.ema_decays, "none", or, of a run with training.power_ema, any
    relative width in (0, 12^-1/2), as in "power_0.07"; while training one of those that are kept."""
    sampling.batch_size = 500
    """Samples that are drawn at once, on all devices together."""

    config.guidance = ("classifier_free",)
    """Rules, innermost first: one that chooses the base, then any that wrap it."""
    config.rules = rule_choices.fields()
    """The fields of the rules that config.guidance names."""
    return config


RANGES = {
    "noise_factor": above(0),
    **within("schedule", choices.SCHEDULE_RANGES),
    **within("network", choices.SIZE_RANGES),
    **within("loss.target", choices.TARGET_RANGES),
    **within("loss.weighting", choices.WEIGHTING_RANGES),
    **within("loss.times", choices.TIMES_RANGES),
    **within("preconditioning.noise", choices.NOISE_INPUT_RANGES),
    **or_none(**{"preconditioning.sigma_data": above(0)}),
    **within("loss.flow_map", flow_map_losses.RANGES),
    **within("loss.coupling", couplings.RANGES),
    **or_none(**{"loss.guidance_max": above(1)}),
    "loss.levels": one_of("example", "frame"),
    "loss.label_dropout": between(0, 1),
    "loss.vector_dropout": between(0, 1),
    "loss.map_dropout": between(0, 1),
    "loss.joint_dropout": between(0, 1),
    **or_none(**{"loss.caption_dropout": between(0, 1), "loss.tokens_dropout": between(0, 1)}),
    **within("sampling.solver", solver_choices.RANGES),
    **within("sampling.grid", GRID_RANGES),
    "sampling.steps": count(1, 10**6),
    "sampling.guidance_scale": at_least(0),
    **within("sampling.guidance_shape", rule_choices.SCALE_RANGES),
    **or_none(**{"loss.map_noise": between(0, 1, open_low=True), "sampling.map_noise": between(0, 1)}),
    "sampling.batch_size": count(1, 2**20),
    **within("rules", rule_choices.RANGES),
    **or_none(init_from=free("a folder or file of weights")),
    "sampling.ema": free("a decay, none, or power_<width>"),
    "guidance": free("a list of names of rules, innermost first"),
}
"""The values of the fields."""
