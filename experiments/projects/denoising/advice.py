"""What the scales of a data set recommend for a config, why, and the overrides that say so."""

import math
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from experiments.cli.progress import human
from experiments.data.dataset import Dataset
from experiments.projects.denoising.data_scales import Scales, coarsest, moments, octaves, photographs, strongest
from experiments.reporting.tables import Table
from scorekit import samplers, schedules
from scorekit.typing import Schedule

TOKENS = 256  # of a transformer: as DiT has on the latents of 256 x 256 images with patches of 2
SIDE = 64  # the resolution that schedules of images are made for (Hoogeboom et al. 2023)
FEW = 5000  # training examples below which a smaller network is recommended
LATENTS = 128  # the side of images from which on a model of latents is recommended
STEPS = 25


class Advice(NamedTuple):
    """A recommendation, and the reason."""

    what: str
    why: str


class Command(NamedTuple):
    """A training: the config file, and the fields that differ from it."""

    title: str
    config: str
    overrides: Mapping[str, Any]

    def text(self, workdir: str) -> str:
        """The command as it is typed."""
        first = f"python -m experiments.train --config={shlex.quote(self.config)} --workdir={workdir}"
        words = (shlex.quote(f"--config.{field}={as_text(value)}") for field, value in self.overrides.items())
        return " \\\n    ".join([first, *words])


def as_text(value: Any) -> str:
    """A value as it is typed."""
    typed = lambda value: value if isinstance(value, str) else repr(value)
    return ",".join(map(typed, value)) if isinstance(value, tuple) else typed(value)


def rounded(value: float, digits: int = 2) -> float:
    """To so many significant digits.

    >>> rounded(0.15678), rounded(1234.0)
    (0.16, 1200.0)
    """
    return float(f"{value:.{digits}g}")


def coarse_factor(scales: Scales) -> float:
    """The ``noise_factor`` with which the coarsest features are lost where 64 x 64 photographs lose theirs without it.

    For photographs of d x d pixels it is about ``d / 64``, the rule of simple diffusion (Hoogeboom et al. 2023): a
    shift of the log-SNR by ``2 log(64 / d)``.
    """
    return coarsest(scales) / coarsest(photographs(SIDE))


def spectral_factor(scales: Scales) -> float:
    """:func:`coarse_factor`, but at least ``exp(P_mean)``.

    The latter puts half of a cosine schedule above the noise in which a typical coefficient is lost: with less, as the
    former rule gives for a few pixels, too few steps are left for the coarse shape.
    """
    return max(coarse_factor(scales), math.exp(moments(scales)[0]))


