"""Configs that no program can run: one line names the field before data are loaded or anything is written."""

import shutil
import tempfile
from pathlib import Path

import jax
import pytest
from programs import ROOT, run

from experiments import data, evaluation
from experiments.cli.command_line import override
from experiments.cli.config import ConfigError, save_resolved
from experiments.configs import base
from experiments.configs.images import digits_classifier, digits_dit, smoke
from experiments.configs.latents import digits_latent
from experiments.configs.notes import notes_smoke
from experiments.configs.phrases import phrases
from experiments.configs.points import mixture_2d
from experiments.models import autoencoder, checks, choices, devices
from experiments.models.model import build_model, init_params

SMOKE = "--config=experiments/configs/images/smoke.py"


@pytest.fixture
def no_data(monkeypatch):
    """Loading data is an error that no program catches."""

    def fail(config):
        raise AssertionError("data were loaded")

    monkeypatch.setattr(data, "load", fail)


def changed(start, *overrides):
    config = start.get_config()
    for text in overrides:
        override(config, *text.split("=", 1))
    return config


def check(config):
    base.check_fields(config)
    data.check(config)
    checks.check(config)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sampling.grid.name=uniform", "sampling.grid.t_max=0.5", "sampling.grid.t_min=0.5"],
         ["config.sampling.grid (uniform): t_min must be < t_max = 0.5", "set config.sampling.grid.t_min"]),
        (["sampling.grid.name=times", "sampling.grid.times=0.9,0.4,0.4"], ["config.sampling.grid", "decrease"]),
        (["sampling.solver.name=ddim", "sampling.solver.eta=1.5"],
         ["config.sampling.solver.eta=1.5: must be in [0, 1] for sampling.solver.name=ddim"]),
        (["sampling.solver.name=dpm_solver", "sampling.solver.order=4"],
         ["config.sampling.solver.order=4: must be an integer from 1 to 3 for sampling.solver.name=dpm_solver"]),
        (["sampling.solver.name=heun", "sampling.solver.coordinate=log"],
         ["config.sampling.solver.coordinate=log: must be one of flow, angle, sigma for sampling.solver.name=heun"]),
        (["schedule.name=edm", "schedule.sigma_min=3", "schedule.sigma_max=2"], ["set config.schedule.sigma_max"]),
        (["loss.times.name=uniform", "loss.times.t_min=0.5", "loss.times.t_max=0.4"], ["set config.loss.times.t_max"]),
        (["guidance=apg,interval", "rules.interval.noise_min=3", "rules.interval.noise_max=3"],
         ["set config.rules.interval.noise_max"]),
        (["data.crop=64"], ["config.data.crop=64: must be left out", "sklearn_digits has no sounds"]),
        (["data.peak=0.5"], ["config.data.peak=0.5: must be left out"]),
        (["data.label=family"], ["config.data.label=family: must be left out"]),
        (["data.representation.scale=2"], ["config.data.representation.scale=2.0: must be left out"]),
        (["data.map.factor=2"], ["config.data.map.factor=2: must be left out", "takes no fields"]),
        (["data.map.name=average_pool", "data.map.hop=2"], ["config.data.map.hop=2: must be left out"]),
    ],
)  # fmt: skip
def test_an_impossible_combination_names_its_fields(no_data, overrides, words):
    config = changed(smoke, *overrides)
    with pytest.raises(ConfigError) as caught:
        check(config)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("start", "text", "message"),
    [
        (notes_smoke, "data.representation.log_std=2", "config.data.representation.log_std=2.0: must be left out"),
        (
            notes_smoke,
            "data.vector.lowest=90",
            "lowest must be at most highest = 84, got 90; set config.data",
        ),
        (phrases, "data.map.count=0", "config.data.map.count=0: must be an integer from 1 to 64"),
        (phrases, "data.map.num_mels=8", "config.data.map.num_mels=8: must be left out"),
    ],
)
def test_fields_of_sounds_are_validated_before_sounds_are_loaded(no_data, start, text, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(start, text))


def test_the_spectral_loss_of_sounds_is_an_error_on_images():
    with pytest.raises(ConfigError, match=r"config.loss.spectral=2.0: must be left out"):
        autoencoder.check(changed(digits_latent, "loss.spectral=2"))
    autoencoder.check(changed(digits_latent, "loss.spectral=0"))


