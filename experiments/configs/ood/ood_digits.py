r"""Real 8x8 digits against photographs, MNIST and Fashion-MNIST at the same resolution. Trains a network, or loads one.

    python -m experiments.projects.ood.fetch
    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.projects.ood.detect --config=experiments/configs/ood/ood_digits.py --workdir=runs/ood \
        --config.run=runs/digits

MNIST and Fashion-MNIST take part once the first command has downloaded them.

Four minutes on two cores for the network (README.md). Density of states has an AUROC of 0.949 against mirrored digits
and 0.998 against MNIST, the likelihood 0.913 and 0.897 (docs/typicality.md).

``ood_digits.py:flow`` takes the invertible flow of ``images/digits_flow.py``, whose density is exact, by
``--config.run=runs/digits_flow``; a minute for the scores: the likelihood has an AUROC of 0.92 against mirrored digits,
0.980 against MNIST and 0.921 against Fashion-MNIST. ``ood_digits.py:gaussian`` is one Gaussian, whose denoiser and
density are exact: no training, seconds.
"""

from dataclasses import replace

from experiments.cli.config import Config
from experiments.cli.fields import POSITIVE, Field, Section, Text
from experiments.configs import base
from experiments.configs.images import digits
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import SEED
from scorekit.arguments import Between, Count, Each

FIELDS = Section(
    seed=replace(SEED, meaning="Of the split, the probes and the noise."),
    in_distribution=Field("sklearn_digits", Text("the name of a set of images"), """
        The set that is learned, by its TFDS name."""),
    near=Field(("mirrored", "shifted"), Each(Text("names of small changes")), """
        Held-out in-distribution images with a small change."""),
    far=Field(("photos", "mnist", "fashion_mnist"), Each(Text("names of sets")), """
        Other sets: "photos", or TFDS names; those that cannot be loaded are left out."""),
    side=Field(8, Count(1, 4096), "Every set is brought to this resolution and number of grey values first."),
    bins=Field(17, Count(2, 256), "Grey values of every set."),
    examples=Field(500, Count(1), "At most so many of each set."),
    kind=Field("network", Text("network, flow, gaussian or mixture"), """
        "network", an invertible "flow" of config.run, or a density in closed form: "gaussian" or "mixture" (a Gaussian
        for each class)."""),
    run=Field("", Text("a folder, or nothing"), """
        A folder of experiments.train to take the network or the flow from; a network is trained here if empty."""),
    rank=Field(40, Count(0, 2**16), "Principal directions of a Gaussian."),
    floor=Field(0.05, POSITIVE, "Smallest standard deviation of the other directions."),
    log_snrs=Field((6.0, 4.0, 2.0, 0.0, -2.0), Each(Between(), least=1), """
        Noise levels of score norms, reconstructions and curvature."""),
    curvature_levels=Field(2, Count(1), "The curvature is taken at the first of them only."),
    likelihood_steps=Field(10, Count(1, 10**6), """
        Of the probability-flow ODE, four evaluations each; against an exact density, 10 are within 0.05 nats a
        value."""),
    jumps=Field(2, Count(1, 10**6), """
        Of a flow map with a divergence head, from data to noise: its likelihood takes an evaluation for each."""),
    probes=Field(4, Count(1, 10**6), "Random directions of divergence and curvature, for each image."),
    bound_times=Field(16, Count(1, 10**6), "Noise levels per image in the variational bound."),
    path_steps=Field(10, Count(2, 10**6), "Steps of the path whose length and curvature are scores."),
    reconstruction_steps=Field(10, Count(1, 10**6), "Steps of a reconstruction from noise."),
    ascent_log_snr=Field(3.0, Between(), "The noise level, in nats, at which gradient ascent on the density begins."),
    ascent_steps=Field(100, Count(1), "Its steps at each of two noise levels."),
    batches=Field((1, 2, 4, 8, 16, 32), Each(Count(1, 2**20), least=1), """
        Sizes of the batches that the typicality test is tried on."""),
    batch_size=Field(250, Count(1, 2**20), "Images that are measured at once."),
    train=diffusion.FIELDS,
)  # fmt: skip


def get_config(argument="") -> Config:
    base.check_argument(argument, "flow", "gaussian")
    config = FIELDS.defaults()
    with config.unlocked():
        config.train = digits.get_config()  # the config of the network that is trained here, as of experiments.train
    config.kind = argument or config.kind
    return config.lock()
