r"""Your own sounds: a folder or tar files of WAV, FLAC and OGG, in clips of two seconds at 16 kHz, as spectrograms.

    python -m experiments.train --config=experiments/projects/audio/configs/sounds.py --workdir=runs/sounds \
        --config.data.path=~/recordings

``waveform``, as waveforms; ``mel``, a vocoder: the magnitudes given the mel spectrogram:

    python -m experiments.train --config=experiments/projects/audio/configs/sounds.py:waveform \
        --workdir=runs/waveforms --config.data.path=~/recordings
    python -m experiments.train --config=experiments/projects/audio/configs/sounds.py:mel --workdir=runs/vocoder \
        --config.data.path=~/recordings

Not trained to the end here: some steps of each were run on made-up sounds (docs/audio.md).
"""

from experiments.configs import base
from experiments.projects.audio.configs import vocoder


def get_config(argument=""):
    base.check_argument(argument, "waveform", "mel")
    config = vocoder.get_config() if argument == "mel" else base.get_config()
    config.data.update(name="sounds", path="recordings", crop=32_768, sample_rate=16_000, label=None)
    if argument == "mel":
        config.conditions.map.update(fft_size=512, hop=128, num_mels=80)
        config.data.label = "none"
    elif not argument:
        config.data.representation.update(name="spectrogram", fft_size=512, hop=128, by_bins=True)
        config.noise_factor = 2.8
        config.network.update(channels=128, multipliers=(1, 1, 1), patch=1, factors=(2, 2), grid=(16,))
    else:
        config.data.representation.update(name="waveform", scale=4.0)
        config.noise_factor = 2.0
        config.network.update(channels=64, multipliers=(1, 2, 2, 2), patch=16, factors=(4, 4, 4))
    config.training.update(steps=4000, batch_size=16, optimizer="muon", learning_rate=1e-3, warmup_steps=200)
    config.training.update(sample_every=2000, checkpoint_every=1000)
    config.sampling.update(guidance_scale=1.0, batch_size=16)
    config.evaluation.update(num_samples=64, guidance_scales=(1.0,))
    return config