def test_a_network_that_fits_neither_data_nor_machine_is_an_error(tmp_path):
    dataset = data.load(smoke.get_config())
    init = lambda config: init_params(build_model(config, dataset), jax.random.key(0))
    shapes = lambda config: devices.param_shapes(config, "network", lambda: init(config))
    with pytest.raises(ConfigError, match=r"config.network \(unet\): x must have a height and width divisible by 16"):
        shapes(changed(smoke, "network.multipliers=1,2,4,8,16"))
    with pytest.raises(ConfigError, match=r"config.network: has .* parameters, which take at least .* bytes"):
        shapes(changed(smoke, "network.channels=65536"))
    code, _, err = run("train", SMOKE, f"--workdir={tmp_path}/run", "--config.network.channels=65536")
    assert code == 2
    assert err.startswith("error: config.network: has ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network.patch=3", r"patch must divide the sides of x, 8 x 8, got 3; set config.network.patch"),
        ("network.heads=5", r"width must be divisible by heads = 5 .*, got 64; set config.network.width"),
        ("network.mlp_ratio=0.001", r"mlp_ratio must be at least 1 / 64.*; set config.network.mlp_ratio"),
    ],
)
def test_a_transformer_that_does_not_fit_its_images_is_an_error(text, message):
    config = changed(digits_dit, text)
    model = build_model(config, data.load(config))
    with pytest.raises(ConfigError, match=message):
        devices.param_shapes(config, "network", lambda: init_params(model, jax.random.key(0)))


@pytest.mark.parametrize(
    ("start", "text", "message"),
    [
        (digits_dit, "network.attention=flash", "config.network.attention=flash: must be one of xla, fused"),
        (digits_dit, "network.noise_scale=0", "config.network.noise_scale=0.0: must be finite and > 0"),
        (digits_dit, "network.mlp_ratio=-1", "config.network.mlp_ratio=-1.0: must be in \\(0, 1024\\]"),
        (digits_dit, "network.width=0", "config.network.width=0: must be an integer from 1 to 65536"),
        (digits_dit, "network.channels=8", "config.network.channels=8: must be left out"),
        (smoke, "network.depth=2", "config.network.depth=2: must be left out"),
    ],
)
def test_sizes_of_a_transformer_are_validated_before_data_are_loaded(no_data, start, text, message):
    with pytest.raises(ConfigError, match=message):
        check(changed(start, text))


def test_rematerialisation_is_a_field_of_networks_with_blocks():
    network = choices.build_network(changed(digits_dit, "network.remat=true", "network.dtype=bfloat16"), 10)
    assert (network.remat, network.dtype, network.depth) == (True, "bfloat16", 4)
    assert choices.build_network(changed(smoke, "network.remat=true"), 10).remat
    assert not choices.build_network(smoke.get_config(), 10).remat


TRAINING = {
    "train": SMOKE,
    "train a classifier": f"--config={Path(digits_classifier.__file__).relative_to(ROOT)}",
    "train an autoencoder": f"--config={Path(digits_latent.__file__).relative_to(ROOT)}",
    "train a transcriber": "--config=experiments/configs/music/transcriber.py",
    "ood.detect": "--config=experiments/configs/ood/ood_digits.py",
    "benchmarks.band_weighting": SMOKE,
}


@pytest.mark.parametrize("program", TRAINING)
def test_a_program_that_trains_validates_every_field_first(no_data, tmp_path, program):
    prefix = "train." if program == "ood.detect" else ""
    workdir = [] if program == "benchmarks.band_weighting" else [f"--workdir={tmp_path}/run"]
    for field, value in {"training.keep": "0", "seed": "-1", "training.learning_rate": "-1"}.items():
        code, _, err = run(program.split()[0], TRAINING[program], *workdir, f"--config.{prefix}{field}={value}")
        assert code == 2
        assert err.startswith(f"error: config.{prefix}{field}={value}")
        assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


OPENING = ["sample", "evaluate", "edit", "tune", "analysis.autoencoder", "analysis.noise_and_scale", "audio.silence",
           "audio.evaluate_notes", "audio.perform", "audio.restore_sounds", "audio.timbre", "audio.vocode"]  # fmt: skip


@pytest.mark.parametrize("program", [*OPENING, "train", "latents.cascade", "benchmarks.few_steps"])
def test_a_program_that_opens_a_run_validates_every_field_first(no_data, digits_run, tmp_path, program):
    given = {
        "train": [f"--config=experiments/configs/distil.py:{digits_run},progressive"],
        "latents.cascade": [f"--stages={digits_run},{digits_run}"],
        "benchmarks.few_steps": [f"--students={digits_run}"],
    }.get(program, [])
    workdir = [] if program == "latents.cascade" else [f"--workdir={digits_run}"]
    workdir = [f"--workdir={tmp_path}/student"] if program == "train" else workdir
    for field, value, most in (("sampling.batch_size", "-5", 2**20), ("evaluation.num_samples", "0", 10**8)):
        code, _, err = run(program, *workdir, *given, f"--config.{field}={value}")
        assert code == 2
        assert err == f"error: config.{field}={value}: must be an integer from 1 to {most}\n"
    assert not (tmp_path / "student").exists()


