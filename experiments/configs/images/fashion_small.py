r"""Class-conditional fashion_mnist, 28 x 28 grey, small enough for two cores: the network works on patches of 2 x 2.

    python -m experiments.train --config=experiments/configs/images/fashion_small.py --workdir=runs/fashion
    python -m experiments.train --config=experiments/configs/distil.py:runs/fashion,lagrangian \
        --workdir=runs/fashion_map --config.distillation.steps=1 --config.sampling.guidance_scale=1 \
        --config.training.batch_size=64 --config.training.steps=1500

Thirteen CPU minutes: at most 3.874 ± 0.020 bits a pixel; without guidance, class accuracy 0.800 in 25 steps. Of a
Lagrangian student after 300 CPU seconds, 549 updates, one step has 0.848 (docs/measurements/few_steps.md).
"""

from experiments.configs import base


def get_config():
    config = base.get_config()
    config.data.set = "fashion_mnist"
    config.network.update(patch=2, channels=32, attention_resolutions=(7,))
    config.training.update(steps=3000, batch_size=64, optimizer="muon", learning_rate=2e-3)
    config.training.update(ema_decays=(0.99,), sample_every=3000, checkpoint_every=1000)
    config.sampling.ema = "0.99"
    config.evaluation.num_samples = 2000
    return config
