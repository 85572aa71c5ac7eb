"""Statistics and tests of typicality name arguments with which another statistic would be compared."""

import jax
import jax.numpy as jnp
import numpy as np
from errors import raising

from scorekit import denoisers, densities, schedules, typicality

SERIES, COSINE = np.ones(3), schedules.Cosine()
NORMAL = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), std=1.0), COSINE)
FITTED = "kernel_density_score gaussian_score mean_z_score decorrelate standardise"

test_errors_name_the_argument = raising(
    [
        *(
            (r"must have shape \(N, F\)", lambda name=name: getattr(typicality, name)(SERIES))
            for name in FITTED.split()
        ),
        ("std of calibration must", lambda: typicality.gaussian_score(np.ones((9, 2)))),
        ("calibration must", lambda: typicality.p_values(jnp.zeros(0), 1.0)),
        ("log_density must", lambda: typicality.typicality_test(jax.random.key(0), 0.0, jnp.zeros(3), 1.0)),
        ("high must", lambda: typicality.shell_mass(3, 3.0, 2.0)),
        ("ts must", lambda: typicality.path_statistics(NORMAL, COSINE, jnp.ones((2, 2)), jnp.array([0.2, 0.5]))),
        ("x must", lambda: typicality.code_length(np.zeros((1, 2, 2, 1), np.float32))),
    ]
)
