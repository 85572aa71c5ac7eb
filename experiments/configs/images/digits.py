r"""Class-conditional handwritten digits from the 1,500 real training scans of scikit-learn; the main job.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits

Four CPU minutes: the class of 99.4 % of the samples is right at guidance scale 1 and of all at 2; the variational bound
is 1.80 bits a pixel (README.md).

``dit``, a small diffusion transformer of 329 thousand parameters in place of the U-Net:

    python -m experiments.train --config=experiments/configs/images/digits.py:dit --workdir=runs/digits_dit

Five CPU minutes: at guidance scale 1, class accuracy 0.984 and classification accuracy score 0.980 (0.993 and 0.983
with the U-Net); at guidance scale 2, 1.000 and 0.970; the variational bound is 1.92 bits a pixel.

``band``, short and unconditional, trained at the levels that decide the frequencies from 0.38 cycles/pixel on:

    python -m experiments.projects.denoising.band_weighting --config=experiments/configs/images/digits.py:band --seeds=5

Seven CPU minutes: the error of eps in that band is lower by 2.48 ± 0.10 % below 0.2 cycles/pixel, 3.07 ± 0.12 % from
there to 0.4 and 3.87 ± 0.41 % above (experiments/projects/denoising).

``autoencoder``, a denoising autoencoder with one noise level; with a level that falls during training:
--config.loss.times.name=annealed --config.loss.times.first=0.8 --config.loss.times.last=0.1

    python -m experiments.train --config=experiments/configs/images/digits.py:autoencoder --workdir=runs/denoising

``experiments.projects.denoising.autoencoder`` compares several: a ridge regression on the features of this one is right
for 0.990 ± 0.006 of the test scans (experiments/projects/denoising).

``latents``, a model of the latents of an autoencoder:

    python -m experiments.train --config=experiments/configs/latents/digits_latent.py --workdir=runs/digits_latent
    python -m experiments.train --config=experiments/configs/images/digits.py:latents --workdir=runs/digits_of_latents

Four CPU minutes after two for the autoencoder: without guidance, class accuracy 0.995 and accuracy score 0.983
(docs/hierarchy.md).

``coupled``, a rectified flow from noise that optimal transport pairs with the scans, in each class:

    python -m experiments.train --config=experiments/configs/images/digits.py:coupled --workdir=runs/digits_coupled

Two CPU minutes with --config.training.steps=800 --config.network.channels=16: a straightness of 0.056, of independent
pairs 0.108; an energy distance of -0.0000 in 8 Euler steps (docs/couplings.md).

``superres``, given a 4 x 4 average-pooled copy and the class; ``bridge``, from a pixelated copy by a diffusion bridge
that starts at the copy (I2SB):

    python -m experiments.train --config=experiments/configs/images/digits.py:superres --workdir=runs/digits_superres
    python -m experiments.train --config=experiments/configs/images/digits.py:bridge --workdir=runs/digits_bridge

Two CPU minutes each with --config.training.steps=800 --config.network.channels=16: a PSNR of 19.3 dB in 10 steps, of
the bridge 21.7 dB, and the class of 99 % of the digits kept; the copies have 13.1 dB and 71 % (docs/couplings.md).
"""

from experiments.configs import base


def get_config(argument=""):
    base.check_argument(argument, "dit", "band", "autoencoder", "latents", "coupled", "superres", "bridge")
    config = base.get_config()
    config.data.set = "sklearn_digits"
    config.network.channels = 24
    config.training.update(steps=2500, batch_size=128, learning_rate=3e-3)
    if argument == "dit":
        config.network.update(name="dit", patch=2, depth=4, width=64, heads=4)
        config.training.learning_rate = 1e-3
    elif argument == "band":
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
    elif argument == "coupled":
        base.coupled(config)
    elif argument == "superres":
        config.conditions.map.update(name="average_pool", factor=2)
        config.loss.update(label_dropout=0.1, map_dropout=0.1, joint_dropout=0.1)
        config.evaluation.update(num_samples=297, guidance_scales=(0.0, 1.0, 2.0))  # one for each held-out scan
    elif argument == "bridge":
        base.one_scale(config)
        config.schedule.name = "edm"  # with these fields a Brownian bridge
        config.schedule.update(sigma_min=0.0, sigma_max=1.0, rho=0.5)
        config.loss.coupling.name = "bridge"
        config.loss.target.name = config.loss.weighting.name = "eps"
        config.loss.map_dropout, config.sampling.steps = 0.0, 10
        config.sampling.solver.name, config.sampling.grid.name = "ancestral", "uniform"
        config.conditions.map.update(name="pixelated", factor=2)
        config.evaluation.update(num_samples=297, step_counts=(1, 2, 5, 10))
    return config
