"""Guidance names what it cannot combine, where broadcasting would give an answer that looks right."""

import jax.numpy as jnp
import numpy as np
from errors import raising

from scorekit import Prediction, guidance, schedules
from scorekit.guidance import operators, sequences, windows

X, EYE, FLOW = jnp.ones((2, 3)), np.eye(3), schedules.RectifiedFlow()
SIGNALS, IMAGES = jnp.ones((2, 8, 1)), jnp.ones((2, 6, 4, 1))


def same(x, t, *conditions):
    return Prediction(x, x)


def several(x=X, **changes):
    given = {"observations": X, "covariances": np.stack([EYE, EYE]), "prior_covariance": 2 * EYE} | changes
    return guidance.several_observations(same, prior=same, schedule=FLOW, method="gaussian", **given)(x, 0.5)


test_errors_name_the_argument = raising(
    [
        ("observations must", lambda: several(observations={"a": X, "b": jnp.zeros(3)})),
        ("covariances must", lambda: several(covariances=np.stack([EYE]))),
        ("covariances must", lambda: several(covariances=np.stack([EYE, -EYE]))),
        ("covariances must", lambda: several(prior_covariance=0.4 * EYE)),
        ("prior_covariance must", lambda: several(prior_covariance=EYE + np.eye(3, k=1))),
        ("x_t must", lambda: several(x=jnp.ones((1, 4)))),
        ("x must", lambda: guidance.frequency_decoupled(same, same, 1.0)(X, 0.5)),
        ("logits must", lambda: sequences.joint_log_prob([np.zeros(2), np.zeros((3, 2))])),
        ("same shape", lambda: sequences.guide_joint(jnp.zeros(2), jnp.zeros(3), 1.0)),
        ("same shape", lambda: sequences.guide_sequentially(jnp.zeros(2), jnp.zeros(3), 1.0)),
        ("terms must", guidance.log_product),
        ("factor", lambda: operators.average_pool(4)(IMAGES)),
        ("keep must be True or 1", lambda: operators.mask(np.array([0.5, 2.0]))),
        ("keep must be True or 1", lambda: operators.mask(np.array(["yes", ""]))),
        ("kernel must", lambda: operators.blur(np.ones((3, 2)))(SIGNALS)),
        ("operator must", lambda: operators.adjoint(jnp.square, X)(X)),
        ("conditions must", lambda: guidance.classifier_free_batched(same, jnp.arange(4), 9, 2.0)(X, 0.5)),
        ("noise_max must", lambda: guidance.interval(same, same, FLOW, 2.0, 1.0)),
        ("guidance_scales must", lambda: guidance.compose(same, [same], [1.0, 2.0])),
        ("hop must", lambda: guidance.windowed(same, 4, 5)),
        ("hop", lambda: guidance.windowed(same, 4, 2)(jnp.zeros((1, 7, 1)), 0.5)),
        ("hop", lambda: windows.cut_windows(jnp.zeros((1, 3)), 4, 2)),
    ]
)