def patch_of(grid: tuple[int, ...]) -> int:
    """The smallest patch that divides the grid into at most :data:`TOKENS`, else the largest that divides it.

    >>> patch_of((32, 32)), patch_of((8, 8)), patch_of((4096,))
    (2, 1, 16)
    """
    common = math.gcd(*grid)
    divisors = [p for p in range(1, common + 1) if common % p == 0]
    return next((p for p in divisors if math.prod(side // p for side in grid) <= TOKENS), divisors[-1])


def config_for(shape: tuple[int, ...], examples: int) -> tuple[str, dict[str, Any], str]:
    """The config of images whose network fits, its fields to change, and why: by resolution and number of examples."""
    side, images = max(shape[:-1]), "experiments/configs/images"
    if side <= 16:
        return f"{images}/digits.py", {}, "made for 8 x 8 images"
    few = examples < FEW
    name, made = ("mnist", "28 x 28") if side <= 28 or few else ("cifar10", "32 x 32")
    levels = max(1, round(math.log2(side / 8)) + 1)
    while levels > 1 and any(length % 2 ** (levels - 1) for length in shape[:-1]):
        levels -= 1
    multipliers = (1, *[2] * (levels - 1))
    coarse = side // 2 ** (levels - 1)
    plural = "s" if levels > 1 else " (a side that 8 divides allows more)"
    why = f"made for {made} images; {levels} level{plural}, down to {coarse} pixels a side, with attention there"
    if few and side > 28:
        why += f"; not the wider one of cifar10.py, for fewer than {FEW:,} images"
    return f"{images}/{name}.py", {"network.multipliers": multipliers, "network.attention_resolutions": (coarse,)}, why


def edm_fields(scales: Scales) -> dict[str, Any]:
    """The fields of EDM's noise, preconditioning and loss at these scales."""
    sigma_data = rounded(scales.std, 3)
    mean, std = (rounded(value, 3) for value in moments(scales))
    least = scales.step / 4 if scales.step else 0.1 * math.exp(mean - 2 * std)
    return {
        "schedule.name": "edm",
        "schedule.sigma_min": rounded(least),
        "schedule.sigma_max": rounded(10 * coarsest(scales)),
        "preconditioning.noise.name": "log_snr",
        "preconditioning.noise.scale": -0.125,
        "preconditioning.sigma_data": sigma_data,
        "loss.target.name": "edm",
        "loss.target.sigma_data": sigma_data,
        "loss.weighting.name": "edm",
        "loss.weighting.sigma_data": sigma_data,
        "loss.times.name": "log_normal_sigma",
        "loss.times.mean": mean,
        "loss.times.std": std,
    }


def summary(scales: Scales, dataset: Dataset) -> str:
    """Size, shape and moments."""
    size = "drawn anew" if dataset.examples is None else f"{dataset.examples:,} training examples"
    values = "" if dataset.bins is None else f", {dataset.bins} values in [-1, 1]"
    classes = f"{dataset.num_classes} class{'es' * (dataset.num_classes > 1)}"
    first = f"{dataset.name}: {size} of {dataset.described()}{values}, {classes}"
    return (
        f"{first}\nsigma_data = {scales.std:.3f}, the standard deviation of all values (mean {scales.mean:.3f}, "
        f"root mean square {scales.rms:.3f}; {scales.examples:,} examples)\n"
    )


def scale_table(scales: Scales, dataset: Dataset) -> Table:
    """The noise level above which each octave of frequencies, or each principal component, is lost."""
    schedule = schedules.shifted(schedules.cosine(), rounded(spectral_factor(scales)))
    lost = lambda sigma: [
        f"{sigma:.3g}",
        f"{-2 * math.log(sigma):.2f}",
        f"{float(schedule.time_at(-2 * math.log(sigma))):.2f}",
    ]
    last = ["lost above sigma/alpha", "log-SNR", "t, shifted cosine"]
    if scales.bands is None:
        power = scales.power[scales.power > 0]
        rows = [[k + 1, f"{p / power.sum():.1%}", *lost(math.sqrt(p))] for k, p in enumerate(power[:8])]
        return Table(["component", "of the variance", *last], rows)
    axis = dataset.frequency_axis()
    more, rows = [] if scales.channels is None else ["in the strongest channel"], []
    for octave, sigma in zip(octaves(scales), strongest(scales), strict=True):
        if octave.power > 0:
            period = f"{1 / octave.frequency:,.{1 if octave.frequency > 0.01 else 0}f}"
            found = [period, axis.show(octave.frequency), f"{octave.share:.1%}", *lost(octave.sigma)]
            rows.append([*found, *(f"{sigma:.3g}" for _ in more)])
    return Table([f"period, {axis.positions}", axis.unit, "of the variance", *last, *more], rows)


def noise_advice(scales: Scales, shape: tuple[int, ...], schedule: Schedule) -> list[Advice]:
    """On the schedule, EDM's distribution and the sampler."""
    factor, edm, photographic = spectral_factor(scales), edm_fields(scales), moments(photographs(32))
    coarse = coarsest(scales)
    strongest = "" if scales.channels is None else " of the strongest channel"
    lost = (
        f"the coarsest features{strongest} are lost in noise at sigma/alpha = {coarse:.3g}, those of photographs of "
        f"{SIDE} x {SIDE} pixels at {coarsest(photographs(SIDE)):.3g}"
    )
    why = lost
    if factor > coarse_factor(scales):
        why = f"exp(P_mean), the middle of the noise that matters; {lost}, which gives {coarse_factor(scales):.2g}"
    if len(shape) == 3:
        side = max(shape[:2])
        why += f"; the rule of resolution alone is {side}/{SIDE}, a shift by {2 * math.log(SIDE / side):+.2f}"
    step = "a quarter of the step between values" if scales.step else "a tenth of the least that is trained on"
    solver, _ = samplers.recommended(schedule, STEPS)
    return [
        Advice(f"noise_factor = {rounded(factor)} (log-SNR shifted by {-2 * math.log(factor):+.2f})", why),
        Advice(
            f"P_mean = {edm['loss.times.mean']:g}, P_std = {edm['loss.times.std']:g} for EDM's log-normal noise",
            "mean and standard deviation of log sigma over the noise levels at which the coefficients are recovered; "
            f"photographs of 32 x 32 give {photographic[0]:.2f}, {photographic[1]:.2f}, EDM has -1.2, 1.2",
        ),
        Advice(
            f"sigma from {edm['schedule.sigma_min']:g} to {edm['schedule.sigma_max']:g} for EDM",
            f"{step}; ten times the noise in which the coarsest features are lost, an SNR of 0.01",
        ),
        Advice(
            f"{type(solver).__name__} on the recommended grid, {STEPS} steps",
            "the least error for this number of evaluations of exact and trained denoisers (docs/solvers.md)",
        ),
    ]


def patch_advice(scales: Scales, shape: tuple[int, ...]) -> Advice:
    """Advice on the patch of a transformer."""
    patch = patch_of(shape[:-1])
    tokens = math.prod(side // patch for side in shape[:-1])
    finer = sum(octave.share for octave in octaves(scales) if octave.frequency > 0.5 / patch)
    why = f"{tokens} tokens, of at most {TOKENS}"
    if tokens > TOKENS:
        why = f"{tokens} tokens: no patch divides {shape[:-1]} into at most {TOKENS}; choose another size"
    if patch > 1:
        why += f"; {finer:.0%} of the variance is finer than a patch and left to its linear embedding"
    return Advice(f"patch = {patch} for a DiT", why)


def latents_advice(shape: tuple[int, ...]) -> list[Advice]:
    """Of large images, advice to train on latents."""
    why = (
        f"from {LATENTS} pixels a side on most of what is learned is texture: python -m "
        "experiments.tasks.latents.precompute encodes the folder with a published autoencoder; run this again with "
        "--config.latents=…"
    )
    return [Advice("a model of latents", why)] if len(shape) == 3 and max(shape[:2]) >= LATENTS else []


def network_advice(config: str, why: str, params: Any, examples: int | None) -> Advice:
    """On the size of the network."""
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    each = "" if examples is None else f"; {examples:,} training examples"
    return Advice(f"the network of {config}, {human(count)} parameters", f"{why}{each}")


def commands(config: str, own: Mapping[str, Any], scales: Scales, dataset: Dataset) -> list[Command]:
    """The trainings to paste, with fields of their own: the shifted schedule, EDM, and of images a transformer."""
    steps = {"sampling.solver.name": "recommended", "sampling.grid.name": "recommended", "sampling.steps": STEPS}
    shift = {"noise_factor": rounded(spectral_factor(scales))}
    found = [
        Command("shifted schedule", config, {**own, **shift, **steps}),
        Command("EDM", config, {**own, **edm_fields(scales), **steps}),
    ]
    if len(dataset.shape) == 3 and config.startswith("experiments/configs/images/"):
        small = max(dataset.shape[:2]) <= 16 or (dataset.examples or 0) < FEW
        size = {} if small else {"network.depth": 12, "network.width": 384, "network.heads": 6}
        data = {field: value for field, value in own.items() if not field.startswith("network.")}
        patch = {"network.patch": patch_of(dataset.shape[:-1])}
        dit = "experiments/configs/images/digits_dit.py"
        found.append(Command("transformer", dit, {**data, **patch, **size, **shift, **steps}))
    return found
