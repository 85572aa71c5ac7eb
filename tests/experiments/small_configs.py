"""Small configs of kinds of data and model that only need to run, each made anew; the fields of every kind."""

from experiments import tasks
from experiments.cli.fields import Section
from experiments.configs import base
from experiments.configs.images import smoke
from experiments.configs.posterior import two_moons
from experiments.tasks.flow_maps import students
from experiments.tasks.small import small

SECTIONS: dict[str, Section] = {
    **{name: tasks.named(name).fields() for name in tasks.TASKS},
    **{method: Section(distillation=section) for method, section in students.SECTIONS.items()},
}
"""The fields of the configs of every task, and those of every method of distillation."""


def notes():
    """A tiny U-Net of a few notes."""
    config = smoke.get_config()
    config.data.update(name="notes", set="soundfont_notes/4khz", train_split="train[:64]", test_split="train[:64]")
    config.conditions.vector.name = "pitch_velocity"
    config.data.representation.update(name="waveform", scale=4.0)
    config.network.update(patch=16, factors=(4,))
    return config


def sequence():
    """A tiny transformer of 4 x 4 digits of 17 values."""
    config = base.get_config("sequence")
    config.data.image_size = 4
    config.network.update(depth=1, width=16, heads=2)
    config.training.update(steps=6, batch_size=8, warmup_steps=2)
    config.training.update(log_every=2, sample_every=3, checkpoint_every=2)
    config.sampling.batch_size = 20
    config.evaluation.update(num_samples=40, bound_times=2)
    return config


def posterior():
    """A tiny posterior of the two moons."""
    config = small(two_moons.get_config())
    config.network.features = 16
    config.training.update(steps=40, batch_size=64, warmup_steps=4, log_every=20, checkpoint_every=20)
    config.sampling.update(steps=4, batch_size=2000)
    return config


def captioned():
    """A tiny U-Net of captioned images, the base of a cascade."""
    config = smoke.get_config()
    config.data.update(name="folder", path="pictures", image_size=8, image_mode="RGB")
    config.conditions.tokens.name = "captions"
    config.conditions.vector.name = "caption"
    config.network.update(multipliers=(1,), attention_resolutions=(), token_levels=(0,))
    config.loss.caption_dropout = 0.1
    config.training.update(steps=2, warmup_steps=1, sample_every=2, checkpoint_every=2)
    config.evaluation.update(num_samples=16, guidance_scales=(2.0,))
    return config


def contrastive():
    """Tiny encoders of images and captions."""
    config = base.get_config("dual_encoder")
    config.data.update(name="folder", path="pictures", image_size=8, image_mode="RGB")
    config.dual_encoder.update(features=4, channels=8, multipliers=(1,))
    config.training.update(steps=2, warmup_steps=1, batch_size=8, checkpoint_every=2)
    return config


def decoder():
    """A decoder of the embeddings of these encoders."""
    config = captioned()
    config.conditions.vector.name = "embedding"
    config.conditions.embeddings.encoder = "runs/smoke_contrastive"
    config.loss.update(caption_dropout=None, tokens_dropout=0.5)
    return config


def prior():
    """A prior of these embeddings."""
    config = captioned()
    config.conditions.tokens.name = "none"
    config.conditions.embeddings.update(encoder="runs/smoke_contrastive", as_examples=True)
    config.network.update(name="mlp", features=16, blocks=1)
    config.preconditioning.sigma_data = 1.0
    config.loss.target.name = "x0"
    config.loss.weighting.name = "x0"
    config.loss.caption_dropout = None
    return config


def rolls():
    """A tiny masked model of the voices of twenty phrases."""
    config = base.get_config("sequence")
    config.data.update(name="rolls", train_split="train[:20]", test_split="test[:12]")
    config.symbols.name = "roll"
    config.model = "masked"
    config.network.update(name="dit", patch=5, depth=1, width=16, heads=2)
    config.training.update(steps=6, batch_size=8, warmup_steps=2, log_every=2, sample_every=6, checkpoint_every=6)
    config.sampling.update(guidance_scale=1.5, steps=4, batch_size=12)
    config.evaluation.update(num_samples=12, bound_times=2)
    return config
