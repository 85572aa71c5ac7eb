"""Tuning of a sampler: its initial grids, and the reference paths of a model."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config
from experiments.cli.progress import Progress
from experiments.models.conditioning import conditions_for
from experiments.models.samples import check_samples
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.build import build_rules, sampler_of
from experiments.tasks.task import Run
from scorekit import tuning
from scorekit.solvers import grids
from scorekit.typing import Array, Denoiser, Schedule


def initial_grids(schedule: Schedule, configured: Array) -> dict[str, Array]:
    """The configured grid and the usual ones between its ends, as far as they fit there."""
    n, ends = len(configured) - 1, [configured[0], configured[-1]]
    candidates = {"configured": configured}
    if not np.allclose(configured, grids.uniform(n, *ends)):
        candidates["uniform"] = grids.uniform(n, *ends)
    if n > 1:
        candidates["log-SNR"] = grids.uniform_log_snr(schedule, n)
        candidates["Karras"] = grids.karras(schedule, n)
    for power in (2, 3):
        candidates[f"VP t^{power}"] = grids.vp_quadratic(schedule, n, *ends, power=power)
    candidates = {name: ts.at[0].set(ends[0]).at[-1].set(ends[1]) for name, ts in candidates.items()}
    return {name: ts for name, ts in candidates.items() if np.all(np.diff(ts) < 0)}


def references(
    config: Config, run: Run, ts: Array, size: int, draws: int, fine_steps: int, seed: int = 0
) -> tuple[Denoiser, tuning.Pairs, tuning.Pairs]:
    """The guided denoiser of a run, and batches of noise with the ends of its paths: to tune on, and half as many to
    choose by.
    """
    labels = np.resize(np.arange(run.dataset.num_classes, dtype=np.int32), size)
    given = jax.tree.map(jnp.asarray, conditions_for(run.model, run.dataset, labels))
    scale = build_rules(config).traced(config.sampling.guidance_scale)
    denoiser = guidance.make_guided(build_rules(config), run.model)(run.params, given, scale, run.extras)
    like = jax.ShapeDtypeStruct((size, *run.model.shape), jnp.float32)
    batches = -(-draws // size)
    total = batches + -(-batches // 2)
    with Progress(total, batch_size=size, label="reference") as bar:
        how = {"t_max": ts[0], "t_min": ts[-1], "steps": fine_steps, "progress": lambda done, total: bar.update(done)}
        both = tuning.fine_pairs(jax.random.key(seed), denoiser, run.model.schedule, like, total, **how)
    check_samples(jax.tree.leaves(both.end), sampler_of(config), "batches of the reference")
    pairs, held_out = (jax.tree.map(lambda x, s=s: x[s], both) for s in (slice(batches), slice(batches, None)))
    return denoiser, pairs, held_out
