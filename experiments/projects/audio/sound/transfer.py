"""Notes of one instrument as another would play them, by the flow of one model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import progress
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Batch, preprocess
from experiments.models.conditioning import conditions
from experiments.models.samples import check_samples, sampler_of
from experiments.projects.audio.sound import synthesised
from experiments.tasks.diffusion.inverse import methods
from experiments.tasks.diffusion.sampling import build_sampler
from experiments.tasks.task import Run
from scorekit import samplers

OBSERVED = "observed pitch and loudness"
"""The name of samples given both."""
MISFIT = 0.1
"""The standard deviation of an observation: a tenth of a unit of the pitch, and 0.9 dB."""


def transfer(config: Config, run: Run, batch: Batch, targets: np.ndarray) -> dict[str, np.ndarray]:
    """The notes, decoded with their own conditions, decoded as the target, and samples of the target.

    Those are from new noise and, of a model of controls, given the pitch and the loudness of the note too.
    """
    solver, ts = build_sampler(config, run.model.schedule)
    if solver.stochastic:
        raise ConfigError(f"config.sampling.solver.name={config.sampling.solver.name}: must be deterministic, as heun")
    inputs = preprocess(run.dataset, batch)
    own = conditions(run.model, inputs)
    other = {**own, "labels": jnp.asarray(targets)}
    source, target = (run.model.denoiser(run.params, given) for given in (own, other))
    x, schedule = jnp.asarray(inputs["x"]), run.model.schedule
    sample = jax.jit(lambda denoiser, x: samplers.sample(None, denoiser, schedule, solver, x, ts))
    with progress.Progress(4, batch_size=len(x), label="timbre") as bar:
        noise = jax.jit(lambda denoiser, x: samplers.invert(denoiser, schedule, solver, x, ts))(source, x)
        bar.update(1)
        found = {"round trip": sample(source, noise)}
        bar.update(2)
        found["transferred"] = sample(target, noise)
        bar.update(3)
        found["new sample"] = sample(target, jax.random.normal(jax.random.key(0), x.shape) * schedule.sigma(ts[0]))
        bar.update(4)
    dataset: Any = run.dataset
    if dataset.by_pitch:
        task, options = synthesised.pitch_and_loudness(dataset), methods.Options(config.sampling.steps, MISFIT)
        y = jax.jit(task.operator)(x)
        found[OBSERVED] = methods.restore("mmps", jax.random.key(1), target, schedule, task, y, x.shape, options).x
    decode = jax.jit(run.dataset.from_model)
    sounds = {name: np.asarray(decode(x)) for name, x in found.items()}
    for name, x in sounds.items():
        check_samples(x, sampler_of(config, 1.0), f"sounds ({name})")
    return {"held out": run.dataset.real(batch), **sounds}
