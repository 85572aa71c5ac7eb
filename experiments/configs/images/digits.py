"""Class-conditional handwritten digits from the 1,500 real training scans of scikit-learn; the main job.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits

Four minutes on two cores: the class of 99.4 % of the samples is right at guidance scale 1 and of all at
2; the variational bound is 1.80 bits a pixel (README.md).

``digits.py:band`` is short and unconditional, and looks at the levels that decide the frequencies from 0.38
cycles/pixel on:

    python -m experiments.projects.denoising.band_weighting --config=experiments/configs/images/digits.py:band --seeds=5

Seven minutes of one core: the error of eps in the band that training concentrates on is lower by 2.48 ± 0.10 %
below 0.2 cycles/pixel, 3.07 ± 0.12 % from there to 0.4 and 3.87 ± 0.41 % above (docs/noise_and_scale.md).

``digits.py:autoencoder`` is a denoising autoencoder with one noise level: the loss of diffusion, with another choice of
times. A level that falls during training (scheduled), or several levels (composite):
  --config.loss.times.name=annealed --config.loss.times.first=0.8 --config.loss.times.last=0.1
  --config.loss.times.ts=0.1,0.3,0.5,0.7
``experiments.projects.denoising.autoencoder`` trains all of them alongside a diffusion model, in eight minutes of one
core: a ridge regression on the features of this one is right for 0.990 ± 0.006 of the test scans
(docs/noise_and_scale.md).

``digits.py:latents`` models the latents of the autoencoder of ``latents/digits_latent.py`` in ``runs/digits_latent``,
decoded to images. 258 seconds of one core after two minutes for the autoencoder: without guidance, class accuracy 0.995
and accuracy score 0.983 (docs/autoregressive.md).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "band", "autoencoder", "latents")
    config = base.get_config()
    config.data.set = "sklearn_digits"
    config.network.channels = 24
    config.training.update(steps=2500, batch_size=128, learning_rate=3e-3)
    if argument == "band":
        config.network.channels = 16
        config.training.update(steps=600, ema_decays=(0.99,))
        config.sampling.ema = "0.99"
        config.loss.label_dropout = 1.0
        config.loss.weighting.name = "eps"
        config.loss.times.update(name="band", power=(0.246, 0.0958, 0.0334, 0.0214), count=(16, 22, 4, 1))
    elif argument == "autoencoder":
        config.loss.label_dropout = 1.0
        config.loss.times.update(name="discrete", ts=(0.15,))
    elif argument == "latents":
        config.latents = "runs/digits_latent"
    return config
