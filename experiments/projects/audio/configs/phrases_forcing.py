r"""Phrases at 4 kHz as frames of log-magnitudes, each with a noise level of its own: diffusion forcing.

    python -m experiments.train --config=experiments/projects/audio/configs/phrases_forcing.py \
        --workdir=runs/phrases_forcing
    python -m experiments.projects.audio.sound.roll_out --workdir=runs/phrases_forcing

64 frames of 16 ms, by a WaveNet that sees 0.5 s to either side; the second command draws eight times that length, by
roll-out and by blended windows.

21 CPU minutes: over eight lengths of a roll-out, the level drifts by -1.0 ± 0.6 dB and the onsets by -0.4 ± 0.5 a
second (the project's README).

A WaveNet without the frames that follow, in which a frame is denoised given itself and those before, 0.48 s to the
left: --config.network.name=causal_wavenet
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.update(name="phrases", set="soundfont_phrases/4khz", crop=4096)
    config.data.representation.update(name="log_magnitudes", by_frames=True, floor=0.03)
    config.data.representation.update(log_mean=-1.4, log_std=1.6)
    config.network.update(name="wavenet", channels=96, layers=8, cycle=4)
    config.loss.objective = "frame_levels"
    config.training.update(steps=4000, batch_size=32, optimizer="muon", learning_rate=1e-3, warmup_steps=200)
    config.sampling.solver.name = "euler"
    config.sampling.grid.name = "uniform"
    config.sampling.update(steps=48, guidance_scale=1.0, batch_size=20)
    config.evaluation.bound_times = 4
    return config
