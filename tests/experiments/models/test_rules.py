"""Guidance by config: validation errors, and that composed rules are those of the library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import check_fields_and_relations

from experiments import data
from experiments.cli import command_line
from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.configs.images import smoke
from experiments.configs.points import mixture_2d
from experiments.models import checks, model
from experiments.models import guidance as rules
from experiments.models.guidance import Extras, make_guided
from scorekit import guidance


def config_of(*overrides, start=smoke):
    config = start.get_config()
    for text in overrides:
        command_line.override(config, *text.split("=", 1))
    return config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance=classifer_free"], ["guidance=classifer_free: must be one of", "did you mean classifier_free?"]),
        (["guidance=()"], ["must name at least one rule", "conditional"]),
        (["guidance=interval"], ["interval has nothing to wrap", "first, innermost, one of", "classifier_free"]),
        (["guidance=classifier_free,apg"], ["classifier_free and apg both choose the base", "interval"]),
        (["guidance=apg,rescale,rescale"], ["names rescale twice"]),
        (["guidance=apg,interval"], ["guidance=apg,interval", "interval.noise_min or noise_max must be set"]),
        (
            ["guidance=apg,interval", "rules.interval.noise_min=3", "rules.interval.noise_max=2"],
            ["rules.interval", "noise_max must be > noise_min = 3.0, got 2.0"],
        ),
        (["rules.apg.momentum=-0.5"], ["rules.apg.momentum=-0.5", "guidance=classifier_free does not name apg"]),
        (["loss.label_dropout=0"], ["label_dropout=0.0", "null token", "--config.guidance=conditional"]),
        (["guidance=unconditional", "loss.label_dropout=0"], ["label_dropout=0.0", "null token"]),
        (["data.map.name=average_pool", "loss.map_dropout=0"], ["loss.map_dropout=0.0", "null token"]),
        (["guidance=classifier"], ["rules.classifier.workdir=None", "must be set for guidance=classifier"]),
        (["guidance=autoguidance"], ["step or ema must be set", "an earlier step or another average"]),
        (
            ["guidance=autoguidance", "rules.autoguidance.ema=power_0.3", "training.power_ema=0.05,0.1"],
            ["rules.autoguidance.ema=power_0.3", "power_<relative width>, in (0, 12^-1/2 = 0.2887)"],
        ),
        (["sampling.ema=power_0.05"], ["sampling.ema=power_0.05: must be one of 0.999, none"]),
        (["guidance=negative"], ["rules.negative.label=None", "must be set"]),
        (
            ["guidance=compose", "rules.compose.labels=1,2", "rules.compose.weights=0.5,"],
            ["weights must be one for each of the 2 labels, got 1"],
        ),
        (
            ["guidance=frequency_decoupled", "rules.frequency_decoupled.factors=a"],
            ["factors=('a',): must be a sequence of at least 1, each finite"],
        ),
        (["guidance=cfg_plus_plus"], ["solver.name=recommended", "ancestral, ddim, euler", "reads x0 and eps"]),
        (["guidance=cfg_plus_plus", "sampling.solver.name=euler"], ["guidance_scale must be in [0, 1], got 2.0"]),
        (["guidance=cfg_plus_plus,rescale", "sampling.solver.name=euler"], ["only interval may wrap cfg_plus_plus"]),
        (["sampling.guidance_shape.noise=3"], ["guidance_shape.noise=3.0", "constant takes no fields"]),
        (["loss.joint_dropout=1.5"], ["loss.joint_dropout=1.5: must be in [0, 1]"]),
        (["guidance=temperature"], ["nothing to wrap"]),
        (["guidance=apg,temperature"], ["rules.temperature.tau=None", "must be set"]),
    ],
)
def test_an_invalid_rule_raises_an_error_of_one_line(overrides, words):
    with pytest.raises(ConfigError) as caught:
        check_fields_and_relations(config_of(*overrides))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("config.")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "overrides",
    [
        ["guidance=conditional", "loss.label_dropout=0"],
        ["guidance=classifier_free", "loss.label_dropout=0", "loss.joint_dropout=0.1"],
        ["loss.label_dropout=0", "sampling.guidance_scale=1", "evaluation.guidance_scales=1"],
        ["loss.map_dropout=0"],  # there is no map
        ["guidance=cfg_plus_plus,interval", "rules.interval.noise_max=5", "sampling.solver.name=ddim",
         "sampling.guidance_scale=0.5", "evaluation.guidance_scales=0.2,1"],
        ["guidance=classifier_free,interval", "rules.interval.noise_min=0.3"],
        ["sampling.guidance_shape.name=power", "sampling.guidance_shape.power=3"],
    ],
)  # fmt: skip
def test_valid_rules_raise_nothing(overrides):
    checks.check(config_of(*overrides))


def test_only_the_scales_that_are_sampled_at_are_validated():
    config = config_of("guidance=cfg_plus_plus", "sampling.solver.name=euler", "sampling.guidance_scale=0.5")
    checks.check(config, scales=[0.5])
    with pytest.raises(ConfigError, match="guidance_scale must be in"):
        checks.check(config)


def test_every_rule_has_its_arguments_as_fields_and_no_others():
    fields = base.get_config().rules
    assert set(fields) == set(rules.RULES)
    assert set(fields.apg) == {"parallel", "momentum", "norm_threshold"}
    assert fields.autoguidance.get_type("step") is int
    assert fields.classifier.get_type("workdir") is str
    assert fields.compose.get_type("labels") is tuple
    assert all(fields[name].get_type(key) is not object for name in fields for key in fields[name])


# ---- what is composed -----------------------------------------------------------------------------------------------


class Small:
    """A conditional network that compiles in no time."""

    def apply(self, params, x, noise, labels):
        level = jnp.broadcast_to(noise, x.shape[:1])[:, None]
        return jnp.tanh(x @ params["kernel"] + 0.1 * level) + params["table"][labels]


@pytest.fixture(scope="module")
def ring():
    """A conditional model, a weaker one, and states."""
    config = mixture_2d.get_config()
    built = model.build_model(config, data.load(config))._replace(module=Small())  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    strong, weak = ({"kernel": draw(2, 2), "table": draw(9, 2)} for _ in range(2))
    return built, strong, weak, draw(3, 2)


def reference(cond, uncond, other, weak, log_likelihood, schedule):
    """(rules, overrides, denoiser): the library's rules called on separate denoisers."""
    g = guidance
    within = {"rules.interval.noise_min": "0.5", "rules.interval.noise_max": "5"}
    free = g.classifier_free(cond, uncond, 3.0)
    near = lambda d: g.interval(d, cond, schedule, 0.5, 5.0)
    clipped = {"rules.static_threshold.limit": "0.5"}
    return [
        ("conditional", {}, cond),
        ("unconditional", {}, uncond),
        ("classifier_free", {}, free),
        ("classifier_free,interval,rescale", within, g.rescale(near(free), cond, schedule)),
        ("classifier_free,rescale,interval", within, near(g.rescale(free, cond, schedule))),
        ("classifier_free,static_threshold,rescale", clipped,
         g.rescale(g.static_threshold(free, schedule, 0.5), cond, schedule)),
        ("classifier_free,rescale,static_threshold", clipped,
         g.static_threshold(g.rescale(free, cond, schedule), schedule, 0.5)),
        ("classifier_free,dynamic_threshold", {"rules.dynamic_threshold.percentile": "0.9"},
         g.dynamic_threshold(free, schedule, 0.9)),
        ("apg,temperature", {"rules.apg.parallel": "0.3", "rules.temperature.tau": "0.8"},
         g.temperature(g.apg(cond, uncond, schedule, 3.0, parallel=0.3), schedule, 0.8)),
        ("tangential", {}, g.tangential(cond, uncond, schedule, 3.0)),
        ("cfg_zero_star", {}, g.cfg_zero_star(cond, uncond, schedule, 3.0)),
        ("negative", {"rules.negative.label": "5"}, g.classifier_free(cond, other, 3.0)),
        ("negative", {"rules.negative.label": "5", "rules.negative.scale": "0.5"},
         g.negative(cond, uncond, other, 3.0, 0.5)),
        ("compose", {"rules.compose.labels": "5,", "rules.compose.weights": "0.7,"},
         g.compose(uncond, [cond, other], [3.0, 0.7])),
        ("autoguidance", {"rules.autoguidance.step": "1"}, g.autoguidance(cond, weak, 3.0)),
        ("classifier", {"rules.classifier.workdir": "somewhere", "rules.classifier.noise_max": "50"},
         g.classifier_guidance(uncond, log_likelihood, schedule, 3.0)),
        ("classifier,interval", {"rules.classifier.workdir": "somewhere", **within},
         g.interval(g.classifier_guidance(uncond, log_likelihood, schedule, 3.0), uncond, schedule, 0.5, 5.0)),
        ("classifier_free", {"sampling.guidance_shape.name": "linear"},
         g.classifier_free(cond, uncond, g.weight_schedule(1.0, 3.0, "linear"))),
    ]  # fmt: skip


