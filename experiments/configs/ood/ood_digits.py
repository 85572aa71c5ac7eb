"""Real 8x8 digits against photographs, MNIST and Fashion-MNIST at the same resolution. Trains a network, or loads one:

    python -m experiments.ood.detect --config=experiments/configs/ood/ood_digits.py --workdir=runs/ood \\
        --config.run=runs/digits

MNIST and Fashion-MNIST take part once they have been fetched: ``python -m experiments.ood.fetch``.
"""

from ml_collections import ConfigDict

from experiments.cli.config import Config
from experiments.cli.ranges import Ranges, above, count, finite, free, items, within
from experiments.configs import base
from experiments.configs.images import digits


def get_config() -> Config:
    config: Config = ConfigDict()
    config.seed = 0
    """Of the split, the probes and the noise."""
    config.in_distribution = "sklearn_digits"
    """The set that is learned, by its TFDS name."""
    config.near = ("mirrored", "shifted")
    """Held-out in-distribution images with a small change."""
    config.far = ("photos", "mnist", "fashion_mnist")
    """Other sets: "photos", or TFDS names; those that cannot be loaded are left out."""
    config.side = 8
    """Every set is brought to this resolution and number of grey values first."""
    config.bins = 17
    """Grey values of every set."""
    config.examples = 500
    """At most so many of each set."""

    config.kind = "network"
    """"network", or a density in closed form: "gaussian" or "mixture" (a Gaussian for each class)."""
    config.run = ""
    """A folder of experiments.train to take the network from; trained here if empty."""
    config.rank = 40
    """Principal directions of a Gaussian."""
    config.floor = 0.05
    """Smallest standard deviation of the other directions."""

    config.log_snrs = (6.0, 4.0, 2.0, 0.0, -2.0)
    """Noise levels of score norms, reconstructions and curvature."""
    config.curvature_levels = 2
    """The curvature is taken at the first of them only."""
    config.likelihood_steps = 10
    """Of the probability-flow ODE, four evaluations each; against an exact density, 10 are within 0.05 nats a value."""
    config.probes = 4
    """Random directions of divergence and curvature, for each image."""
    config.bound_times = 16
    """Noise levels per image in the variational bound."""
    config.path_steps = 10
    """Steps of the path whose length and curvature are scores."""
    config.reconstruction_steps = 10
    """Steps of a reconstruction from noise."""
    config.ascent_log_snr = 3.0
    """The noise level, in nats, at which gradient ascent on the density begins."""
    config.ascent_steps = 100
    """Its steps at each of two noise levels."""
    config.batches = (1, 2, 4, 8, 16, 32)
    """Sizes of the batches that the typicality test is tried on."""
    config.batch_size = 250
    """Images that are measured at once."""
    config.train = digits.get_config()
    """The config of the network that is trained here, as of experiments.train."""
    return config.lock()


def ranges() -> Ranges:
    """The values of the fields."""
    return {
        "seed": base.SEED,
        "in_distribution": free("the name of a set of images"),
        "near": free("names of small changes"),
        "far": free("names of sets"),
        "kind": free("network, gaussian or mixture"),
        "run": free("a folder, or nothing"),
        "side": count(1, 4096),
        "bins": count(2, 256),
        "examples": count(1),
        "rank": count(0, 2**16),
        "floor": above(0),
        "log_snrs": items(finite, least=1),
        "curvature_levels": count(1),
        "likelihood_steps": count(1, 10**6),
        "probes": count(1, 10**6),
        "bound_times": count(1, 10**6),
        "path_steps": count(2, 10**6),
        "reconstruction_steps": count(1, 10**6),
        "ascent_log_snr": finite,
        "ascent_steps": count(1),
        "batches": items(count(1, 2**20), least=1),
        "batch_size": count(1, 2**20),
        **within("train", base.ranges()),
    }
