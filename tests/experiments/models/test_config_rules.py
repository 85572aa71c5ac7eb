"""Guidance from the command line: what is refused, and that what is composed is the library's rule."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.cli import command_line
from experiments.cli.config import ConfigError, check_config, fill_missing, load_resolved, save_resolved
from experiments.configs import base
from experiments.configs.images import digits_classifier, smoke
from experiments.configs.points import mixture_2d
from experiments.data import conditions
from experiments.data.dataset import load_dataset
from experiments.models import choices as build
from experiments.models import classifier, model, rules
from experiments.models import runs as checkpoint
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
        (
            ["guidance=apg,interval", "rules.interval.noise_min=3", "rules.interval.noise_max=2"],
            ["rules.interval", "noise_max must be > noise_min = 3.0, got 2.0"],
        ),
        (["rules.apg.momentum=-0.5"], ["rules.apg.momentum=-0.5", "guidance=classifier_free does not name apg"]),
        (["loss.label_dropout=0"], ["label_dropout=0.0", "null token", "--config.guidance=conditional"]),
        (["guidance=unconditional", "loss.label_dropout=0"], ["label_dropout=0.0", "null token"]),
        (["data.map.name=average_pool", "loss.map_dropout=0"], ["loss.map_dropout=0.0", "null token"]),
        (["guidance=classifier"], ["rules.classifier.workdir=None", "must be set for guidance=classifier"]),
        (["guidance=autoguidance"], ["rules.autoguidance.step=None", "must be set"]),
        (["guidance=negative"], ["rules.negative.label=None", "must be set"]),
        (
            ["guidance=compose", "rules.compose.labels=1,2", "rules.compose.weights=0.5,"],
            ["weights must be one for each of the 2 labels, got 1"],
        ),
        (
            ["guidance=frequency_decoupled", "rules.frequency_decoupled.factors=a"],
            ["factors must be numbers, got ('a',)"],
        ),
        (["guidance=cfg_plus_plus"], ["solver.name=unipc", "ancestral, ddim, euler", "reads x0 and eps"]),
        (["guidance=cfg_plus_plus", "sampling.solver.name=euler"], ["guidance_scale must be in [0, 1], got 2.0"]),
        (["guidance=cfg_plus_plus,rescale", "sampling.solver.name=euler"], ["only interval may wrap cfg_plus_plus"]),
        (["sampling.guidance_shape.noise=3"], ["guidance_shape.noise=3.0", "constant takes no fields"]),
        (["loss.joint_dropout=1.5"], ["loss.joint_dropout=1.5: must be in [0, 1]"]),
        (["guidance=temperature"], ["nothing to wrap"]),
        (["guidance=apg,temperature"], ["rules.temperature.tau=None", "must be set"]),
    ],
)
def test_a_rule_misapplied_is_refused_in_one_sentence(overrides, words):
    with pytest.raises(ConfigError) as caught:
        build.check_choices(config_of(*overrides))
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
        ["guidance=cfg_plus_plus,interval", "sampling.solver.name=ddim", "sampling.guidance_scale=0.5",
         "evaluation.guidance_scales=0.2,1"],
        ["sampling.guidance_shape.name=power", "sampling.guidance_shape.power=3"],
    ],
)  # fmt: skip
def test_what_can_be_applied_is_not_refused(overrides):
    build.check_choices(config_of(*overrides))


def test_a_scale_that_is_not_sampled_at_is_not_refused():
    config = config_of("guidance=cfg_plus_plus", "sampling.solver.name=euler", "sampling.guidance_scale=0.5")
    build.check_choices(config, scales=[0.5])
    with pytest.raises(ConfigError, match="guidance_scale must be in"):
        build.check_choices(config)


def test_every_rule_has_its_numbers_in_the_config_and_needs_no_other():
    fields = base.get_config().rules
    assert set(fields) == set(rules.RULES)
    assert set(fields.apg) == {"parallel", "momentum", "norm_threshold"}
    assert fields.autoguidance.get_type("step") is int
    assert fields.classifier.get_type("workdir") is str
    assert fields.compose.get_type("labels") is tuple
    assert all(fields[name].get_type(key) is not object for name in fields for key in fields[name])


# ---- what is composed -----------------------------------------------------------------------------------------------


class Small:
    """A conditional network that compiles at once."""

    def apply(self, params, x, noise, labels):
        level = jnp.broadcast_to(noise, x.shape[:1])[:, None]
        return jnp.tanh(x @ params["kernel"] + 0.1 * level) + params["table"][labels]


@pytest.fixture(scope="module")
def ring():
    """A conditional model, a weaker one, and states."""
    config = mixture_2d.get_config()
    built = model.build_model(config, load_dataset(config))._replace(module=Small())  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    strong, weak = ({"kernel": draw(2, 2), "table": draw(9, 2)} for _ in range(2))
    return built, strong, weak, draw(3, 2)


def by_hand(cond, uncond, other, weak, log_likelihood, schedule):
    """The library's rules on separate denoisers, for the overrides that ought to give them."""
    g = guidance
    inside = {"rules.interval.noise_min": "0.5", "rules.interval.noise_max": "5"}
    free = g.classifier_free(cond, uncond, 3.0)
    near = lambda d: g.interval(d, cond, schedule, 0.5, 5.0)
    clipped = {"rules.static_threshold.limit": "0.5"}
    return [
        ("conditional", {}, cond),
        ("unconditional", {}, uncond),
        ("classifier_free", {}, free),
        ("classifier_free,interval,rescale", inside, g.rescale(near(free), cond, schedule)),
        ("classifier_free,rescale,interval", inside, near(g.rescale(free, cond, schedule))),
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
        ("classifier,interval", {"rules.classifier.workdir": "somewhere", **inside},
         g.interval(g.classifier_guidance(uncond, log_likelihood, schedule, 3.0), uncond, schedule, 0.5, 5.0)),
        ("classifier_free", {"sampling.guidance_shape.name": "linear"},
         g.classifier_free(cond, uncond, g.weight_schedule(1.0, 3.0, "linear"))),
    ]  # fmt: skip


