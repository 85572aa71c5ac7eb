"""Densities name arguments that would otherwise give another density."""

import jax.numpy as jnp
import numpy as np
from errors import raising

from scorekit import densities
from scorekit.densities import random_fields, spectra

MEAN, EYE, FACTOR = np.zeros(4), np.eye(4), np.ones((4, 2))
NORMAL = densities.gaussian(MEAN, std=1.0)

test_errors_name_the_argument = raising(
    [
        ("upper must", lambda: densities.bounds([0.0], [0.0])),
        ("upper must", lambda: densities.bounds([0.0, 1.0], [2.0])),
        ("lower", lambda: densities.bounds([np.nan], [1.0])),
        ("finitely far in float32", lambda: densities.bounds([1.0], [1.0 + 1e-9])),
        ("finitely far in float32", lambda: densities.bounds([0.0], [1e39])),
        ("finitely far in float32", lambda: densities.bounds([-3e38], [3e38])),
        ("upper must", lambda: densities.uniform([0.0], [np.inf])),
        ("mean must", lambda: densities.gaussian(jnp.zeros((2, 2)), std=1.0)),
        ("exactly one of std, covariance, or factor", lambda: densities.gaussian(MEAN, std=1.0, covariance=EYE)),
        ("exactly one of std, covariance, or factor", lambda: densities.gaussian(MEAN, factor=FACTOR)),
        ("covariance must", lambda: densities.gaussian(MEAN, covariance=np.eye(2))),
        ("covariance must", lambda: densities.gaussian(MEAN, covariance=EYE + np.eye(4, k=1))),
        ("covariance_eigenvalues must", lambda: densities.gaussian(MEAN, covariance=-EYE)),
        ("std must", lambda: densities.gaussian(MEAN, std=np.ones(4))),  # type: ignore[arg-type]
        ("factor must", lambda: densities.gaussian(MEAN, std=1.0, factor=EYE)),
        ("weights must", lambda: densities.mixture([1, 2], [NORMAL])),
        (
            "components must",
            lambda: densities.mixture([1, 1], [NORMAL, densities.gaussian(MEAN, std=1.0, factor=FACTOR)]),
        ),
        ("x must", lambda: densities.fit_gaussian(np.ones(3))),
        ("rank must", lambda: densities.fit_gaussian(np.eye(3), rank=4)),
        ("floor must", lambda: densities.fit_gaussian(np.ones((9, 3)))),
        ("power must", lambda: random_fields.random_field([1.0, 2.0, 3.0])),
        ("edges must", lambda: spectra.radial_bands((8,), (0.3, 0.3))),
        ("x must", lambda: spectra.band_power(jnp.ones((5, 7, 2)), spectra.radial_bands((8,)))),
    ]
)
