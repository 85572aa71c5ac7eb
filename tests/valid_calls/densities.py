"""Exact densities and random fields."""

import numpy as np

from scorekit import densities
from scorekit.densities import random_fields
from valid_calls.common import KEY
from valid_calls.kinds import Classes, Count, Data, Number, Shaped, call

_MEAN = np.array([0.0, 1.0], np.float32)
_GAUSSIAN, _MIXTURE = densities.gaussian(_MEAN, std=1.0), densities.ring(3)
_POWER = np.array([4.0, 2.0, 1.0, 2.0], np.float32)
_X = Data(np.array([[0.5, -0.5]], np.float32), "integer, empty")
_FIELD_X = Data(np.array([[[1.0], [0.0], [2.0], [-1.0]]], np.float32), "integer, empty")
_DENSITIES = {
    "Gaussian": (_GAUSSIAN, _X),
    "Mixture": (_MIXTURE, _X),
    "GaussianMirage": (densities.gaussian_mirage(2), _X),
    "RandomField": (random_fields.random_field(_POWER), _FIELD_X),
}
_LEVEL = {"alpha": Number(0.8), "sigma": Number(0.6)}
_FLOW_LEVEL = {"alpha": Number(0.8), "sigma": Number(0.6, "inf: infinite noise leaves the mean")}


def _methods(name, density, x):
    """Rows of the methods that a density has."""
    sample, flow = (
        lambda size: density.sample(KEY, (size,)),
        lambda x, alpha, sigma: density.flow(x, (alpha, sigma), (1.0, 0.1)),
    )
    rows = {
        "sample": call(sample, size=Count(2, alias="shape", least=0)),
        "log_density": call(lambda x: density.log_density(x), x=x),
        "predict": call(density.predict, x_t=x, **_LEVEL),
        "marginal": call(lambda **level: density.marginal(**level), **_LEVEL),
        "flow": call(flow, x=x, **_FLOW_LEVEL),
    }
    return {f"densities.{name}/{method}": row for method, row in rows.items() if hasattr(density, method)}


ROWS = {
    **{key: row for name, (density, x) in _DENSITIES.items() for key, row in _methods(name, density, x).items()},
    "densities.gaussian": call(mean=Data(_MEAN, "integer"), std=1.0),
    "densities.gaussian/covariance": call(
        mean=_MEAN, covariance=Data(np.array([[2.0, 0.5], [0.5, 1.0]], np.float32), alias="covariance_eigenvalues")
    ),
    "densities.gaussian/factor": call(
        mean=_MEAN, factor=Data(np.array([[1.0], [0.5]], np.float32), "integer"), std=1.0
    ),
    "densities.mixture": call(components=[_GAUSSIAN, _GAUSSIAN], weights=Data(_MEAN + 1.0, "integer")),
    "densities.Mixture/responsibilities": call(_MIXTURE.responsibilities, x=_X),
    "densities.Mixture/component": call(_MIXTURE.component, k=Classes(np.array(1), num_classes=3)),
    "densities.fit_gaussian": call(
        x=Data(np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0]]), "integer: raises if the data do not vary"),
        rank=1,
        floor=0.1,
    ),
    "densities.random_field": call(
        power=Data(_POWER, "integer"), mean=Shaped(np.zeros((4, 1), np.float32)), channels=2
    ),
    "densities.power_law": call(grid=Count(4, least=2, of=lambda size: (size,))),
}
