"""Every training step and sampler lowers for NVIDIA GPUs and TPUs, on shapes alone, with the switches of recipes."""

import functools

import jax
import pytest
import small_configs
from programs import captioned_squares, changed

from experiments import tasks
from experiments.configs import base, distil
from experiments.configs.images import digits, digits_classifier, flow_map_digits, smoke
from experiments.planning import programs

SWITCHES = "training.batch_size=8 training.fsdp=2 network.dtype=bfloat16 network.attention=fused"
SAMPLED = "sampling.batch_size=4 sampling.steps=2"
GUIDED = f"{SWITCHES} network.remat=true {SAMPLED} sampling.guidance_scale=1.5"
SMALL = f"{GUIDED} network.channels=8 network.blocks=1 network.multipliers=1,2"
SEQUENCE = f"{SWITCHES} sampling.batch_size=4 sampling.guidance_scale=1.5"
CONFIGS = {
    "U-Net": (smoke, f"{SMALL} network.attention_resolutions=4,"),
    "DiT": (functools.partial(digits.get_config, "dit"), f"{GUIDED} network.depth=2 network.width=16 network.heads=2"),
    "EDM2": (smoke, f"{SMALL} network.name=edm2 network.head_channels=8 network.attention_resolutions=4,"),
    "flow map": (
        flow_map_digits,
        f"{SMALL} network.attention_resolutions=4, loss.flow_map.name=mean_flow sampling.guidance_scale=1",
    ),
    "sequence": (small_configs.sequence, SEQUENCE),
    "masked sequence": (small_configs.sequence, f"model=masked network.name=dit network.patch=2 {SEQUENCE}"),
    "autoencoder": (functools.partial(base.get_config, "autoencoder"), "data.set=sklearn_digits"),
    "classifier": (digits_classifier, "training.batch_size=8 classifier.dtype=bfloat16 classifier.attention=fused"),
    "dual encoder": (small_configs.contrastive, "training.fsdp=2 dual_encoder.dtype=bfloat16 dual_encoder.remat=true"),
}
MEMORY = 16e9  # bytes of a device
FUSED = ("U-Net", "DiT", "EDM2", "flow map", "sequence", "masked sequence")
DRAWN = (*FUSED, "student")


def config_of(name, folder, teacher=None):
    if name == "student":
        return changed(distil.get_config(f"{teacher},progressive"), "training.batch_size=8", "training.fsdp=2")
    start, overrides = CONFIGS[name]
    config = changed(start() if callable(start) else start, *overrides.split())
    if name == "dual encoder":
        squares = captioned_squares(folder)
        config.data.path, config.conditions.captions.encoder = str(squares / "pictures"), str(squares / "encoder.npz")
    return config


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CONFIGS, "student"])
def test_training_and_sampling_lower_for_accelerators(name, monkeypatch, tmp_path, request):
    config = config_of(name, tmp_path, request.getfixturevalue("ring_run") if name == "student" else None)
    lower = lambda traced, *_: [traced.lower(lowering_platforms=(kind,)).as_text() for kind in ("cuda", "tpu")]
    monkeypatch.setattr(programs, "_lowered", lower)
    found = programs.lower(config, tasks.of(config).load(config), jax.devices()[:2], MEMORY)
    assert set(found) == {"training", *(["sampling"] if name in DRAWN else [])}
    for text, kernel in zip(found["training"], ("@__cudnn$fmhaSoftmaxBackward(", "@tpu_custom_call("), strict=True):
        assert ("stablehlo.all_gather" in text) == (config.training.fsdp == 2)
        assert (kernel in text) == (name in FUSED)
