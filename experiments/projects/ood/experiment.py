"""An out-of-distribution experiment: the sets, their statistics, scores, batch tests and a gradient ascent."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.models.samples import check_samples
from experiments.projects.ood.data import NEAR, InDistribution, load_images
from experiments.projects.ood.model import ScoredModel, check_training, open_model
from experiments.projects.ood.scores import Separation, make_scores, rejected_by_batch, separate
from experiments.projects.ood.statistics import Statistics, measure
from scorekit import typicality

CALIBRATION, OWN = "calibration", "in distribution"
"""Names of the two halves of the held-out in-distribution images."""


_OF_FLOWS = 0.02
"""Step of the ascent on the density of a flow, which no noise smooths, in units of the variance of ``t_min``."""


class Ascent(NamedTuple):
    """In-distribution images, and their end points after gradient ascent on the density."""

    before: np.ndarray
    after: np.ndarray
    log_p_before: np.ndarray
    log_p_after: np.ndarray
    p_before: np.ndarray
    p_after: np.ndarray


class Outcome(NamedTuple):
    """The results; ``best`` is the score with the highest mean AUROC, whose values are ``scores``."""

    model: str
    images: dict[str, np.ndarray]
    statistics: dict[str, Statistics]
    best: str
    scores: dict[str, np.ndarray]
    rows: list[Separation]
    rejected: dict[str, list[float]]
    ascent: Ascent
    left_out: list[str]


def gather(config: Config, dataset: InDistribution) -> tuple[dict[str, np.ndarray], list[str]]:
    """The images of every set, and which are missing. ``CALIBRATION`` and ``OWN`` are halves of the held-out images."""
    rng = np.random.default_rng(config.seed)
    held_out = dataset.test["x"][rng.permutation(len(dataset.test["x"]))]
    half = min(len(held_out) // 2, config.examples)
    sets = {CALIBRATION: held_out[:half], OWN: held_out[half : 2 * half]}
    for name in config.near:
        sets[f"{name} (near)"] = NEAR[name](sets[OWN])
    left_out = []
    for name in config.far:
        try:
            images, _ = load_images(name, "test", config.side, config.bins)
        except ConfigError as error:
            left_out.append(str(error))
            continue
        sets[name] = images[: config.examples]
    return sets, left_out


def ascend(
    config: Config, scored: ScoredModel, dataset: InDistribution, sets: dict[str, np.ndarray], calibration: Statistics
) -> Ascent:
    """Gradient ascent on the density of noisy images from held-out ones, first at a larger noise level, and how typical
    its ends are."""
    x = dataset.to_model(sets[OWN][:8])
    schedule, t_min = scored.schedule, scored.t_min

    @jax.jit
    def climb(key, x):
        for_noise, for_probes = jax.random.split(key)
        start = scored.noised(for_noise, x)
        top = x
        first = (schedule.time_at(jnp.float32(config.ascent_log_snr)),) if scored.has_levels else ()
        size = 1.0 if scored.has_levels else _OF_FLOWS
        for t in (*first, t_min):
            top = typicality.seek_mode(scored.denoiser, schedule, top, t, steps=config.ascent_steps, step_size=size)
        return top, scored.log_density(for_probes, start), scored.log_density(for_probes, schedule.alpha(t_min) * top)

    top, before, after = jax.tree.map(np.asarray, climb(jax.random.key(config.seed), x))
    by = f"config.ascent_steps={config.ascent_steps} from log-SNR {config.ascent_log_snr:g}"
    check_samples((top, before, after), by, "ends of the gradient ascent")
    log_p = calibration["log p"][:, 0]
    sides = lambda values: [typicality.p_values(s * log_p, s * values) for s in (1, -1)]
    p = lambda values: np.minimum(1.0, 2.0 * np.minimum(*map(np.asarray, sides(values))))
    return Ascent(np.asarray(x), top, before, after, p(before), p(after))


def run(config: Config, workdir: Path) -> Outcome:
    """The full experiment, without the report."""
    dataset = InDistribution(config.in_distribution, config.side, config.bins)
    if config.kind == "network" and not config.run:
        check_training(config.train, dataset, workdir)
    scored = open_model(config, dataset, workdir)
    sets, left_out = gather(config, dataset)
    found = measure(config, scored, dataset, sets, workdir / "statistics")
    scores = make_scores(found[CALIBRATION])
    others = {name: s for name, s in found.items() if name not in (CALIBRATION, OWN)}
    rows = separate(scores, found[OWN], others, config.seed)
    tested = {name: s for name, s in found.items() if name != CALIBRATION}
    rejected = rejected_by_batch(found[CALIBRATION], tested, config.batches, config.seed)
    ascent = ascend(config, scored, dataset, sets, found[CALIBRATION])
    best = max(scores, key=lambda name: np.mean([row.auroc for row in rows if row.score == name]))
    values = {name: scores[best](s) for name, s in found.items()}
    return Outcome(scored.name, sets, found, best, values, rows, rejected, ascent, left_out)
