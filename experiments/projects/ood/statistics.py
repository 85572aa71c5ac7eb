"""Every statistic of every set of images: one at a time, in batches, saved as soon as it is computed."""

import functools
import json
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import progress
from experiments.cli.config import Config, ConfigError, leaves
from experiments.cli.outputs import write_arrays
from experiments.data.dataset import in_blocks
from experiments.models.samples import check_samples
from experiments.projects.ood.data import InDistribution
from experiments.projects.ood.model import ScoredModel
from scorekit import solvers, typicality
from scorekit.io.files import write_atomic
from scorekit.likelihood import variational_bound
from scorekit.typing import Array, Key

Statistics = dict[str, np.ndarray]
"""Statistics ``(N, F)`` by name."""


class Statistic(NamedTuple):
    """One statistic: ``compute(key, x) -> (B, F)``, compiled, and how many evaluations and tangents it costs."""

    compute: Callable[[Key, Array], Array]
    cost: int


def make_statistics(config: Config, scored: ScoredModel, bins: int) -> dict[str, Statistic]:
    """The statistics of a model by name: each is a program of its own, so that only one is in memory at a time."""
    denoiser, schedule = scored.denoiser, scored.schedule
    ts = schedule.time_at(jnp.asarray(config.log_snrs, jnp.float32))
    path = jnp.linspace(0.999, scored.t_min, config.path_steps)
    curved = ts[: config.curvature_levels]

    def log_p(density, key, x):
        for_noise, for_probes = jax.random.split(key)
        return density(for_probes, scored.noised(for_noise, x))[:, None]

    def bound(key, x):
        options = {"num_times": config.bound_times, "t_min": scored.t_min, "bins": bins}
        return variational_bound(key, denoiser, schedule, x, **options).total[:, None]

    def norms(key, x):
        del key
        return typicality.score_norms(None, denoiser, schedule, x, ts)

    def one_step(key, x):
        return typicality.reconstruction_errors(key, denoiser, schedule, x, ts)

    def many_steps(key, x):
        options = {"solver": solvers.AdamsBashforth(), "steps": config.reconstruction_steps}
        return typicality.reconstruction_errors(key, denoiser, schedule, x, ts, **options)

    def along_path(key, x):
        del key
        return typicality.path_statistics(denoiser, schedule, x, path)

    def curvature(key, x):
        return typicality.score_curvature(key, denoiser, schedule, x, curved, probes=config.probes)

    cost = 4 * config.likelihood_steps * (1 + config.probes)
    cost = cost if config.kind == "network" else 1  # the density of the others has a closed form
    found: dict[str, tuple[Callable, int]] = {"log p": (functools.partial(log_p, scored.log_density), cost)}
    of_levels: dict[str, tuple[Callable, int]] = {
        "bound": (bound, config.bound_times),
        "norms": (norms, len(ts)),
        "one step": (one_step, len(ts)),
        "many steps": (many_steps, len(ts) * config.reconstruction_steps),
        "path": (along_path, config.path_steps),
        "curvature": (curvature, len(curved) * (1 + config.probes)),
    }
    found |= of_levels if scored.has_levels else {}
    if scored.map_density is not None:
        found["map log p"] = functools.partial(log_p, scored.map_density), config.jumps
    return {name: Statistic(jax.jit(compute), cost) for name, (compute, cost) in found.items()}


def measure(
    config: Config, scored: ScoredModel, dataset: InDistribution, sets: Mapping[str, np.ndarray], folder: Path
) -> dict[str, Statistics]:
    """All statistics of all sets of uint8 images ``(N, H, W, C)``, one after the other, in batches of one size.

    Each statistic is saved in ``folder`` once all sets have it, and read from there by the next run with the same
    config, model and sets.

    Returns:
      By set: "log p", of a flow map with a divergence head "map log p", "bound", "norms", "one step", "many steps",
      "path", "curvature" and "code length"; of a flow "log p" and "code length".
    """
    assert dataset.bins is not None
    statistics = make_statistics(config, scored, dataset.bins)
    found = _saved(config, scored, sets, folder)
    batches = sum(-(-len(images) // config.batch_size) for images in sets.values())
    missing = {name: statistic for name, statistic in statistics.items() if name not in found}
    total, done = batches * sum(statistic.cost for statistic in missing.values()), 0
    keys = dict(zip(statistics, jax.random.split(jax.random.key(config.seed), len(statistics)), strict=True))
    with progress.Progress(
        max(total, 1), batch_size=config.batch_size, label="scoring", unit="network evaluations"
    ) as bar:
        for name, statistic in missing.items():
            start, values = time.monotonic(), {}
            for i, (set_name, images) in enumerate(sets.items()):

                def batch(rows, name=name, statistic=statistic, i=i, images=images):
                    nonlocal done
                    key = jax.random.fold_in(jax.random.fold_in(keys[name], i), int(rows[0]) // config.batch_size)
                    values = np.asarray(statistic.compute(key, dataset.to_model(images[rows])))
                    done += statistic.cost
                    bar.update(done)
                    return values

                values[set_name] = in_blocks(batch, np.arange(len(images)), config.batch_size)
                check_samples(values[set_name], f"{name} of {set_name} under {scored.name}", "statistics")
            found[name] = values
            write_arrays(folder / f"{name.replace(' ', '_')}.npz", **values)
            print(f"{name}: {sum(map(len, sets.values())):,} images, {progress.duration(time.monotonic() - start)}")
    lengths = {"code length": {name: typicality.code_length(images)[:, None] for name, images in sets.items()}}
    return {
        set_name: {name: found[name][set_name] for name in statistics} | {k: v[set_name] for k, v in lengths.items()}
        for set_name in sets
    }


NOT_MEASURED = ("batches", "ascent_log_snr", "ascent_steps")
"""Fields of the config that no statistic depends on."""


def _saved(config: Config, scored: ScoredModel, sets: Mapping[str, np.ndarray], folder: Path) -> dict[str, Statistics]:
    """The results of an earlier run of the same measurement, by statistic; other results are removed."""
    about = {"model": scored.name, "sets": {name: zlib.crc32(images.tobytes()) for name, images in sets.items()}}
    about |= {name: value for name, value in leaves(config) if name not in NOT_MEASURED}
    text, path = json.dumps(about, indent=1, default=str), folder / "about.json"
    if not path.exists() and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--workdir={folder.parent}: {folder} is of something else and is kept; use another folder")
    if not path.exists() or path.read_text() != text:
        for file in folder.glob("*.npz"):
            file.unlink()
        write_atomic(path, text)
    found = {}
    for file in folder.glob("*.npz"):
        with np.load(file) as arrays:
            found[file.stem.replace("_", " ")] = dict(arrays)
    return found
