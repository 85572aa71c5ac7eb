"""The notes of ``notes.py`` at 16 kHz, by a network of 31 million parameters, for one GPU.

    python -m experiments.train --config=experiments/configs/notes/notes_gpu.py --workdir=runs/notes_gpu

Not run here: no accelerator was at hand.
"""

from experiments.configs.notes import notes


def get_config():
    config = notes.get_config()
    config.data.name = "soundfont_notes/16khz"
    config.data.representation.update(fft_size=1024, hop=256)
    config.data.representation.floor = 0.04  # windows of four times the length: four times the magnitudes
    config.data.representation.log_mean = -1.6
    config.network.update(channels=320, blocks=2, attention_resolutions=(64,), heads=8)
    config.network.update(dtype="bfloat16", attention="fused")
    config.training.update(steps=60_000, batch_size=128, learning_rate=3e-4, warmup_steps=1000)
    config.training.update(ema_decays=(0.9995,), sample_every=10_000, checkpoint_every=5000)
    config.sampling.update(ema="0.9995", batch_size=256)
    return config