@pytest.mark.slow
def test_composed_rules_equal_those_of_the_library(ring):
    built, params, weak_params, x = ring
    labels, null = jnp.array([0, 1, 7]), jnp.full(3, 8)
    logits = lambda x, t: jnp.concatenate([x, x**2, jnp.sin(x), jnp.cos(x)], axis=1)
    likelihood = lambda x, t: jnp.take_along_axis(jax.nn.log_softmax(logits(x, t)), labels[:, None], 1)[:, 0]

    @jax.jit
    def run(params, weak_params, x):
        cond, uncond, other = (model.denoiser(built, params, y) for y in (labels, null, jnp.full(3, 5)))
        weak = model.denoiser(built, weak_params, labels)
        extras = Extras(weak_params, logits)
        both = []
        for names, overrides, expected in reference(cond, uncond, other, weak, likelihood, built.schedule):
            config = config_of(f"guidance={names}", *(f"{k}={v}" for k, v in overrides.items()), start=mixture_2d)
            found = make_guided(config, built)(params, labels, 3.0, extras)
            ts = (0.97, 0.5) if "interval" in names else (0.5,)
            both.append([[d(x, jnp.float32(t)) for t in ts] for d in (found, expected)])
        return both

    both = run(params, weak_params, x)
    for i, (found, expected) in enumerate(both):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=str(i))
    at = lambda i: np.asarray(both[i][0][-1].x0)
    assert np.abs(at(5) - at(6)).max() > 1e-3  # the order matters, and is that of the config
    # At γ = 1 (None) nothing but the plain branch is left, whatever the rule.
    config = config_of("guidance=apg", start=mixture_2d)
    assert rules.is_plain(config, 1)
    assert not rules.is_plain(config, 2)
    assert not rules.is_plain(config_of("guidance=classifier", start=mixture_2d), 1)
    plain = jax.jit(lambda p: make_guided(config, built)(p, labels, None)(x, 0.5))(params)
    np.testing.assert_allclose(plain.x0, both[0][1][-1].x0, rtol=1e-4, atol=1e-5)


def test_a_class_of_a_rule_must_exist(ring):
    built = ring[0]
    config = config_of("guidance=negative", "rules.negative.label=8", start=mixture_2d)
    with pytest.raises(ConfigError, match="its label 8 must be a class from 0 to 7"):
        make_guided(config, built)
