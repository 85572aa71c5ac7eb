r"""Notes as waveforms at 4 kHz, by a generator against discriminators.

    python -m experiments.train --config=experiments/projects/audio/configs/notes_waveform.py --workdir=runs/notes_gan

Six CPU minutes, in which it does not learn notes: of 256 notes the pitch of 0.02 is right, with a Fréchet distance of
810 (the project's README).

``diffusion``, a diffusion model with the same network:

    python -m experiments.train --config=experiments/projects/audio/configs/notes_waveform.py:diffusion \
        --workdir=runs/notes_waveform
    python -m experiments.projects.audio.sound.evaluate_notes --workdir=runs/notes_gan

Six CPU minutes, in which it does not learn notes either: 0.37 and 557 (the project's README).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "diffusion")
    config = base.get_config()
    config.data.update(name="notes", set="soundfont_notes/4khz")
    config.data.peak = 0.9
    config.data.representation.update(name="waveform", scale=4.0)
    config.conditions.vector.name = "pitch_velocity"
    config.conditions.map.name = "pulses"
    config.network.update(channels=64, multipliers=(1, 2), patch=16, factors=(4,))
    config.loss.update(label_dropout=0.0, vector_dropout=0.0, map_dropout=0.0)
    config.sampling.update(guidance_scale=1.0, batch_size=64)
    config.evaluation.update(num_samples=256, guidance_scales=(1.0,))
    config.training.update(batch_size=32, checkpoint_every=250, sample_every=5000, warmup_steps=50)
    config.training.update(ema_decays=(0.99,))
    config.sampling.ema = "0.99"
    if argument == "diffusion":
        config.noise_factor = 2.0
        config.training.update(steps=1200, optimizer="muon", learning_rate=2e-3)
        return config
    config.loss.flow_map.update(name="adversarial", windows=(256, 1024, 4096), channels=16, penalty=0.1)
    base.flow_map(config, steps=1)
    config.training.update(steps=600, learning_rate=1e-3, betas=(0.5, 0.99), final_fraction=1.0)
    return config
