"""A user's own images: what is chosen for them, what a person has set, and a run that continues."""

import json

import numpy as np
import pytest
from PIL import Image
from programs import error_of, fails, overridden, succeeds

from experiments import tasks, training
from experiments.cli import command_line
from experiments.cli.command_line import load_config
from experiments.models.devices import Device
from experiments.planning.described import describe
from experiments.tasks.diffusion.own_images import UNSET, choose
from experiments.tasks.small import small

OWN = "experiments/configs/images/own.py"
CPU, GPU, SMALL_GPU, TPUS = (
    Device("cpu", 1, 16e9),
    Device("gpu", 1, 75e9),
    Device("gpu", 1, 8e9),
    Device("tpu", 4, 16e9),
)


def pictures(root, sides, mode="RGB", classes=("a", "b")):
    """Writes an image of each of these sides, in the classes in turn, with numbers of 8 and more in all."""
    rng = np.random.default_rng(0)
    for i, side in enumerate(sides):
        path = root / classes[i % len(classes)] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (side, side + 2) + (3,) * (mode == "RGB")
        Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("images"), 24 * [8], mode="L")


def resolved(argument, *overrides):
    config = load_config(f"{OWN}:{argument}")
    for text in overrides:
        command_line.override(config, *text.split("=", 1))
    tasks.check_fields(config)
    task = tasks.of(config)
    dataset = task.load(config)
    config = task.resolve(config, dataset)
    tasks.check_fields(config)
    training.check(config)
    return config, dataset


@pytest.mark.parametrize(
    ("number", "shape", "on", "patch", "channels", "batch", "steps"),
    [
        (1500, (8, 8, 1), CPU, 1, 32, 64, 3000),
        (1000, (32, 32, 3), CPU, 2, 32, 64, 3000),
        (1000, (32, 32, 3), GPU, 1, 128, 64, 15_625),
        (20_000, (64, 64, 3), GPU, 1, 128, 128, 156_250),
        (20_000, (64, 64, 3), SMALL_GPU, 1, 128, 58, 200_000),
        (10**6, (64, 64, 3), TPUS, 1, 128, 256, 200_000),
        (1000, (256, 256, 3), GPU, 4, 128, 64, 15_625),
        (300, (16, 16, 3), GPU, 1, 64, 64, 10_000),
    ],
)
def test_what_is_chosen_for_images_and_devices(number, shape, on, patch, channels, batch, steps):
    values, reasons = choose(number, shape, 2, on)
    names = ("network.patch", "network.channels", "training.batch_size", "training.steps")
    assert tuple(values[name] for name in names) == (patch, channels, batch, steps)
    assert values["network.dtype"] == ("float32" if on is CPU else "bfloat16")
    assert {*UNSET} <= values.keys()
    assert len(reasons) == 5
    assert ("--config.latents=" in reasons[-1]) == (shape[0] > 64)


def test_the_skip_can_represent_a_patch():
    filters = lambda side, on: choose(1000, (side, side, 3), 1, on)[0]["network.filters"]
    assert (filters(16, CPU), filters(32, CPU), filters(64, CPU), filters(256, GPU)) == (0, 12, 48, 48)


def test_samples_are_drawn_in_parts_that_fit():
    drawn = lambda on, **given: choose(1000, (64, 64, 3), 1, on, given)[0]["sampling.batch_size"]
    assert (drawn(GPU), drawn(SMALL_GPU), drawn(GPU, latents="runs/latents")) == (500, 116, 32)


def test_other_fields_follow_what_is_set_and_the_batch_divides_by_the_devices():
    values, reasons = choose(1000, (32, 32, 3), 1, CPU, {"training.steps": 50, "training.ema_decays": (0.9, 0.5)})
    assert (values["training.warmup_steps"], values["sampling.ema"], values["training.sample_every"]) == (5, "0.9", 50)
    assert "steps: 50, " in reasons[3]
    for count, accumulate in ((3, 1), (6, 2), (512, 1)):
        batch = choose(10**6, (32, 32, 3), 1, GPU._replace(count=count), {"training.accumulate": accumulate})[0]
        assert batch["training.batch_size"] % (count * accumulate) == 0


