"""The semigroup error of a trained flow map, which needs no other model to compare with."""

from typing import Any

import jax

from experiments.cli.config import Config
from experiments.data.dataset import Dataset, preprocess, rows_of
from experiments.data.display import Scorer
from experiments.models.conditioning import GUIDANCE, conditions
from experiments.models.devices import collect, everywhere, spread, spread_jit
from experiments.tasks.diffusion.build import at_steps, build_sampler
from experiments.tasks.diffusion.model import at_params
from scorekit import flow_maps, process
from scorekit.typing import PyTree

NAME = "semigroup error"


def semigroup(
    config: Config, model: Any, dataset: Dataset, params: PyTree, steps: int, scale: float = 1.0
) -> dict[str, float]:
    """The change from halving the jumps of a sampler of ``steps``; nothing for a denoiser.

    The mean over held-out examples of :func:`scorekit.flow_maps.semigroup_error` at their noised states, each on a
    step of the sampler that is drawn at random, at the guidance scale of a map that is conditioned on it. A map that is
    trained on jumps to t = 0 alone has none.
    """
    if not model.is_flow_map or model.objective.of_map.ends_only:
        return {}
    model = at_params(model, params)
    schedule = model.schedule
    ts = build_sampler(at_steps(config, steps), schedule)[1]

    @spread_jit
    def run(params, key, batch):
        batch = preprocess(dataset, spread(batch))
        for_step, for_noise = jax.random.split(key)
        i = jax.random.randint(for_step, batch["x"].shape[:1], 0, steps)
        t, s = ts[i], ts[i + 1]
        x_t = process.perturb(schedule, batch["x"], jax.random.normal(for_noise, batch["x"].shape), t)
        found = model.flow_map(params, {**conditions(model, batch), GUIDANCE: scale})
        middle = flow_maps.middle_time(schedule, t, s)
        return collect(flow_maps.semigroup_error(found, schedule, x_t, t, middle, s)).mean()

    few = rows_of(dataset.test, slice(min(dataset.max_evaluated, dataset.evaluation_batch)))
    return {NAME: float(run(everywhere(params), jax.random.key(config.seed), few))}


def caption(model: Any, scorer: Scorer) -> str:
    """The explanation of the metrics of samples, with this one."""
    if not model.is_flow_map or model.objective.of_map.ends_only:
        return scorer.caption
    about = "mean square, per value, of what halving the steps changes at noised held-out examples"
    return f"{scorer.caption} {NAME.capitalize()}: {about}.".strip()
