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
from experiments.cli.outputs import write_arrays
from experiments.data.dataset import Dataset, in_blocks
from experiments.models.samples import check_samples
from experiments.projects.ood.model import ScoredModel
from scorekit import solvers, typicality
from scorekit.io.files import write_atomic
from scorekit.likelihood import variational_bound
from scorekit.typing import Array, Key

Statistics = dict[str, np.ndarray]
"""Statistics ``(N, F)`` by name."""


class Settings(NamedTuple):
    """What the statistics are computed with.

    Attributes:
      log_snrs: noise levels of score norms, reconstructions and curvature.
      curved: the curvature is taken at the first of them only.
      probes: random directions of the curvature, for each image.
      bound_times: noise levels per image in the variational bound.
      path_steps: steps of the path whose length and curvature are scores.
      reconstruction_steps: steps of a reconstruction from noise.
      batch_size: images that are measured at once.
      seed: seed of the probes and the noise.
    """

    log_snrs: tuple[float, ...] = (6.0, 4.0, 2.0, 0.0, -2.0)
    curved: int = 2
    probes: int = 4
    bound_times: int = 16
    path_steps: int = 10
    reconstruction_steps: int = 10
    batch_size: int = 250
    seed: int = 0


def make_statistics(scored: ScoredModel, settings: Settings, bins: int) -> dict[str, Callable[[Key, Array], Array]]:
    """``(key, x) -> (B, F)`` by name, each a program of its own, so that only one is in memory at a time."""
    denoiser, schedule = scored.denoiser, scored.schedule
    ts = schedule.time_at(jnp.asarray(settings.log_snrs, jnp.float32))
    path = jnp.linspace(0.999, scored.t_min, settings.path_steps)
    errors = functools.partial(typicality.reconstruction_errors, denoiser=denoiser, schedule=schedule, ts=ts)
    through_noise = {"solver": solvers.AdamsBashforth(), "steps": settings.reconstruction_steps}
    for_bound = {"num_times": settings.bound_times, "t_min": scored.t_min, "bins": bins}

    def log_p(key, x):
        for_noise, for_probes = jax.random.split(key)
        return scored.log_density(for_probes, scored.noised(for_noise, x))[:, None]

    def curvature(key, x):
        return typicality.score_curvature(
            denoiser, schedule, x, ts[: settings.curved], num_probes=settings.probes, key=key
        )

    statistics = {
        "log p": log_p,
        "bound": lambda key, x: variational_bound(key, denoiser, schedule, x, **for_bound).total[:, None],
        "norms": lambda key, x: typicality.score_norms(denoiser, schedule, x, ts),
        "one step": lambda key, x: errors(key, x=x),
        "many steps": lambda key, x: errors(key, x=x, **through_noise),
        "path": lambda key, x: typicality.path_statistics(denoiser, schedule, x, path),
        "curvature": curvature,
    }
    return {name: jax.jit(compute) for name, compute in statistics.items()}


def measure(
    scored: ScoredModel,
    dataset: Dataset,
    sets: Mapping[str, np.ndarray],
    folder: Path,
    settings: Settings,
    about: Mapping[str, str],
) -> dict[str, Statistics]:
    """All statistics of all sets of uint8 images ``(N, H, W, C)``, one after the other, in batches of one size.

    Each statistic is saved in ``folder`` once all sets have it, and read from there by the next call with the same
    settings and sets, and the same ``about`` of the model.

    Returns:
      By set: those of :func:`make_statistics`, and "code length".
    """
    assert dataset.bins is not None
    statistics, size = make_statistics(scored, settings, dataset.bins), settings.batch_size
    crcs = {name: zlib.crc32(images.tobytes()) for name, images in sets.items()}
    computed = _saved(folder, list(statistics), {**about, **settings._asdict(), "sets": crcs})
    keys = dict(zip(statistics, jax.random.split(jax.random.key(settings.seed), len(statistics)), strict=True))
    missing = [name for name in statistics if name not in computed]
    total, done = len(missing) * sum(-(-len(images) // size) for images in sets.values()), 0
    with progress.Progress(max(total, 1), batch_size=size, label="scoring", unit="images") as bar:
        for name in missing:
            start, values = time.monotonic(), {}
            for i, (set_name, images) in enumerate(sets.items()):
                of_set = jax.random.fold_in(keys[name], i)

                def batch(rows, compute=statistics[name], of_set=of_set, images=images):
                    nonlocal done
                    done += 1
                    bar.update(done)
                    return compute(jax.random.fold_in(of_set, int(rows[0]) // size), dataset.to_model(images[rows]))

                values[set_name] = in_blocks(batch, np.arange(len(images)), size)
                check_samples(values[set_name], f"{name} of {set_name}", "statistics")
            computed[name] = values
            write_arrays(_file(folder, name), **values)
            print(f"{name}: {sum(map(len, sets.values())):,} images, {progress.duration(time.monotonic() - start)}")
    lengths = {name: typicality.code_length(images)[:, None] for name, images in sets.items()}
    return {one: {**{name: computed[name][one] for name in statistics}, "code length": lengths[one]} for one in sets}


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '_')}.npz"


def _saved(folder: Path, names: list[str], about: Mapping[str, object]) -> dict[str, Statistics]:
    """The statistics of an earlier call of the same measurement, by name; those of another one are removed."""
    text, path, computed = json.dumps(about, indent=1), folder / "about.json", {}
    if not path.exists() or path.read_text() != text:
        for name in names:
            _file(folder, name).unlink(missing_ok=True)
        write_atomic(path, text)
    for name in names:
        if _file(folder, name).exists():
            with np.load(_file(folder, name)) as arrays:
                computed[name] = dict(arrays)
    return computed