def test_the_folder_decides_side_mode_and_classes(tmp_path):
    of = lambda name, *given, **kinds: load_config(f"{OWN}:{pictures(tmp_path / name, *given, **kinds)}").data
    grey = of("grey", 20 * [30], "L", classes=("one",))
    assert (grey.image_size, grey.image_mode, grey.label) == (28, "L", "none")
    mixed = of("mixed", [9, *39 * [100]])
    assert (mixed.image_size, mixed.image_mode, mixed.label) == (64, "RGB", "class")
    assert load_config(f"{OWN}:{tmp_path}/mixed,32").data.image_size == 32


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", "must be followed by :<folder>[,<side in pixels>]"),
        ("nowhere", "config.data.path=nowhere: path must be a folder of pictures"),
        ("{empty}", "has none"),
        ("{folder},12", "config.data.image_size=12: must be a multiple of 4 from 8 to 8, the side that 95 % of"),
        ("{folder},6", "config.data.image_size=6: must be a multiple of 4"),
        ("{folder},8.0", "config.data.image_size=8.0: must be a multiple of 4"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path, folder, argument, words):
    assert words in error_of(load_config, f"{OWN}:{argument.format(empty=tmp_path, folder=folder)}")


def test_an_image_alone_in_its_class_that_is_held_out_is_a_warning(tmp_path):
    config = load_config(f"{OWN}:{pictures(tmp_path, 20 * [8], classes=['one', *map(str, range(19))])}")
    with pytest.warns(UserWarning, match=r"data.label=class: no image .* for 8 of 20 classes \(.*, …\); add some"):
        assert tasks.of(config).load(config).train["x"].shape == (12, 8, 8, 3)


def test_a_field_on_the_command_line_wins_and_all_that_is_unset_is_chosen(folder, capsys):
    config, dataset = resolved(folder, "network.channels=16", "training.steps=1000", "training.ema_decays=0.5")
    assert (config.network.channels, config.training.steps, config.sampling.ema) == (16, 1000, "0.5")
    assert all(config[section][name] is not None for section, name in (path.split(".") for path in UNSET))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "for 16 images of 8 × 8 × 1 in 2 classes" in lines[0]
    tasks.of(config).build(config, dataset)


def test_a_choice_is_of_images_alone():
    config = load_config("experiments/configs/points/mixture_2d.py")
    command_line.override(config, "training.steps", "None")
    task = tasks.of(config)
    assert "config.training.steps=None: must be set" in error_of(task.resolve, config, task.load(config))


def test_a_plan_counts_the_images_of_latents_too(folder, tmp_path):
    config = load_config(f"{OWN}:{folder}")
    assert describe(config).examples == 16
    config.latents = str(tmp_path)
    latents = describe(config)
    assert (latents.examples, latents.shape, latents.num_classes) == (16, (1, 1, 4), 2)
    assert small(config).training.steps == 6


@pytest.mark.slow
def test_a_run_continues_with_what_was_chosen_whatever_is_chosen_now(folder, tmp_path, monkeypatch):
    command = ("train", "--smoke", f"--config={OWN}:{folder}", f"--workdir={tmp_path}/run")
    assert "chosen    for 16 images" in succeeds(*command)
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    monkeypatch.setattr("experiments.tasks.diffusion.own_images.device", lambda: GPU)
    out = succeeds(*command, *overridden("training.steps=8"))
    assert "resuming  from step 6" in out
    assert "chosen" not in out
    saved["training"]["steps"] = 8
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == saved
    err = fails(*command, *overridden("training.learning_rate=1"))
    assert "the run in" in err
