"""Which images does a model call its own? Scores a data set against others, with every statistic.

    python -m experiments.ood.detect --config=experiments/configs/ood/ood_digits.py --workdir=runs/ood_digits
    python -m experiments.ood.detect --config=… --workdir=… --config.run=runs/digits

fits, trains or loads the model (``config.kind``, ``config.run``), prints one table for each foreign set and writes
``ood.html``, ``ood.json`` and pictures into ``workdir``. Half of the held-out in-distribution images calibrate the
scores; the other half is what they are tried on. The same command continues a training or scoring that was stopped.
"""

import json
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.ood import report as ood_report
from experiments import train# noqa: F401  (train defines --config and --workdir)
from experiments.cli.config import Config, ConfigError, check_config, require, save_resolved
from experiments.configs.ood import ood_digits
from experiments.ood.data import NEAR, Inside, load_images
from experiments.ood.model import Scored, noisy, open_model
from experiments.ood.scores import Separation, make_scores, rejected_by_batch, separate
from experiments.ood.statistics import Statistics, measure
from scorekit import typicality
from scorekit.io.files import write_atomic


class Ascent(NamedTuple):
    """In-distribution images, and where gradient ascent on the density takes them."""

    before: np.ndarray
    after: np.ndarray
    log_p_before: np.ndarray
    log_p_after: np.ndarray
    p_before: np.ndarray
    p_after: np.ndarray


class Outcome(NamedTuple):
    """Everything that a run finds; ``best`` is the score with the highest mean AUROC, whose values are ``scores``."""

    model: str
    images: dict[str, np.ndarray]
    statistics: dict[str, Statistics]
    best: str
    scores: dict[str, np.ndarray]
    rows: list[Separation]
    rejected: dict[str, list[float]]
    ascent: Ascent
    left_out: list[str]


def check(config: Config) -> None:
    """Refuses a config that cannot be run."""
    check_config(config, ood_digits.get_config())
    for name in config.near:
        require(name in NEAR, "near", config.near, f"of {', '.join(NEAR)}")
    require(len(config.near) > 0, "near", config.near, "at least one set: a near one is always shown")
    for field in ("examples", "batch_size", "probes", "likelihood_steps", "reconstruction_steps", "ascent_steps"):
        require(config[field] >= 1, field, config[field], ">= 1")
    require(config.train.data.name == config.inside, "train.data.name", config.train.data.name, config.inside)
    require(config.path_steps >= 2, "path_steps", config.path_steps, ">= 2")
    require(1 <= config.curvature_levels <= len(config.log_snrs), "curvature_levels", config.curvature_levels,
            f"from 1 to the {len(config.log_snrs)} of config.log_snrs")  # fmt: skip


def gather(config: Config, dataset: Inside) -> tuple[dict[str, np.ndarray], list[str]]:
    """The images of every set, and what is not there. "calibration" and "inside" are halves of the held-out images."""
    rng = np.random.default_rng(config.seed)
    held_out = dataset.test["x"][rng.permutation(len(dataset.test["x"]))]
    half = min(len(held_out) // 2, config.examples)
    sets = {"calibration": held_out[:half], "inside": held_out[half : 2 * half]}
    for name in config.near:
        sets[f"{name} (near)"] = NEAR[name](sets["inside"])
    left_out = []
    for name in config.far:
        try:
            images, _ = load_images(name, "test", config.side, config.levels)
        except ConfigError as error:
            left_out.append(str(error))
            continue
        sets[name] = images[: config.examples]
    return sets, left_out


def ascend(config: Config, scored: Scored, dataset: Inside, sets: dict[str, np.ndarray], known: Statistics) -> Ascent:
    """Climbs the density of noisy images from held-out ones, first at a larger noise level, and asks how typical the
    tops are."""
    x = dataset.to_model(sets["inside"][:8])
    schedule, t_min = scored.schedule, scored.t_min

    @jax.jit
    def climb(key, x):
        for_noise, for_probes = jax.random.split(key)
        start = noisy(for_noise, schedule, x, t_min)
        top = x
        for t in (schedule.time_at(jnp.float32(config.ascent_log_snr)), t_min):
            top = typicality.seek_mode(scored.denoiser, schedule, top, t, steps=config.ascent_steps)
        return top, scored.log_density(for_probes, start), scored.log_density(for_probes, schedule.alpha(t_min) * top)

    top, before, after = jax.tree.map(np.asarray, climb(jax.random.key(config.seed), x))
    log_p = known["log p"][:, 0]
    sides = lambda values: [typicality.p_values(s * log_p, s * values) for s in (1, -1)]
    p = lambda values: np.minimum(1.0, 2.0 * np.minimum(*map(np.asarray, sides(values))))
    return Ascent(np.asarray(x), top, before, after, p(before), p(after))


def investigate(config: Config, workdir: Path) -> Outcome:
    """Everything but the report."""
    dataset = Inside(config.inside, config.side, config.levels)
    scored = open_model(config, dataset, workdir)
    sets, left_out = gather(config, dataset)
    found = measure(config, scored, dataset, sets, workdir / "statistics")
    scores = make_scores(found["calibration"])
    outside = {name: s for name, s in found.items() if name not in ("calibration", "inside")}
    rows = separate(scores, found["inside"], outside, config.seed)
    tried = {name: s for name, s in found.items() if name != "calibration"}
    rejected = rejected_by_batch(found["calibration"], tried, config.batches, config.seed)
    ascent = ascend(config, scored, dataset, sets, found["calibration"])
    best = max(scores, key=lambda name: np.mean([row.auroc for row in rows if row.score == name]))
    values = {name: scores[best](s) for name, s in found.items()}
    return Outcome(scored.name, sets, found, best, values, rows, rejected, ascent, left_out)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(flags.FLAGS.workdir)).expanduser().absolute()
    check(config)
    save_resolved(config, workdir / "config.json")
    outcome = investigate(config, workdir)
    for message in outcome.left_out:
        print(f"left out: {message}")
    print(ood_report.as_text(config, outcome))
    print(ood_report.ascent_as_text(outcome.ascent))
    numbers = {f"{row.outside}/{row.score}": row.auroc for row in outcome.rows}
    write_atomic(workdir / "ood.json", json.dumps(numbers, indent=2) + "\n")
    report = ood_report.write(workdir, config, outcome, time.monotonic() - start)
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: flags.FLAGS.config)
