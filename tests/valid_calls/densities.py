"""Exact densities and random fields."""

import jax
import numpy as np

from scorekit import densities
from scorekit.densities import random_fields
from valid_calls.kinds import Classes, Count, Data, Number, Shaped, call

_KEY = jax.random.key(0)
_MEAN = np.array([0.0, 1.0], np.float32)
_X = np.array([[0.5, -0.5]], np.float32)
_COVARIANCE = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)
_FACTOR = np.array([[1.0], [0.5]], np.float32)
_GAUSSIAN = densities.gaussian(_MEAN, std=1.0)
_MIXTURE = densities.ring(3)
_MIRAGE = densities.gaussian_mirage(2)
_POWER = np.array([4.0, 2.0, 1.0, 2.0], np.float32)
_FIELD = random_fields.random_field(_POWER)
_FIELD_X = np.array([[[1.0], [0.0], [2.0], [-1.0]]], np.float32)
_FLOW_LEVEL = {"alpha": Number(0.8), "sigma": Number(0.6, "inf: infinite noise leaves the mean")}
_LEVEL = {"alpha": Number(0.8), "sigma": Number(0.6)}


def _draws(density, size: int = 2):
    return call(lambda size: density.sample(_KEY, (size,)), size=Count(size, alias="shape", least=0))


def _flow(density):
    return lambda x, alpha, sigma: density.flow(x, (alpha, sigma), (1.0, 0.1))


USUAL = {"x": Data(_X, "integer, empty"), "x_t": Data(_X, "integer, empty"), "mean": _MEAN}
ROWS = {
    "densities.gaussian": call(mean=Data(_MEAN, "integer"), std=1.0),
    "densities.gaussian/covariance": call(covariance=Data(_COVARIANCE, alias="covariance_eigenvalues")),
    "densities.gaussian/factor": call(factor=Data(_FACTOR, "integer"), std=1.0),
    "densities.Gaussian/sample": _draws(_GAUSSIAN),
    "densities.Gaussian/log_density": call(lambda x: _GAUSSIAN.log_density(x)),
    "densities.Gaussian/predict": call(_GAUSSIAN.predict, **_LEVEL),
    "densities.Gaussian/flow": call(_flow(_GAUSSIAN), **_FLOW_LEVEL),
    "densities.Gaussian/marginal": call(_GAUSSIAN.marginal, **_LEVEL),
    "densities.mixture": call(components=[_GAUSSIAN, _GAUSSIAN], weights=Data(_MEAN + 1.0, "integer")),
    "densities.Mixture/sample": _draws(_MIXTURE),
    "densities.Mixture/log_density": call(_MIXTURE.log_density),
    "densities.Mixture/responsibilities": call(_MIXTURE.responsibilities),
    "densities.Mixture/component": call(_MIXTURE.component, k=Classes(np.array(1), num_classes=3)),
    "densities.Mixture/predict": call(_MIXTURE.predict, **_LEVEL),
    "densities.Mixture/marginal": call(_MIXTURE.marginal, **_LEVEL),
    "densities.GaussianMirage/sample": _draws(_MIRAGE),
    "densities.GaussianMirage/log_density": call(_MIRAGE.log_density),
    "densities.GaussianMirage/predict": call(_MIRAGE.predict, **_LEVEL),
    "densities.fit_gaussian": call(
        x=Data(np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0]]), "integer: raises if the data do not vary"),
        rank=1,
        floor=0.1,
    ),
    "densities.random_field": call(
        power=Data(_POWER, "integer"), mean=Shaped(np.zeros((4, 1), np.float32)), channels=2
    ),
    "densities.power_law": call(
        lambda size, **kwargs: random_fields.power_law((size,), **kwargs),
        size=Count(4, alias="grid", least=2),
        exponent=2.0,
        variance=1.0,
        mean=0.0,
        channels=1,
    ),
    "densities.RandomField/sample": _draws(_FIELD),
    "densities.RandomField/log_density": call(_FIELD.log_density, x=Data(_FIELD_X, "integer, empty")),
    "densities.RandomField/predict": call(_FIELD.predict, x_t=Data(_FIELD_X, "integer, empty"), **_LEVEL),
    "densities.RandomField/flow": call(_flow(_FIELD), x=Data(_FIELD_X, "integer, empty"), **_FLOW_LEVEL),
    "densities.RandomField/marginal": call(_FIELD.marginal, **_LEVEL),
}
