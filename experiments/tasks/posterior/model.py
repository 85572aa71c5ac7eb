"""A trained posterior: samples and exact log-densities of parameters given any observation.

from experiments.tasks.posterior import open_posterior

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
from experiments.tasks.diffusion.build import build_sampler, untrained_nulls
from experiments.tasks.diffusion.model import unconditional
from experiments.tasks.task import Run
from scorekit import denoisers, densities, guidance, likelihood, process, samplers
from scorekit.typing import Array, Denoiser, PyTree

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
                key, of_given, model.schedule, x, divergence=kind, rtol=tolerance, atol=tolerance
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

    def prior(self) -> Denoiser:
        """The denoiser of the prior, standardised: exact of an unbounded Gaussian, else of the null token."""
        given, scales = getattr(self.dataset.prior, "given", None), self.dataset.statistics
        if isinstance(given, densities.Gaussian) and np.isinf([scales.lower, scales.upper]).all():
            covariance = given.covariance() / np.outer(scales.std, scales.std)
            exact = densities.gaussian((given.mean - scales.mean) / scales.std, covariance=covariance)
            return denoisers.exact_denoiser(exact, self.run.model.schedule)
        if missing := untrained_nulls(self.config):
            field = {"dense_map": "map"}.get(missing[-1], missing[-1])
            needs = "composition needs the prior: train with it > 0, unless it is Gaussian"
            raise ConfigError(f"config.loss.{field}_dropout=0.0: {needs}")
        return unconditional(self.run.model, self.run.params)

    def sample_composed(self, seed: int, observed: Observations, number: int, pilot: int = 500) -> np.ndarray:
        """Parameters ``(number, D)`` given all M observations together, which are independent given them.

        Composed from the posteriors given single ones (GAUSS, :func:`scorekit.guidance.composed`), whose covariances
        are estimated from ``pilot`` samples each.
        """
        model, params, prior = self.run.model, self.run.params, self.prior()
        single = self.dataset.as_batch(self.sample(seed, observed, pilot))["x"]
        covariances = np.stack([np.atleast_2d(np.cov(one.T)) for one in single])

        def conditional(x: Array, t: Array, observation: PyTree) -> Any:
            repeat = lambda leaf: jnp.broadcast_to(leaf, (len(x), *jnp.shape(leaf)))
            return model.denoiser(params, jax.tree.map(repeat, observation))(x, t)

        product = guidance.composed(
            conditional,
            self.conditions(observed, 1),
            prior,
            model.schedule,
            "gaussian",
            covariances=covariances,
            prior_covariance=np.atleast_2d(np.cov(self.dataset.train["x"].T)),
        )
        solver, ts = build_sampler(self.config, model.schedule)
        for_prior, for_steps = jax.random.split(jax.random.key(seed))
        x = process.sample_prior(for_prior, model.schedule, jnp.zeros((number, *self.dataset.shape)), ts[0])
        key = for_steps if solver.stochastic else None
        samples = jax.jit(lambda x: samplers.sample(key, product, model.schedule, solver, x, ts))(x)
        return np.asarray(self.dataset.from_model(samples))

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
