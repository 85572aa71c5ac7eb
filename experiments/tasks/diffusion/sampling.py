"""Drawing samples: batches of one compiled size, on all devices, kept until the caller has written its results."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Dataset
from experiments.models.conditioning import conditions_for
from experiments.models.devices import everywhere, hold, spread, spread_jit
from experiments.models.samples import Measure, NotFinite, PartialSamples, check_samples, digest_of
from experiments.tasks.diffusion.guidance import NO_EXTRAS, Extras, Rules, make_guided
from experiments.tasks.diffusion.model import Model, at_params
from scorekit import process, samplers
from scorekit.typing import Array, Denoiser, Schedule, Solver


@dataclass(frozen=True, eq=False)
class Sampler:
    """``sampler(params, seed, labels, guidance_scale) -> samples`` as numpy.

    Attributes:
      model, dataset: the model, and the data whose units its samples have.
      rules: the rules of guidance.
      solver: takes the steps.
      times: ``schedule -> ts``, decreasing, for the schedule of the parameters.
      ts: the times for the schedule of the model.
      batch_size: samples that are drawn at once, on all devices together.
      fsdp: devices that hold one copy of parameters which are too large for one.
      denoise: whether x0 is taken at the last time.
      map_noise: level at which the dense map is corrupted.
      about: ``guidance_scale -> words`` for error messages.
      identity: the fields of the config that determine samples.
      with_steps: the sampler with another number of steps.
      extras: inputs of rules from other checkpoints.
    """

    model: Model
    dataset: Dataset
    rules: Rules
    solver: Solver
    times: Callable[[Schedule], Array]
    ts: Array
    batch_size: int
    fsdp: int
    denoise: bool
    map_noise: float
    about: Callable[[float], str]
    identity: Mapping[str, Any]
    with_steps: "Callable[[int], Sampler]"
    extras: Extras = NO_EXTRAS

    @property
    def evaluations(self) -> int:
        """Evaluations of the network, one after the other."""
        return (len(self.ts) - 1) * self.solver.evals_per_step

    @functools.cached_property
    def denoiser(self) -> Callable[..., Denoiser]:
        """``(params, conditions, guidance_scale, extras) -> Denoiser`` with the rules of guidance."""
        return make_guided(self.rules, self.model)

    @functools.cached_property
    def _run(self):
        """The program of one batch."""

        def run(params, key, given, scale, ts, extras, trajectory=False):
            model, schedule = self.model, at_params(self.model, params).schedule
            for_prior, for_steps = jax.random.split(key)
            like = jax.ShapeDtypeStruct((given["labels"].shape[0], *model.shape), jnp.float32)
            at_map = model.coupling is not None and model.coupling.starts_at_map
            x = given["dense_map"].value if at_map else process.sample_prior(for_prior, schedule, like, ts[0])
            x, given = spread((x, given))
            denoiser = self.denoiser(params, given, scale, extras)
            key = for_steps if self.solver.stochastic else None
            if trajectory:
                _, states = samplers.trajectory(denoiser, schedule, self.solver, x, ts, key=key)
                return jnp.concatenate([x[None], states]), schedule.log_snr(ts)
            out = samplers.sample(denoiser, schedule, self.solver, x, ts, key=key)
            if self.denoise:
                out = denoiser(out, ts[-1]).x0
            return self.dataset.from_model(out, given)

        return spread_jit(run, fsdp=self.fsdp, static_argnames="trajectory")

    def __call__(
        self,
        params,
        seed: int,
        labels,
        guidance_scale: float,
        *,
        trajectory: bool = False,
        partial: PartialSamples | None = None,
        measure: Measure | None = None,
        steps: int | None = None,
    ):
        """Draws samples; every process gets all of them.

        Args:
          params: parameters of the network.
          seed: of the noise.
          labels: classes ``(B,)``, with the other conditions of held-out examples of these; or all conditions by name.
          guidance_scale: γ.
          trajectory: whether to return the states of the solver, with their log-SNR.
          partial: keeps samples of more than one batch until the caller removes them.
          measure: its result for each batch is returned in place of the samples, of which one batch is in memory.
          steps: another number of steps.

        Raises:
          NotFinite: if any sample is not finite.
        """
        if steps not in (None, len(self.ts) - 1):
            further = {"trajectory": trajectory, "partial": partial, "measure": measure}
            return self.with_steps(steps)(params, seed, labels, guidance_scale, **further)
        key, noise, model = jax.random.key(seed), self.map_noise, self.model
        for_map = jax.random.fold_in(key, 2**31 - 1) if noise else None
        named = isinstance(labels, Mapping)
        given = dict(labels) if named else conditions_for(model, self.dataset, labels, for_map, noise)
        scale, by = self.rules.traced(guidance_scale), self.about(guidance_scale)
        params, others = hold(params, self.fsdp), everywhere(self.extras)
        ts = self.times(at_params(model, params).schedule) if model.objective.learns_schedule else self.ts
        if trajectory:
            states = jax.tree.map(np.asarray, self._run(params, key, given, scale, ts, others, trajectory=True))
            check_samples(states[0][-1], by)
            return states
        total = len(given["labels"])
        size = min(self.batch_size, total)
        num = -(-total // size)

        def draw(i: int) -> np.ndarray:
            part = jax.tree.map(lambda leaf: leaf[i * size : (i + 1) * size], given)
            kept = len(part["labels"])
            padded = jax.tree.map(lambda leaf: np.pad(leaf, [(0, size - kept), *[(0, 0)] * (leaf.ndim - 1)]), part)
            samples = np.asarray(self._run(params, jax.random.fold_in(key, i), padded, scale, ts, others))[:kept]
            return samples if measure is None else measure(check_samples(samples, by))

        if partial is None or num == 1:
            samples = check_samples(np.concatenate([draw(i) for i in range(num)]), by)
            return samples
        first = jax.tree.map(lambda leaf: leaf[:size], given)
        like = jax.ShapeDtypeStruct((size, *model.shape), jnp.float32)
        constants = jax.make_jaxpr(self.dataset.from_model)(like, first).consts  # such as the parameters of a decoder
        kept = () if measure is None else (measure.identity,)
        determined = (seed, given, guidance_scale, params, others, self.solver, ts, constants, *kept)
        digest = digest_of(self.identity, *determined)
        try:
            return check_samples(np.concatenate(partial.batches(digest, num, size, draw)), by)
        except NotFinite:
            partial.remove(digest)
            raise

    def trace(self, params, labels, guidance_scale: float, **how) -> jax.stages.Traced:
        """The program of one batch for shapes of parameters, traced."""
        given, scale = conditions_for(self.model, self.dataset, labels), self.rules.traced(guidance_scale)
        return self._run.trace(params, jax.random.key(0), given, scale, self.ts, self.extras, **how)
