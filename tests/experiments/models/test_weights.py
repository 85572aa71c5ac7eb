"""A trained model is only opened with the fields that its weights were trained with."""

import re
import shutil

import optax
import pytest
from programs import changed, error_of, fails, save_run, succeeds

from experiments import data
from experiments.cli.config import ConfigError, load_resolved, save_resolved
from experiments.configs.images import digits, smoke
from experiments.models import run_files
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_model
from experiments.training.loop import Trainable, train_network
from scorekit import training
from scorekit.training.restoring import restore_extra


@pytest.fixture(scope="module")
def recorded(digits_run, tmp_path_factory):
    """The run ``digits_run`` as training saves it: with the fields of its weights."""
    config = load_resolved(digits_run / "config.json")
    _, params = training.restore_params(digits_run / "checkpoints")
    extra = {"seed": 0, **run_files.record(config)}
    return save_run(tmp_path_factory.mktemp("recorded") / "run", config, params, 6, extra)


@pytest.mark.parametrize(
    ("text", "trained"),
    [
        ("loss.target.name=eps", "v"),
        ("schedule.name=linear_vp", "cosine"),
        ("schedule.s=0.008", "its default"),
        ("noise_factor=2", "1.0"),
        ("network.multipliers=1,2", "(1,)"),
        ("network.dtype=bfloat16", "its default"),
        ("loss.label_dropout=0.5", "0.1"),
        ("data.set=mnist", "its default"),
        ("conditions.vector.name=moments", "none"),
        ("conditions.map.name=average_pool", "none"),
        ("data.label=none", "its default"),
        ("latents=somewhere", "its default"),
    ],
)
def test_another_value_of_a_field_of_the_weights_raises_and_names_it(recorded, text, trained):
    message = error_of(run_files.check_weights, changed(diffusion.saved(recorded), text), recorded)
    assert message.startswith(f"config.{text.split('=')[0]}=")
    assert f": the weights in {recorded} were trained with {trained}; use" in message


@pytest.mark.parametrize(
    "text",
    ["data.data_dir=/other", "data.test_split=train", "training.batch_size=4", "training.learning_rate=1",
     "sampling.steps=9", "sampling.grid.t_max=0.9", "evaluation.num_samples=3", "guidance=apg",
     "rules.apg.momentum=0.5", "seed=7"],
)  # fmt: skip
def test_other_fields_are_free(recorded, capsys, text):
    run_files.check_weights(changed(diffusion.saved(recorded), text), recorded)
    assert capsys.readouterr().out == ""


def test_the_folder_of_an_autoencoder_may_move_but_not_appear():
    config, moved = digits.get_config("latents"), digits.get_config("latents")
    moved.latents = "elsewhere"
    assert run_files.fields_of(config) == run_files.fields_of(moved)
    assert "latents" not in run_files.fields_of(smoke.get_config())


def test_the_representation_of_sounds_belongs_to_the_weights():
    sounds = "data.name=notes", "data.representation.name=spectrogram"
    plain, scaled = (changed(smoke, *sounds, *more) for more in ((), ("data.representation.log_std=2",)))
    added = dict(run_files.fields_of(scaled).items() - run_files.fields_of(plain).items())
    assert added == {"data.representation.log_std": 2}


def test_classes_keep_the_names_that_they_were_trained_with(recorded):
    names, config = ("circle", "cross"), diffusion.saved(recorded)
    saved = run_files.record(config, class_names=names)
    run_files.check_class_names(names, saved, recorded)
    run_files.check_class_names((), saved, recorded)
    message = error_of(run_files.check_class_names, ("circle", "square"), saved, recorded)
    assert message.startswith(f"config.data: class 1 is square, the weights in {recorded} were trained with cross")
    assert "class_names" not in run_files.record(config)


def test_a_checkpoint_without_fields_is_opened_with_those_of_its_config_file(ring_run):
    config = diffusion.saved(str(ring_run))
    run_files.check_weights(changed(config, "sampling.steps=3"), ring_run)
    words = "config.loss.target.name=x0: the weights in .*ring.* were trained with v; use that value"
    assert re.match(words, error_of(run_files.check_weights, changed(config, "loss.target.name=x0"), ring_run))


@pytest.mark.slow
def test_programs_open_other_weights_only_if_told_to(recorded, tmp_path):
    workdir = shutil.copytree(recorded, tmp_path / "run")
    target = "--config.loss.target.name=x0"
    for program in ("sample", "evaluate", "edit", "tune"):
        err = fails(program, f"--workdir={workdir}", target)
        assert re.fullmatch(r"error: config.loss.target.name=x0: the weights in .* were trained with v; .*\n", err), err
    student = [f"--config=experiments/configs/distil.py:{workdir},progressive", f"--workdir={tmp_path}/student"]
    assert "the weights in" in fails("train", *student, target)
    assert not (tmp_path / "student" / "config.json").exists()
    path = workdir / "config.json"
    path.write_text(path.read_text().replace('"name": "v"', '"name": "x0"'))  # edited
    assert "config.loss.target.name=x0: the weights in" in fails("sample", f"--workdir={workdir}")
    out = succeeds("sample", f"--workdir={workdir}", "--reinterpret_weights", "--num=2")
    assert f"config.loss.target.name=x0: reinterpreting the weights in {workdir}, trained with v\n" in out


@pytest.mark.slow
def test_training_saves_the_fields_and_continues_with_the_same_only(recorded, tmp_path):
    workdir = shutil.copytree(recorded, tmp_path / "run")
    config = diffusion.saved(str(workdir))
    config.schedule.name = "sigmoid"
    config.training.update(steps=7, warmup_steps=1, batch_size=4, sample_every=100)
    dataset = data.build(config)
    one = Trainable(
        init=build_model(config, dataset).init,
        prepare=lambda key, batch: batch,
        loss=lambda params, batch: (0.0 * batch["label"], {}),
        optimizer=optax.sgd(0.1),
        held_out=lambda params: 0.0,
    )

    def fit():
        save_resolved(config, workdir / "config.json")  # as if somebody had edited it
        train_network(config, workdir, one, dataset)

    with pytest.raises(ConfigError, match=r"config.schedule.name=sigmoid: the weights in .* trained with cosine"):
        fit()
    config.schedule.name = "cosine"
    fit()
    extra = restore_extra(workdir / "checkpoints")
    assert extra["examples_consumed"] == 7 * config.training.batch_size
    run_files.check_record(config, extra, workdir)
    assert extra["weights"]["schedule.name"] == "cosine"
