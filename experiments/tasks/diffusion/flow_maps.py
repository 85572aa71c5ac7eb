"""Flow maps by name, each of which is imported when a config names it."""

from experiments.cli.choices import Choice, Choices
from experiments.cli.fields import FRACTION, NON_NEGATIVE, POSITIVE
from scorekit.arguments import Between, Count

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
