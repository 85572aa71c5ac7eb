"""The models of the tasks of SBIBM: columns, conditions, sizes and steps; and published accuracies."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.cli.config import Config, changed
from experiments.configs.posterior import two_moons
from experiments.data.vectors.priors import Prior, support


class Recipe(NamedTuple):
    """The model of a task.

    Attributes:
      fields: fields of the config that differ from ``experiments/configs/posterior/two_moons.py``.
      elements: number of independent elements that an observation is a set of; 1 for a vector.
      steps: steps for 100,000 simulations.
    """

    fields: Mapping[str, Any] = MappingProxyType({})
    elements: int = 1
    steps: int = 6000


_SET = {"conditions.vector.name": "none", "conditions.tokens.name": "set"}
_SET |= {"network.scales": 4, "network.encoder_blocks": 2}
RECIPES = {
    "two_moons": Recipe(),
    "slcp": Recipe(_SET, elements=4, steps=5000),
    "gaussian_linear": Recipe(steps=1500),
    "gaussian_mixture": Recipe(steps=4000),
    "bernoulli_glm": Recipe(steps=1500),
    "gaussian_linear_uniform": Recipe(steps=1500),
    "sir": Recipe(steps=1500),
}
"""The recipes, in the order in which tasks are run."""
_FEW = {"network.dropout": 0.1, "training.weight_decay": 0.01}
"""Fields for 10,000 simulations or fewer, which a network could learn by heart."""


SOURCE = """NPE and SNPE: Lueckmann et al. 2021 (https://arxiv.org/abs/2101.04653), from main_paper.csv of
https://github.com/sbi-benchmark/results, and gaussian_mixture from its gaussian_mixture_rerun.csv, after the task was
corrected; means over the ten observations of the column C2ST."""

PUBLISHED: dict[str, dict[int, tuple[float, float]]] = {
    "two_moons": {10_000: (0.606, 0.554), 100_000: (0.542, 0.530)},
    "slcp": {10_000: (0.901, 0.845), 100_000: (0.831, 0.666)},
    "gaussian_linear": {10_000: (0.552, 0.544), 100_000: (0.506, 0.507)},
    "gaussian_mixture": {10_000: (0.615, 0.551), 100_000: (0.548, 0.536)},
    "bernoulli_glm": {10_000: (0.678, 0.614), 100_000: (0.559, 0.525)},
    "gaussian_linear_uniform": {10_000: (0.553, 0.527), 100_000: (0.509, 0.507)},
    "sir": {10_000: (0.680, 0.561), 100_000: (0.585, 0.575)},
}
"""Published accuracies by task and number of simulations: amortised posteriors by normalising flows (NPE), and
sequential ones (SNPE), which spend their simulations near each observation."""


def simulations(task: Any, recipe: Recipe, number: int) -> dict[str, np.ndarray]:
    """The table of a task; simulations that are not finite are left out."""
    for_theta, for_x = jax.random.split(jax.random.key(number))
    theta = task.get_prior(for_theta, number)
    x = np.asarray(task.get_simulator(for_x)(for_x, theta))
    kept = np.isfinite(x).all(axis=1)
    return {"theta": np.asarray(theta)[kept], "x": observed(recipe, x[kept])}


def observed(recipe: Recipe, x: np.ndarray) -> np.ndarray:
    """Observations as the model takes them."""
    return x if recipe.elements == 1 else x.reshape(len(x), recipe.elements, -1)


def config_of(task: Any, recipe: Recipe, path: str, number: int, steps: int | None) -> Config:
    """The config of a task, for a table in ``path``."""
    lower, upper = support(Prior(task.prior_dist), task.dim_theta)
    pairs = [f"{low:g}:{high:g}" for low, high in zip(lower, upper, strict=True)]
    few = number <= 10_000
    length = steps or (recipe.steps // 2 if few else recipe.steps)
    table = {"data.name": "table", "data.path": path, "data.condition": "x", "data.bounds": ",".join(pairs)}
    every = {"training.checkpoint_every": max(length // 10, 1), "training.sample_every": 10 * length}
    fields = {**table, "training.steps": length, **every, **recipe.fields, **(_FEW if few else {})}
    return changed(two_moons.get_config(), fields)