def test_the_command_line_gives_the_librarys_rules(ring):
    built, params, weak_params, x = ring
    labels, null = jnp.array([0, 1, 7]), jnp.full(3, 8)
    logits = lambda x, t: jnp.concatenate([x, x**2, jnp.sin(x), jnp.cos(x)], axis=1)
    likelihood = lambda x, t: jnp.take_along_axis(jax.nn.log_softmax(logits(x, t)), labels[:, None], 1)[:, 0]

    @jax.jit
    def run(params, weak_params, x):
        cond, uncond, other = (model.denoiser(built, params, y) for y in (labels, null, jnp.full(3, 5)))
        weak = model.denoiser(built, weak_params, labels)
        extras = model.Extras(weak_params, logits)
        both = []
        for names, numbers, expected in by_hand(cond, uncond, other, weak, likelihood, built.schedule):
            config = config_of(f"guidance={names}", *(f"{k}={v}" for k, v in numbers.items()), start=mixture_2d)
            found = model.make_guided(config, built)(params, labels, 3.0, extras)
            ts = (0.97, 0.5) if "interval" in names else (0.5,)
            both.append([[d(x, jnp.float32(t)) for t in ts] for d in (found, expected)])
        return both

    both = run(params, weak_params, x)
    for i, (found, expected) in enumerate(both):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=str(i))
    at = lambda i: np.asarray(both[i][0][-1].x0)
    assert np.abs(at(5) - at(6)).max() > 1e-3  # the order matters, and is the one that was written
    # At γ = 1 (None) nothing but the plain branch is left, whatever the rule.
    config = config_of("guidance=apg", start=mixture_2d)
    assert rules.is_plain(config, 1)
    assert not rules.is_plain(config, 2)
    assert not rules.is_plain(config_of("guidance=classifier", start=mixture_2d), 1)
    plain = jax.jit(lambda p: model.make_guided(config, built)(p, labels, None)(x, 0.5))(params)
    np.testing.assert_allclose(plain.x0, both[0][1][-1].x0, rtol=1e-4, atol=1e-5)


