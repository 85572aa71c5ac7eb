"""Training that starts from weights: what the config takes from them, what stays random, what does not fit."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from golden import random_tensors
from programs import captioned_squares, changed, error_of
from safetensors.numpy import save_file

from experiments import data
from experiments.configs import base
from experiments.configs.points import mixture_2d
from experiments.models import choices
from experiments.tasks.diffusion import task
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_schedule, make_sampler
from scorekit import io, predictions, schedules
from scorekit.io import preconditioning as meaning
from scorekit.io.files import write_atomic
from scorekit.networks import MLP


def weights(folder, module, shape, found=None):
    """Exports a network with random parameters."""
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *shape)), jnp.zeros(1))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), params)
    return io.export(folder, io.Loaded(module, params, found or meaning.edm(), shape))


def started(config):
    config = task.resolve(config, data.build(config))
    model = task.build(config, data.build(config)).model
    return config, model, task.build(config, data.build(config)).trained.init(jax.random.key(config.seed))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A folder of diffusers with an unconditional network."""
    folder = tmp_path_factory.mktemp("diffusers")
    named, about, _ = random_tensors.load("ddpm")
    (folder / "unet").mkdir()
    own = {name.removeprefix("defaults."): value for name, value in named.items() if name.startswith("defaults.")}
    own["conv_in.weight"] = own["conv_in.weight"][:, :3].copy()
    own |= {name: own[name][:3].copy() for name in ("conv_out.weight", "conv_out.bias")}
    save_file(own, folder / "unet/diffusion_pytorch_model.safetensors")
    config = {**about["config"]["defaults"], "sample_size": 8, "in_channels": 3, "out_channels": 3}
    scheduler = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    for name, values in {"unet/config": config, "scheduler/scheduler_config": scheduler, "model_index": {}}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_atomic(folder / f"{name}.json", json.dumps(values))
    return folder


@pytest.mark.slow
def test_own_pictures_continue_the_training_of_an_unconditional_network_of_diffusers(pipeline, tmp_path, capsys):
    path = captioned_squares(tmp_path)
    overrides = ["data.name=folder", f"data.path={path}", "data.image_size=8", f"init_from={pipeline}"]
    found, config = io.load(pipeline), changed(base, *overrides)
    words = "its network has no classes, the data have 1: add --config.data.label=none"
    assert error_of(started, config) == f"config.init_from={pipeline}: {words}"
    bare = changed(config, f"init_from={pipeline}/unet")
    assert "unet: must be a pipeline that is saved with its scheduler" in error_of(started, bare)
    _, model, params = started(changed(base, *overrides, "data.label=none"))
    chex.assert_trees_all_equal(params, found.params)
    assert model.module == found.module
    for ours, theirs in zip(model.preconditioning[1:], found.preconditioning[1:], strict=True):
        chex.assert_trees_all_close(ours, theirs, rtol=1e-7)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert capsys.readouterr().out == f"{count:,} parameters from {pipeline} (ResidualUNet), none random\n"


_TABLE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
_FLOW = schedules.RectifiedFlow()
MEANINGS = {
    "ddpm": meaning.ddpm(),
    "cosine": meaning.ddpm("squaredcos_cap_v2", "x0"),
    "latent": meaning.from_scheduler({**_TABLE, "num_train_timesteps": 50}),
    "zero_snr": meaning.from_scheduler({**_TABLE, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}),
    "vp": meaning.vp(0.2, 15.0),
    "ve": meaning.ve(),
    "edm": meaning.edm(0.3),
    "flow": meaning.Preconditioning(_FLOW, predictions.Velocity(), meaning.TimestepInput(schedule=_FLOW, last=1000.0)),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_an_unset_preconditioning_is_that_of_the_weights(name, tmp_path):
    weights(tmp_path / "weights", MLP(features=4, blocks=1), (2,), MEANINGS[name])
    config, found = changed(base, f"init_from={tmp_path}/weights"), MEANINGS[name]
    config = task.resolve(config, data.build(config))
    diffusion.FIELDS.check(config)
    noise_input = choices.NOISE_INPUTS.build(config, "preconditioning.noise", schedule=build_schedule(config))
    chex.assert_trees_all_close(noise_input, found.noise_input, rtol=1e-4)
    chex.assert_trees_all_close(choices.TARGETS.build(config, "loss.target"), found.target, rtol=1e-7)
    assert config.preconditioning.sigma_data == found.sigma_data
    assert (config.network.name, config.network.features, config.network.blocks) == ("mlp", 4, 1)
    schedule, ts = schedules.LinearVP() if name != "flow" else _FLOW, jnp.array([0.2, 0.7])
    of_target = jnp.square(1 / found.target.eps_scale(ts, schedule))
    weights_of_loss = choices.WEIGHTINGS.build(config, "loss.weighting", schedule=schedule)(schedule.log_snr(ts))
    np.testing.assert_allclose(weights_of_loss, of_target, rtol=1e-4)
    assert task.resolve(config, data.build(config)).to_json() == config.to_json()


def test_of_other_classes_only_the_null_token_is_kept(tmp_path, capsys):
    weights(tmp_path / "weights", MLP(features=4, blocks=1, num_classes=3), (2,))
    config = changed(base, "data.name=ring", f"init_from={tmp_path}/weights")
    *_, params = started(config)
    assert "(MLP), 36 random: conditioning.labels.embedding\n" in capsys.readouterr().out
    old, new = (flatten_dict(tree) for tree in (io.load(tmp_path / "weights").params, params))
    table = ("params", "conditioning", "labels", "embedding")
    np.testing.assert_array_equal(new[table][8], old[table][3])
    assert not np.isin(new[table][:8], old[table]).any()
    for path in old.keys() - {table}:
        np.testing.assert_array_equal(new[path], old[path])
    words = "its network has 3 classes: leave config.data.label=none out"
    assert words in error_of(started, changed(config, "data.label=none"))


@pytest.mark.slow
def test_a_model_without_labels_is_sampled_without_guidance():
    config = changed(mixture_2d, "data.label=none", "network.features=8", "sampling.steps=3")
    words = "config.guidance=classifier: must be a rule without a classifier for config.data.label=none"
    dataset, guided = data.build(config), changed(config, "guidance=classifier", "rules.classifier.workdir=x")
    assert error_of(task.build, task.resolve(guided, dataset), dataset) == words
    config, model, params = started(config)
    assert (config.guidance, config.evaluation.guidance_scales) == (("conditional",), (1.0,))
    x = jnp.ones((3, 2))
    of = model.network(params, {"labels": jnp.array([0, 1, 5])})(x, 0.5)
    np.testing.assert_array_equal(of, model.module.apply(params, x, model.noise_input(model.schedule.log_snr(0.5))))
    drawn = make_sampler(config, model, dataset)(params, 0, np.zeros(5, np.int32), 1.0)
    assert drawn.shape == (5, 2)
    assert dataset.exact_bits() is None
