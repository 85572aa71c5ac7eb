"""Cascade stages: which runs continue each other, and what each stage is conditioned on."""

import numpy as np
import pytest
from parameters import random_params
from programs import changed, error_of, tones

from experiments.configs.images import smoke
from experiments.projects.audio.configs import phrases_cascade
from experiments.tasks.diffusion.build import build_model, make_sampler
from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.latents import stages
from experiments.tasks.task import Run
from scorekit import audio
from scorekit.audio import representations


def test_check_accepts_only_stages_that_continue_each_other():
    low, high = phrases_cascade.get_config("low_rate"), phrases_cascade.get_config()
    stages.check([low, high], ["low", "high"])
    other = changed(high, "data.set=soundfont_phrases/8khz")
    for configs, words in (
        ([low, low], "high must have config.conditions.map.name=low_rate, it has none"),
        ([high, high], "high is conditioned on 1 / 4 of the sample rate, low draws 1 / 1 of it"),
        ([low, other], "high has data soundfont_phrases/8khz, low soundfont_phrases/4khz"),
    ):
        assert words in error_of(stages.check, configs, ["low", "high"])


@pytest.mark.slow
def test_draw_conditions_each_stage_on_the_sounds_of_the_previous_one():
    calls = []

    def stage(config, dataset):
        config.network.update(patch=16, multipliers=(1,), factors=(), attention_resolutions=())
        config.sampling.guidance_scale = 1.0
        model = build_model(config, dataset)
        params = random_params(model)
        inner = make_sampler(config, model, dataset)

        def generate(params, seed, given, scale):
            calls.append((seed, given))
            return inner(params, seed, given, scale)

        return config, Run(dataset, model, generate, params, 0, NO_EXTRAS)

    second = smoke.get_config()
    second.data.update(name="notes", set="soundfont_notes/4khz")
    second.conditions.map.update(name="low_rate", factor=4)
    second.loss.map_noise = 0.5
    cascade = [
        stage(smoke.get_config(), tones(representations.low_rate(512, 4))),
        stage(second, tones(representations.waveform())),
    ]
    sounds, seconds = stages.draw(cascade, 5, np.array([0, 1, 1]))
    assert [x.shape for x in sounds] == [(3, 512), (3, 512)]
    assert len(seconds) == 2
    assert [seed for seed, _ in calls] == [5, 6]
    np.testing.assert_array_equal(calls[0][1], [0, 1, 1])
    stored = audio.pcm_to_float(audio.float_to_pcm(sounds[0]))
    dense_map = calls[1][1]["dense_map"].value
    np.testing.assert_allclose(dense_map[..., 0], audio.low_rate(stored, 4), atol=1e-5)
    np.testing.assert_array_equal(dense_map[..., 1], 0)