def test_a_further_class_must_exist(ring):
    built = ring[0]
    config = config_of("guidance=negative", "rules.negative.label=8", start=mixture_2d)
    with pytest.raises(ConfigError, match="its label 8 must be a class from 0 to 7"):
        model.make_guided(config, built)


# ---- saved runs -----------------------------------------------------------------------------------------------------


def test_a_run_saved_before_a_rule_existed_is_opened_and_one_saved_before_rules_is_not(tmp_path):
    fields = smoke.get_config().to_dict()
    del fields["rules"]["apg"], fields["rules"]["interval"]["noise_max"]
    save_resolved(ConfigDict(fields), tmp_path / "config.json")
    config = checkpoint.saved_config(str(tmp_path))
    check_config(config, base.get_config())
    assert config.rules.apg.momentum is None
    assert config.is_locked
    command_line.override(config, "rules.compose.weights", "1")  # the file did not say that this is a list
    assert config.rules.compose.weights == (1,)
    with pytest.raises(ConfigError, match="must be a number"):
        command_line.override(config, "rules.interval.noise_max", "wide")
    del fields["guidance"], fields["rules"]
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match="this run was saved before guidance was a list of rules"):
        checkpoint.saved_config(str(tmp_path))


def test_a_field_with_a_default_of_its_own_is_not_filled():
    found = fill_missing(ConfigDict({"a": 1}), ConfigDict({"a": 2, "b": 3, "c": {"d": None, "e": 1}}))
    assert found.to_dict() == {"a": 1}


def test_a_classifier_must_be_one_and_of_the_same_data_and_schedule(tmp_path):
    own = digits_classifier.get_config()
    at = lambda: classifier.open_logits(smoke.get_config(), ConfigDict({"workdir": str(tmp_path), "step": None}))
    with pytest.raises(ConfigError, match=r"rules.classifier.workdir=.*: there is no run here"):
        at()
    save_resolved(smoke.get_config(), tmp_path / "config.json")
    with pytest.raises(ConfigError, match="this run is no classifier"):
        at()
    own.schedule.name = "linear_vp"
    save_resolved(own, tmp_path / "config.json")
    with pytest.raises(ConfigError, match=r"was trained with config\.schedule=linear_vp, the model with cosine"):
        at()
    own.schedule.name = "cosine"
    save_resolved(own, tmp_path / "config.json")
    with pytest.raises(ConfigError, match="no checkpoint in"):
        at()
    with pytest.raises(ConfigError, match="this run is a classifier"):
        checkpoint.saved_config(str(tmp_path))
    check_config(load_resolved(tmp_path / "config.json"), own)


def test_a_classifier_crosses_jit_and_a_clean_one_is_told_nothing_of_the_noise():
    config = digits_classifier.get_config()

    class Told:
        """Its logits are what it is told."""

        def apply(self, params, x, noise):
            return params * x + jnp.broadcast_to(noise, x.shape[:1])[:, None]

    built = classifier.build_classifier(config, 10)._replace(module=Told())  # type: ignore[arg-type]
    run = jax.jit(lambda logits, t: logits(jnp.zeros((2, 1)), t))
    at = lambda b, t: np.asarray(run(classifier.logits(b, jnp.float32(2.0)), t))[:, 0]
    levels = 0.25 * np.asarray(built.schedule.log_snr(jnp.array([0.3, 0.9])))
    np.testing.assert_allclose(at(built, jnp.array([0.3, 0.9])), levels, rtol=1e-5)
    np.testing.assert_array_equal(at(built, jnp.array([0.0, 1.0])), [3.0, -3.0])
    np.testing.assert_array_equal(at(built._replace(clean=True), jnp.array([0.3, 1.0])), [3.0, 3.0])


