"""Guidance by config: validation errors, and that composed rules are those of the library."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed, error_of

from experiments import data
from experiments.configs.images import smoke
from experiments.configs.points import mixture_2d
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_model, build_rules
from experiments.tasks.diffusion.guidance import Extras, make_guided
from scorekit import guidance


def test_only_the_scales_that_are_sampled_at_are_validated():
    config = changed(smoke, "guidance=cfg_plus_plus", "sampling.solver.name=euler", "sampling.guidance_scale=0.5")
    dataset = data.build(config)
    checks.build(config, dataset, scales=[0.5])
    assert "guidance_scale must be in" in error_of(checks.build, config, dataset)


class Small:
    """A conditional network that compiles in no time."""

    def apply(self, params, x, noise, labels):
        level = jnp.broadcast_to(noise, x.shape[:1])[:, None]
        return jnp.tanh(x @ params["kernel"] + 0.1 * level) + params["table"][labels]


@pytest.fixture(scope="module")
def ring():
    """A conditional model, a weaker one, and states."""
    config = mixture_2d.get_config()
    built = replace(build_model(config, data.build(config)), module=Small())
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    strong, weak = ({"kernel": draw(2, 2), "table": draw(9, 2)} for _ in range(2))
    return built, strong, weak, draw(3, 2)


def reference(cond, uncond, other, weak, log_likelihood, schedule):
    """(rules, overrides, denoiser): the library's rules called on separate denoisers."""
    g = guidance
    within = "rules.interval.noise_min=0.5 rules.interval.noise_max=5"
    free = g.classifier_free(cond, uncond, 3.0)
    near = lambda d: g.interval(d, cond, schedule, 0.5, 5.0)
    clipped = "rules.static_threshold.limit=0.5"
    return [
        ("conditional", "", cond),
        ("unconditional", "", uncond),
        ("classifier_free", "", free),
        ("classifier_free,interval,rescale", within, g.rescale(near(free), cond, schedule)),
        ("classifier_free,rescale,interval", within, near(g.rescale(free, cond, schedule))),
        ("classifier_free,static_threshold,rescale", clipped,
         g.rescale(g.static_threshold(free, schedule, 0.5), cond, schedule)),
        ("classifier_free,rescale,static_threshold", clipped,
         g.static_threshold(g.rescale(free, cond, schedule), schedule, 0.5)),
        ("classifier_free,dynamic_threshold", "rules.dynamic_threshold.percentile=0.9",
         g.dynamic_threshold(free, schedule, 0.9)),
        ("apg,temperature", "rules.apg.parallel=0.3 rules.temperature.tau=0.8",
         g.temperature(g.apg(cond, uncond, schedule, 3.0, parallel=0.3), schedule, 0.8)),
        ("tangential", "", g.tangential(cond, uncond, schedule, 3.0)),
        ("cfg_zero_star", "", g.cfg_zero_star(cond, uncond, schedule, 3.0)),
        ("negative", "rules.negative.label=5", g.classifier_free(cond, other, 3.0)),
        ("negative", "rules.negative.label=5 rules.negative.scale=0.5",
         g.negative(cond, uncond, other, 3.0, 0.5)),
        ("compose", "rules.compose.labels=5, rules.compose.weights=0.7,",
         g.compose(uncond, [cond, other], [3.0, 0.7])),
        ("autoguidance", "rules.autoguidance.step=1", g.autoguidance(cond, weak, 3.0)),
        ("classifier", "rules.classifier.workdir=somewhere rules.classifier.noise_max=50",
         g.classifier_guidance(uncond, log_likelihood, schedule, 3.0)),
        ("classifier,interval", f"rules.classifier.workdir=somewhere {within}",
         g.interval(g.classifier_guidance(uncond, log_likelihood, schedule, 3.0), uncond, schedule, 0.5, 5.0)),
    ]  # fmt: skip


@pytest.mark.slow
def test_composed_rules_equal_those_of_the_library(ring):
    built, params, weak_params, x = ring
    labels, null = jnp.array([0, 1, 7]), jnp.full(3, 8)
    logits = lambda x, t: jnp.concatenate([x, x**2, jnp.sin(x), jnp.cos(x)], axis=1)
    likelihood = lambda x, t: jnp.take_along_axis(jax.nn.log_softmax(logits(x, t)), labels[:, None], 1)[:, 0]

    @jax.jit
    def run(params, weak_params, x):
        cond, uncond, other = (built.denoiser(params, y) for y in (labels, null, jnp.full(3, 5)))
        weak = built.denoiser(weak_params, labels)
        extras = Extras(weak_params, logits)
        both = []
        for names, overrides, expected in reference(cond, uncond, other, weak, likelihood, built.schedule):
            config = changed(mixture_2d, f"guidance={names}", *overrides.split())
            found = make_guided(build_rules(config), built)(params, labels, 3.0, extras)
            ts = (0.97, 0.5) if "interval" in names else (0.5,)
            both.append([[d(x, jnp.float32(t)) for t in ts] for d in (found, expected)])
        return both

    both = run(params, weak_params, x)
    for found, expected in both:
        chex.assert_trees_all_close(found, expected, rtol=2e-4, atol=2e-5)
    at = lambda i: np.asarray(both[i][0][-1].x0)
    assert np.abs(at(5) - at(6)).max() > 1e-3  # the order matters, and is that of the config
    # At γ = 1 (None) nothing but the plain branch is left, whatever the rule.
    config = changed(mixture_2d, "guidance=apg")
    assert build_rules(config).is_plain(1)
    assert not build_rules(config).is_plain(2)
    assert not build_rules(changed(mixture_2d, "guidance=classifier", "rules.classifier.workdir=x")).is_plain(1)
    plain = jax.jit(lambda p: make_guided(build_rules(config), built)(p, labels, None)(x, 0.5))(params)
    np.testing.assert_allclose(plain.x0, both[0][1][-1].x0, rtol=1e-4, atol=1e-5)
