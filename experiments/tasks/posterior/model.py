"""A trained posterior: samples and exact log-densities of parameters given any observation.

from experiments.tasks.posterior.task import open_posterior

posterior = open_posterior("runs/two_moons")
theta = posterior.sample(0, {"x": np.zeros((1, 2))}, 1000)          # (1, 1000, 2)
log_prob = posterior.log_prob(theta, {"x": np.zeros((1, 2))})       # (1, 1000)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data.dataset import in_blocks
from experiments.data.vectors.tables import Statistics, Table
from experiments.models.conditioning import conditions
from experiments.tasks.task import Run
from scorekit import likelihood
from scorekit.typing import Array, PyTree

STATISTICS = "statistics.json"
"""The file of a run with the scales of its training table."""
FEW_VALUES = 16
"""Parameters up to which the divergence is exact."""
_BLOCK = 512
Observations = Mapping[str, Any]
"""Arrays ``(M, ...)`` by the names of the columns of ``config.data.condition``, or rows of the table."""


def write_statistics(dataset: Table, workdir: Path) -> None:
    """Keeps the scales of the training table with the run."""
    write_results(workdir / STATISTICS, {k: np.asarray(v).tolist() for k, v in dataset.statistics._asdict().items()})


def use_statistics(dataset: Table, workdir: Path) -> None:
    """Standardises a table by the scales that the run in ``workdir`` was trained with."""
    path = workdir / STATISTICS
    if not path.exists():
        raise ConfigError(f"--workdir={workdir}: must hold {STATISTICS}, the scales of the training table")
    saved = Statistics(**{name: np.asarray(value, float) for name, value in json.loads(path.read_text()).items()})
    if [value.shape for value in saved] != [value.shape for value in dataset.statistics]:
        raise ConfigError(f"--workdir={workdir}: was trained on a table with other columns than {dataset.name} has")
    dataset.use(saved)


class Posterior:
    """The model of a run as a distribution of parameters given observations.

    Attributes:
      config: config of the run.
      run: the run.
      dataset: its table, with the scales of training.
    """

    def __init__(self, config: Config, run: Run):
        assert isinstance(run.dataset, Table)
        self.config, self.run, self.dataset = config, run, run.dataset
        tolerance, model = config.evaluation.exact_tolerance, run.model
        exact = run.dataset.shape[0] <= FEW_VALUES

        @jax.jit
        def solve(params: PyTree, given: PyTree, x: Array) -> likelihood.LogLikelihood:
            key = None if exact else jax.random.key(0)
            kind: Any = "exact" if exact else "rademacher"
            of_given = model.denoiser(params, given)
            return likelihood.log_likelihood(
                of_given, model.schedule, x, divergence=kind, rtol=tolerance, atol=tolerance, key=key
            )

        self._solve = solve

    def conditions(self, observed: Observations, number: int) -> dict[str, Any]:
        """The conditions of the network, each observation ``number`` times."""
        of_table = observed.keys() - {"present"} == {"x", "label", "condition"}  # rows of it, not columns of a file
        batch = observed if of_table else self.dataset.observed(observed)
        given = jax.tree.map(np.asarray, conditions(self.run.model, batch))
        return jax.tree.map(lambda leaf: np.repeat(leaf, number, axis=0), given)

    def sample(self, seed: int, observed: Observations, number: int) -> np.ndarray:
        """Parameters ``(M, number, D)`` given each of M observations."""
        given, scale = self.conditions(observed, number), self.config.sampling.guidance_scale
        return self.run.generate(self.run.params, seed, given, scale).reshape(-1, number, *self.dataset.shape)

    def log_prob(self, theta: np.ndarray, observed: Observations) -> np.ndarray:
        """``log p(theta | x)`` in nats of parameters ``(M, S, D)``: ``(M, S)``, minus infinity outside the bounds.

        By the probability-flow ODE, with the log-determinants of the bijections; its divergence is exact up to 16
        parameters, above it is estimated with random probes.
        """
        shape, theta = theta.shape[:2], np.asarray(theta, np.float32).reshape(-1, theta.shape[-1])
        given = self.conditions(observed, shape[1])
        inside = np.asarray(self.dataset.statistics.bounds.holds(jnp.asarray(theta)))
        middle = np.asarray(self.dataset.from_model(jnp.zeros((1, theta.shape[1]))))
        theta = np.where(inside[:, None], theta, middle)
        x = self.dataset.as_batch(theta)["x"]

        def block(rows: np.ndarray) -> np.ndarray:
            solved = self._solve(self.run.params, jax.tree.map(lambda leaf: leaf[rows], given), x[rows])
            return solved.raise_if_failed().log_p

        log_prob = in_blocks(block, np.arange(len(x)), min(_BLOCK, len(x))) + np.asarray(self.dataset.log_det(theta))
        return np.where(inside, log_prob, -np.inf).reshape(shape)
