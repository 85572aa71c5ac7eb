"""Tokens, denoisers and processes that do not fit each other are named: most would be read as other tokens."""

import jax
import jax.numpy as jnp
from errors import raising

from scorekit import discrete
from scorekit.times import Times

KEY, TWO, MASKS, AT = jax.random.key(0), jnp.array([[0, 1]]), jnp.full((1, 2), 2), Times(jnp.full(1, 0.5), jnp.ones(1))
ABSORBING, UNIFORM = discrete.absorbing(2), discrete.uniform(2)


def flat(v):
    return lambda z, t: jnp.full((*z.shape, v), -jnp.log(v))


def run(z=MASKS, ts=(1.0, 0.0), solver=None, process=ABSORBING, denoiser=flat(2)):  # noqa: B008
    return discrete.sample(KEY, denoiser, process, solver or discrete.Ancestral(), z, jnp.array(ts))


def loss(x0=TWO, z_t=TWO, times=AT, denoiser=flat(2)):  # noqa: B008
    return discrete.token_loss_at(denoiser, ABSORBING, x0, z_t, times)


def bytes_of(v):
    return jnp.full((1, 2), min(v, 255), jnp.uint8)


test_errors_name_the_argument = raising(
    [
        *(
            (f"alpha.* must be {words}", lambda alpha=alpha: discrete.schedules.schedule_from_function(alpha))
            for words, alpha in {
                r"in \[0, 0.01\]": lambda t: 1.0 - 0.5 * t,
                "1, as": lambda t: 0.9 * (1.0 - t),
                "decreasing": lambda t: (1.0 - t) * (1.0 + 3.0 * t),
                "an elementwise": lambda t: jnp.ones(()),
            }.items()
        ),
        ("x0 must", lambda: discrete.perturb(KEY, discrete.absorbing(256), bytes_of(0), 0.5)),
        ("like must", lambda: discrete.sample_prior(KEY, discrete.uniform(300), bytes_of(0))),
        ("z_init must", lambda: run(bytes_of(255), process=discrete.absorbing(255))),
        ("t must", lambda: discrete.posterior(ABSORBING, TWO, TWO, 0.2, 0.2)),
        ("z_t must", lambda: discrete.posterior(ABSORBING, TWO[:, :1], TWO, 0.5, 0.2)),
        ("network must", lambda: discrete.denoiser_from_network(lambda z, t: z, ABSORBING)(TWO, 0.5)),
        ("log_prob must", lambda: discrete.exact_denoiser(jnp.zeros((3, 2)), discrete.absorbing(3))),
        ("z_t must", lambda: discrete.exact_denoiser(jnp.zeros((2, 2, 2)), ABSORBING)(TWO, 0.5)),
        ("x0 must", lambda: loss(x0=TWO[:0])),
        ("z_t must", lambda: loss(z_t=TWO[:, :1])),
        ("times.t must", lambda: loss(times=Times(0.5, jnp.ones(1)))),
        ("denoiser must", lambda: loss(denoiser=lambda z, t: jnp.zeros((1, 2)))),
        ("ts must", lambda: discrete.discrete_variational_bound(KEY, flat(2), ABSORBING, TWO, [1.0, 0.5])),
        ("ts must", lambda: run(ts=(0.0, 1.0))),
        ("z_init must", lambda: run(MASKS * 0)),
        ("process must", lambda: run(MASKS * 0, solver=discrete.Remasking(), process=UNIFORM)),
        ("process must", lambda: run(MASKS * 0, solver=discrete.ConfidenceOrdered(), process=UNIFORM)),
        ("process must", lambda: discrete.first_hitting_sample(KEY, flat(2), UNIFORM, MASKS * 0)),
        ("denoiser must", lambda: run(denoiser=lambda z, t: jnp.zeros((1, 2)))),
        (
            "log_likelihood must",
            lambda: discrete.classifier_guidance(flat(2), lambda z, t: jnp.zeros(()), 1.0)(TWO, 0.5),
        ),
        ("cond.* must", lambda: discrete.classifier_free(flat(1), flat(2), 2.0)(TWO, 0.5)),
        ("cond.* must", lambda: discrete.classifier_free(flat(3), flat(2), 2.0)(TWO, 0.5)),
    ]
)
