"""Likelihood: the exact log-density by the probability-flow ODE, variational bounds, and bits per dimension.

===============================  ===================================================================================
function                         result
===============================  ===================================================================================
``log_likelihood``               ``log p(x0)`` in nats, exactly or by Hutchinson's estimator with its standard error
``variational_bound``            a bound in continuous time: prior, reconstruction and diffusion
``boundary_terms``               its prior and reconstruction, with which a schedule is trained
``discrete_variational_bound``   the same for the T steps of a time grid
``dequantised_bits_per_dim``     code lengths of integers under a density: uniform or variational dequantisation
``bits_per_dim``                 nats to bits; the result includes the offset and the kind of dequantisation
``flow_density``                 a model with ``sample`` and ``log_density``, whose gradient is the score, for NUTS and
                                 other inference; cheaper values: ``line_density``, ``score_density``, and
                                 ``model_density`` with a value of yours
===============================  ===================================================================================
"""

from scorekit.likelihood.bits import BitsPerDim, bits_per_dim, dequantised_bits_per_dim
from scorekit.likelihood.bound import VariationalBound, boundary_terms, discrete_variational_bound, variational_bound
from scorekit.likelihood.densities import ModelDensity, flow_density, line_density, model_density, score_density
from scorekit.likelihood.exact import LogLikelihood, log_likelihood

__all__ = [
    "BitsPerDim",
    "LogLikelihood",
    "ModelDensity",
    "VariationalBound",
    "bits_per_dim",
    "boundary_terms",
    "dequantised_bits_per_dim",
    "discrete_variational_bound",
    "flow_density",
    "line_density",
    "log_likelihood",
    "model_density",
    "score_density",
    "variational_bound",
]
