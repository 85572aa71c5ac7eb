"""Every training step and sampler lowers for NVIDIA GPUs and TPUs, on shapes alone, with the switches of recipes."""

import functools

import jax
import numpy as np
import pytest
from programs import captioned_squares, changed
from sound_sets import phrase_set

from experiments import tasks
from experiments.configs import base, distil
from experiments.configs.images import digits_classifier, digits_dit, flow_map_digits, smoke
from experiments.configs.music import transcriber
from experiments.configs.sequences import smoke as sequences_smoke
from experiments.configs.text import smoke_contrastive
from experiments.models import sequence_sampling
from experiments.models.devices import planned_on
from experiments.planning import programs
from scorekit import data

SWITCHES = "training.batch_size=8 training.fsdp=2 network.dtype=bfloat16 network.attention=fused"
SAMPLED = "sampling.batch_size=4 sampling.steps=2"
GUIDED = f"{SWITCHES} network.remat=true {SAMPLED} sampling.guidance_scale=1.5"
SMALL = f"{GUIDED} network.channels=8 network.blocks=1 network.multipliers=1,2"
SEQUENCE = f"{SWITCHES} sampling.batch_size=4 sampling.guidance_scale=1.5"
CONFIGS = {
    "U-Net": (smoke, f"{SMALL} network.attention_resolutions=4,"),
    "DiT": (digits_dit, f"{GUIDED} network.depth=2 network.width=16 network.heads=2"),
    "EDM2": (smoke, f"{SMALL} network.name=edm2 network.head_channels=8 network.attention_resolutions=4,"),
    "flow map": (flow_map_digits, f"{SMALL} network.attention_resolutions=4, loss.flow_map.name=mean_flow"),
    "sequence": (sequences_smoke, SEQUENCE),
    "masked sequence": (sequences_smoke, f"model=masked network.name=dit network.patch=2 {SEQUENCE}"),
    "autoencoder": (functools.partial(base.get_config, "autoencoder"), "data.name=sklearn_digits"),
    "classifier": (digits_classifier, "training.batch_size=8 classifier.dtype=bfloat16 classifier.attention=fused"),
    "dual encoder": (smoke_contrastive, "training.fsdp=2 dual_encoder.dtype=bfloat16 dual_encoder.remat=true"),
    "transcriber": (transcriber, "transcriber.channels=4 transcriber.blocks=1 transcriber.windows=0.128,"),
}
MEMORY = 16e9  # bytes of a device
FUSED = ("U-Net", "DiT", "EDM2", "flow map", "sequence", "masked sequence")
DRAWN = (*FUSED, "student")


class Traced(Exception):
    """The program of a sampler, which is traced and not run."""


def config_of(name, folder, teacher=None):
    if name == "student":
        return changed(distil.get_config(f"{teacher},progressive"), "training.batch_size=8", "training.fsdp=2")
    start, overrides = CONFIGS[name]
    config = changed(start() if callable(start) else start, *overrides.split())
    if name == "dual encoder":
        squares = captioned_squares(folder)
        config.data.path, config.data.captions.encoder = str(squares / "pictures"), str(squares / "encoder.npz")
    return config


def programs_of(config, monkeypatch, folder, finish, devices):
    """Training and sampling of a config, traced for these devices; ``finish`` makes a program of each."""

    def traced(function, **options):
        def run(*args, **static):
            raise Traced(jax.jit(function, **options).trace(*args, **static))

        return run

    def first_fit(config, dataset):
        model = tasks.of(config).build(config, dataset)
        return model, next(tasks.of(config).stages(config, dataset, model, folder))

    if config.task == "student":  # its teacher has values
        monkeypatch.setattr(programs, "first_fit", first_fit)
    monkeypatch.setattr(programs, "_lowered", lambda traced, *_: finish(traced))
    monkeypatch.setattr(sequence_sampling, "spread_jit", traced)
    dataset = tasks.of(config).load(config)
    found = programs.lower(config, dataset, devices, MEMORY)
    if config.task == "sequence":
        with planned_on(devices, MEMORY):
            model, fit = programs.first_fit(config, dataset)
            zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), fit.params)
            with pytest.raises(Traced) as sampler:
                model.generate(zeros, 0, np.zeros(4), config.sampling.guidance_scale)
        found["sampling"] = finish(sampler.value.args[0])
    return found


@pytest.mark.parametrize("name", [*CONFIGS, "student"])
def test_training_and_sampling_lower_for_accelerators(name, monkeypatch, tmp_path, request):
    monkeypatch.setattr(data, "load_phrases", lambda *_: phrase_set(np.zeros((4, 2048))))
    config = config_of(name, tmp_path, request.getfixturevalue("ring_run") if name == "student" else None)
    lower = lambda traced: [traced.lower(lowering_platforms=(kind,)).as_text() for kind in ("cuda", "tpu")]
    found = programs_of(config, monkeypatch, tmp_path, lower, jax.devices()[:2])
    assert set(found) == {"training", *(["sampling"] if name in DRAWN else [])}
    for text, kernel in zip(found["training"], ("@__cudnn$fmhaSoftmaxBackward(", "@tpu_custom_call("), strict=True):
        assert ("stablehlo.all_gather" in text) == (config.training.fsdp == 2)
        assert (kernel in text) == (name in FUSED)
