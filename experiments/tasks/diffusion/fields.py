"""The fields of a diffusion: its network, loss, sampler and guidance."""

from experiments.cli.choices import Choice, Choices
from experiments.cli.fields import FRACTION, NON_NEGATIVE, POSITIVE, Field, Section, Text
from experiments.models import choices
from experiments.models.networks import NETWORKS
from experiments.models.run_files import SAMPLED
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.objectives import COUPLINGS, OBJECTIVES
from experiments.tasks.diffusion.solvers import GRIDS, SOLVERS
from scorekit.arguments import Between, Count, Each, OneOf

FLOW_MAPS = Choices(
    {
        "none": Choice(lambda: None, "A denoiser is trained."),
        **{
            name: f"experiments.tasks.flow_maps.losses:{name}"
            for name in (
                "adversarial",
                "consistency_tuning",
                "drifting",
                "eulerian",
                "improved_mean_flow",
                "lagrangian",
                "mean_flow",
                "progressive",
                "shortcut",
                "stable_consistency",
            )
        },
    },
    "none",
    """Trains a flow map in place of a denoiser (experiments.tasks.flow_maps.losses): the network gets the length of the
    jump, ``sampling.solver.name=flow_map`` samples with it, and ``loss.weighting`` is not used.""",
    bounds={
        "base": Between(1, open="low"),
        "channels": Count(1, 2**16),
        "depth": Count(0, 20),
        "diagonal": FRACTION,
        "levels": Count(1, 20),
        "normalise": POSITIVE,
        "offset": POSITIVE,
        "penalty": NON_NEGATIVE,
        "power": NON_NEGATIVE,
        "rate": POSITIVE,
        "scale": POSITIVE,
        "stages": Count(1, 20),
        "warmup": Between(0, 1, "low"),
    },
)
"""Flow maps by name, each of which is imported when a config names it."""

MODEL_FIELDS = Section(
    noise_factor=Field(1.0, POSITIVE, """
        Multiplies sigma / alpha at every t: above 1 for images larger than the schedule was made for."""),
    schedule=choices.SCHEDULES,
    network=NETWORKS,
    init_from=Field(None, Text("a folder or file of weights"), """
        A folder or file that scorekit.io.load reads: training starts from its parameters, a flow map from those of a
        denoiser too. Network, preconditioning and target are taken from it where they are left at their defaults; None
        starts from random parameters."""),
    preconditioning=Section(
        noise=choices.NOISE_INPUTS,
        sigma_data=Field(None, POSITIVE, """
            Standard deviation of the data: the input of the network is scaled to unit variance; None leaves it at
            x_t."""),
    ),
    loss=Section(
        target=choices.TARGETS,
        weighting=choices.WEIGHTINGS,
        times=choices.TIMES,
        objective=Field("denoising", OneOf(*OBJECTIVES), """
            The loss: "denoising" at a time, and so a noise level, of every example; "frame_levels" at a time of every
            frame of a signal of frames (diffusion forcing), so that ``experiments.projects.audio.sound.roll_out`` draws
            sounds of any length; or the variational "bound", which trains the schedule "learned" too."""),
        log_variance=Field(None, bool, """
            Learns the log-variance u of the loss at each noise level and trains on loss / exp(u) + u, so that all noise
            levels contribute equally (Karras et al. 2024)."""),
        flow_map=FLOW_MAPS,
        coupling=COUPLINGS,
        guidance_max=Field(None, Between(1, open="low"), """
            A flow map takes γ as a condition, drawn for each example from 1 to this: ``sampling.guidance_scale``
            chooses it, at one evaluation a step; None is a map without guidance."""),
        label_dropout=Field(0.1, FRACTION, """
            The class is replaced by the null token in this share of the examples, for guidance."""),
        vector_dropout=Field(0.1, FRACTION, "The same of the vector, independently of the other conditions."),
        map_dropout=Field(0.1, FRACTION, "The same of the dense map, independently of the other conditions."),
        tokens_dropout=Field(None, FRACTION, """
            The same of the tokens, independently of the other conditions; None is 0."""),
        caption_dropout=Field(None, FRACTION, """
            In this share of the examples all that describes them, class, vector and tokens, is dropped together, and
            the dense map is kept; None is 0."""),
        map_noise=Field(None, Between(0, 1, "low"), """
            Noise-conditioning augmentation: the map is corrupted at a level drawn from 0 to this (at most 1), which is
            a condition of the network; None is no augmentation."""),
        joint_dropout=Field(0.0, FRACTION, "In this share of the examples all conditions are dropped together."),
    ),
    sampling=Section(
        solver=SOLVERS,
        grid=GRIDS,
        steps=Field(25, Count(1, 10**6), "Steps of the solver, each of one network evaluation for most of them."),
        denoise=Field(None, bool, """
            Evaluates once more, at the last time of the grid, and takes x0: for schedules that begin with noise."""),
        guidance_scale=Field(2.0, NON_NEGATIVE, "γ: 0 unconditional, 1 conditional, above 1 guided."),
        map_noise=Field(None, FRACTION, """
            Level at which the map is corrupted when sampling, up to loss.map_noise; None is 0."""),
        keep_map=Field(None, bool, """
            The unconditional branch of guidance keeps the dense map, so that guidance is towards class and caption
            alone; None is False."""),
        ema=SAMPLED,
        batch_size=Field(500, Count(1, 2**20), "Samples that are drawn at once, on all devices together."),
    ),
    guidance=Field(("classifier_free",), Each(Text("names of rules, innermost first")), """
        Rules, innermost first: one that chooses the base, then any that wrap it."""),
    rules=guidance.RULES,
)  # fmt: skip
"""All fields of a diffusion but those of its data, conditions, training and evaluation."""