# ---- conditions -----------------------------------------------------------------------------------------------------


def test_conditions_of_an_example_against_numpy():
    x = np.random.default_rng(0).normal(size=(3, 4, 6, 2)).astype(np.float32)
    pooled = np.array(
        [[[x[b, i : i + 2, j : j + 2].mean((0, 1)) for j in (0, 2, 4)] for i in (0, 2)] for b in range(3)]
    )
    np.testing.assert_allclose(conditions.average_pool(2)({"x": jnp.asarray(x)}), pooled, rtol=1e-5, atol=1e-6)
    expected = np.stack([x.reshape(3, -1).mean(1), x.reshape(3, -1).std(1)], 1)
    np.testing.assert_allclose(conditions.moments()({"x": jnp.asarray(x)}), expected, rtol=1e-5, atol=1e-6)
    dataset = load_dataset(config_of())
    extracts = {"dense_map": conditions.average_pool(2), "vector": conditions.moments()}
    assert conditions.sizes(extracts, dataset) == {"map_shape": (4, 4, 1), "vector_size": 2}
    assert conditions.sizes({}, dataset) == {"map_shape": None, "vector_size": None}
    with pytest.raises(ConfigError, match=r"config.data.map: .*multiples of factor = 3, got \(8, 8\)"):
        conditions.sizes({"dense_map": conditions.average_pool(3)}, dataset)
    with pytest.raises(ConfigError, match=r"config.data\.vector: sklearn_digits has no field 'pitch'"):
        conditions.sizes({"vector": conditions.pitch_velocity()}, dataset)
    with pytest.raises(ConfigError, match="which has no sound, got log_mel"):
        conditions.build_conditions(config_of("data.map.name=log_mel"), dataset)


def test_a_batch_is_prepared_with_all_its_conditions_and_some_dropped():
    config = config_of("data.map.name=average_pool", "data.vector.name=moments", "loss.joint_dropout=0.5")
    dataset = load_dataset(config)
    built = model.build_model(config, dataset)
    prepare = model.make_prepare(built, dataset, conditions.dropout_rates(config), config.loss.joint_dropout)
    batch = dataset.batch(0, 0, 512)
    found = jax.jit(prepare)(jax.random.key(0), batch)["conditions"]
    lost = {name: ~np.asarray(found[name].present) for name in ("vector", "dense_map")}
    lost["labels"] = np.asarray(found["labels"]) == 10
    for name, rows in lost.items():
        assert abs(rows.mean() - (1 - 0.5 * 0.9)) < 4 * np.sqrt(0.25 / 512), name
    assert (lost["vector"] & lost["dense_map"] & lost["labels"]).mean() > 0.4
    pooled = np.asarray(dataset.to_model(batch["x"])).reshape(-1, 4, 2, 4, 2, 1).mean((2, 4))
    kept = ~lost["dense_map"]
    np.testing.assert_allclose(np.asarray(found["dense_map"].value)[kept], pooled[kept], rtol=1e-5, atol=1e-6)
    # To sample at: held-out scans of the classes that were asked for, another one each time.
    given = model.conditions_for(built, dataset, [3, 3, 7])
    scans = [dataset.test["x"][dataset.test["label"] == k] for k in (3, 7)]
    chosen = np.stack([scans[0][0], scans[0][1], scans[1][0]])
    pooled = np.asarray(dataset.to_model(chosen)).reshape(-1, 4, 2, 4, 2, 1).mean((2, 4))
    np.testing.assert_allclose(given["dense_map"].value, pooled, rtol=1e-5, atol=1e-6)
    assert given["dense_map"].present.all()