def test_values_of_a_saved_config_are_validated_and_may_be_overridden(no_data, digits_run, tmp_path):
    workdir = shutil.copytree(digits_run, tmp_path / "run")
    path = workdir / "config.json"
    path.write_text(path.read_text().replace('"guidance_scale": 2.0', '"guidance_scale": Infinity'))
    code, _, err = run("sample", f"--workdir={workdir}")
    assert code == 2
    assert err.startswith("error: config.sampling.guidance_scale=inf: must be finite and >= 0")
    base.check_fields(changed_saved(workdir, "sampling.guidance_scale=1"))
    path.write_text(path.read_text().replace('"corrector_steps": null', '"corrector_steps": 1.5'))
    code, _, err = run("sample", f"--workdir={workdir}")
    assert code == 2
    assert err.startswith("error: config.sampling.solver.corrector_steps=1.5: must be an integer")


def changed_saved(workdir, text):
    config = base.saved(str(workdir))
    override(config, *text.split("=", 1))
    return config


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_is_not_negative_and_fits_a_key(digits_run, seed):
    code, _, err = run("sample", f"--workdir={digits_run}", f"--seed={seed}")
    assert code == 2
    assert f"--seed={seed}" in err


@pytest.fixture(scope="module")
def unloadable(tmp_path_factory):
    """Folders of runs that were saved and have no checkpoint, by the kind of their data."""
    folder = tmp_path_factory.mktemp("runs")
    for name, module in {"digits": smoke, "notes": notes_smoke, "phrases": phrases}.items():
        save_resolved(module.get_config(), folder / name / "config.json")
    return folder


@pytest.mark.parametrize(
    ("program", "kind", "flag", "words"),
    [
        ("train", "digits", "--workdir=/dev/null/x", "error: --workdir=/dev/null/x: must be a folder"),
        ("sample", "digits", "--step=-1", "error: flag --step=-1: -1 is not a non-negative integer"),
        ("tune", "digits", "--power=nan", "error: --power=nan: must be finite and >= 0"),
        ("audio.silence", "notes", "--noise=nan", "error: --noise=nan: must be finite and > 0"),
        ("audio.perform", "phrases", "--midi=/dev/null/x", "error: --midi=/dev/null/x: path must be a MIDI file"),
        ("audio.evaluate_notes", "notes", "--others=/dev/null/x", "error: --workdir=/dev/null/x: there is no run"),
        *((f"audio.{name}", "digits", "--seed=0", "error: --workdir={}/digits: must hold a run on ")
          for name in ("evaluate_notes", "perform", "restore_sounds", "silence", "vocode")),
    ],
)  # fmt: skip
def test_flags_and_kind_of_the_run_are_validated_first(no_data, unloadable, program, kind, flag, words):
    student = f"--config=experiments/configs/distil.py:{unloadable / kind},progressive"
    code, _, err = run(program, student if program == "train" else f"--workdir={unloadable / kind}", flag)
    assert code == 2
    assert err.startswith(words.format(unloadable))
    assert err.count("\n") == 1


@pytest.mark.parametrize("program", ["analysis.autoencoder", "analysis.noise_and_scale", "audio.silence"])
def test_a_run_that_takes_no_results_is_an_error_first(no_data, unloadable, program, monkeypatch):
    def fail(**_):
        raise OSError(30, "Read-only file system", "the folder")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    code, _, err = run(program, f"--workdir={unloadable / 'notes'}")
    assert code == 2
    assert err.startswith(f"error: --workdir={unloadable / 'notes'}: must be a folder that files can be written into")


@pytest.mark.parametrize(
    ("program", "given", "message"),
    [
        ("sample", "--num=1000000000000", "flag --num=1000000000000: must be at most 100000000"),
        ("music.compose", "--seconds=1e30", "flag --seconds=1e+30: must be at most 86400"),
        ("audio.perform", "--seconds=inf", "flag --seconds=inf: must be at most 86400"),
        ("evaluate", "--config.evaluation.num_samples=3", "evaluation.num_samples=3: must be at least 4"),
    ],
)
def test_more_than_a_machine_can_hold_and_fewer_than_metrics_need(no_data, digits_run, program, given, message):
    code, _, err = run(program, f"--workdir={digits_run}", given)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_an_evaluation_draws_as_many_samples_as_its_metrics_need():
    for start, kind, least in ((mixture_2d, "ring", 2), (smoke, "sklearn_digits", 4)):
        config = start.get_config()
        assert config.data.name == kind
        config.evaluation.num_samples = least
        evaluation.check(config)
        config.evaluation.num_samples = least - 1
        with pytest.raises(ConfigError, match=rf"config.evaluation.num_samples={least - 1}: must be at least {least}"):
            evaluation.check(config)


@pytest.mark.parametrize("program", ["draw", "evaluate", "variations"])
def test_no_stages_is_an_error(program):
    needed = ["--evaluator=/nowhere"] if program == "evaluate" else []
    code, _, err = run(f"text.{program}", "--stages=", *needed)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: --stages=… must be given")
