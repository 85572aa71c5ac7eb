"""Fields that do not go together, and names nearly right: one line names the field before rows are read."""

import pytest
import small_configs
from programs import changed, check_config, error_of

from experiments import data
from experiments.configs import base
from experiments.configs.images import digits, smoke
from experiments.configs.latents import digits_latent
from experiments.configs.points import mixture_2d

# A line is a case: overrides of a config, then words of the error.
SAMPLING_AND_TRAINING = """
    sampling.grid.name=times sampling.grid.times=0.9,0.4,0.4 | config.sampling.grid | decrease
    sampling.grid.name=uniform sampling.grid.t_max=0.5 sampling.grid.t_min=0.5 | config.sampling.grid (uniform): \
t_min must be < t_max = 0.5 | set config.sampling.grid.t_min
    sampling.ema=power_0.05 | sampling.ema=power_0.05: must be one of 0.999, none
    sampling.ema=power_0.07 training.power_ema=0.05,0.1 | power_0.07: must be one of 0.999, none, power_0.05, power_0.1
    evaluation.num_samples=3 | config.evaluation.num_samples=3: must be at least 4
    schedule.name=edm schedule.sigma_min=3 schedule.sigma_max=2 | set config.schedule.sigma_max
    loss.target.name=eps sampling.grid.name=uniform | grid.t_max=1.0 | target eps | cosine
    loss.times.name=uniform loss.times.t_min=0.5 loss.times.t_max=0.4 | set config.loss.times.t_max
    loss.times.name=annealed loss.times.first=0.8 | config.loss.times.last=None: must be set for
    loss.weighting.name=band | config.loss.weighting.power=None: must be set for loss.weighting.name=band
    loss.map_noise=0.5 | config.loss.map_noise=0.5: must be None without config.conditions.map
    network.depth=2 | config.network (unet) has no field depth | it has attention,
    network.name=mlp | network.name=mlp | must be dit or edm2 or residualunet
    training.snapshot_every=3 | snapshot_every=3: must be left out without training.power_ema
"""
DATA = """
    data.set=../../etc | config.data.set=../../etc: must be the name of a data set
    data.name=folder | config.data.path=None: must be set for data.name=folder
    data.name=folder/1 | config.data.name=folder/1: must be one of | did you mean folder?
    data.name=ring data.augment=flip | config.data (ring) has no field augment
    data.label=family | config.data.label=family: must be one of class, none for data.name=tfds
    data.augment=edm | config.data.augment=edm: must be edm with conditions.vector.name=augmentation, neither
    data.augment=flip latents=run | config.data.augment=flip: must be None for latents
    conditions.vector.name=augmentation | config.data.augment=None: must be edm with conditions.vector.name=augmentation
    conditions.map.name=tones | config.conditions.map.name=tones: must be one of none, average_pool
    conditions.map.name=pulses | config.conditions.map.name=pulses: must be one of none, average_pool
"""
RULES = """
    guidance=() | must name at least one rule | conditional
    guidance=interval | interval has nothing to wrap | first, innermost, one of | classifier_free
    guidance=interval,classifier_free | interval has nothing to wrap
    guidance=temperature | nothing to wrap
    guidance=apg,temperature | rules.temperature.tau=None | must be set
    guidance=classifier_free,apg | classifier_free and apg both choose the base | interval
    guidance=apg,rescale,rescale | names rescale twice
    guidance=apg,interval | guidance=apg,interval | interval.noise_min or noise_max must be set
    guidance=apg,interval rules.interval.noise_min=3 rules.interval.noise_max=3 | set config.rules.interval.noise_max
    guidance=apg,interval rules.interval.noise_min=3 rules.interval.noise_max=2 | rules.interval | \
noise_max must be > noise_min = 3.0, got 2.0
    rules.apg.momentum=-0.5 | rules.apg.momentum=-0.5 | guidance=classifier_free does not name apg
    loss.label_dropout=0 | label_dropout=0.0 | null token | --config.guidance=conditional
    guidance=unconditional loss.label_dropout=0 | label_dropout=0.0 | null token
    conditions.map.name=average_pool loss.map_dropout=0 | loss.map_dropout=0.0 | null token
    guidance=classifier | rules.classifier.workdir=None | must be set for guidance=classifier
    guidance=autoguidance | step or ema must be set | an earlier step or another average
    guidance=autoguidance rules.autoguidance.step=2 | train with another rule
    guidance=autoguidance rules.autoguidance.ema=power_0.3 training.power_ema=0.05,0.1 | \
rules.autoguidance.ema=power_0.3 | power_<relative width>, in (0, 12^-1/2 = 0.2887)
    guidance=negative | rules.negative.label=None | must be set
    guidance=compose rules.compose.labels=1,2 rules.compose.weights=0.5, | one for each of the 2 labels, got 1
    guidance=cfg_plus_plus | solver.name=recommended | ancestral, ddim, euler | reads x0 and eps
    guidance=cfg_plus_plus sampling.solver.name=euler | guidance_scale must be in [0, 1], got 2.0
    guidance=cfg_plus_plus,rescale sampling.solver.name=euler | only interval may wrap cfg_plus_plus
"""
COUPLED = """
    loss.target.name=eps sampling.grid.t_max=0.99 | loss.target.name=eps: must be velocity, v, x0 or edm
    sampling.solver.name=ancestral | a deterministic solver for loss.coupling.name=optimal
    schedule.name=learned loss.objective=bound loss.weighting.name=likelihood loss.times.t_min=0 loss.times.t_max=1 \
| no variational bound
    guidance=classifier, | which gives no score
"""
BRIDGE = """
    conditions.map.name=none | the map that the bridge starts at
    schedule.name=rectified_flow loss.target.name=v | one with signal at t = 1
    sampling.solver.name=heun | sampling.solver.name=heun: must be ancestral
    sampling.solver.eta=0.5 | sampling.solver.eta=0.5: must be 1
    sampling.grid.t_max=0.5 | which starts at the map
    loss.map_noise=0.5 | whose map is the start of every path
"""
FLOW_MAP = """
    loss.flow_map.name=none | config.loss.flow_map.name=none
    network.name=songunet | config.network.name=songunet
    guidance=classifier_free, | config.guidance=classifier_free
"""
LEARNED = """
    loss.objective=denoising | config.loss.objective=denoising: must be bound
    schedule.name=cosine | config.loss.objective=bound: must be denoising or frame_levels
    noise_factor=2 | config.noise_factor=2.0: must be 1.0 for schedule.name=learned
    loss.weighting.name=v | config.loss.weighting.name=v: must be likelihood for schedule.name=learned
    loss.log_variance=True | config.loss.log_variance=True: must be None for schedule.name=learned
    loss.times.name=logit_normal | config.loss.times.name=logit_normal: must be uniform
    loss.times.t_min=None | config.loss.times.t_min=None: must be 0.0
    loss.times.t_max=0.9 | config.loss.times.t_max=0.9: must be 1.0
    schedule.log_snr_max=-9 | config.schedule (learned): log_snr_max must be finite and > log_snr_min
"""
FORCING = """
    network.name=unet | config.network.name=unet: must be wavenet, \
causal_transformer or causal_wavenet for config.loss.objective
    network.patch=2 | config.network.patch=2: must be 1 for config.loss.objective=frame_levels
    loss.log_variance=True | config.loss.log_variance=True: must be None for config.loss.objective=frame_levels
    loss.objective=denoising network.name=causal_wavenet | config.network.name=causal_wavenet: must be dit or \
residualunet or unet or wavenet for config.data.name
"""
LOW_RATE = """
    loss.map_noise=0.5 sampling.map_noise=0.6 | config.sampling.map_noise=0.6: must be from 0 to \
config.loss.map_noise=0.5
    sampling.map_noise=0.1 | config.sampling.map_noise=0.1: must be from 0 to config.loss.map_noise=0
"""
SEQUENCE = """
    model=masked | config.network.name=causal_transformer: must be dit or wavenet for config.model=masked
    network.name=dit | config.network.name=dit: must be causal_transformer or causal_wavenet or pixel_cnn for
    schedule.name=linear | config.schedule.name=linear: must be None for config.model=autoregressive
    sampling.steps=5 | config.sampling.steps=5: must be None for config.model=autoregressive
    loss.label_dropout=0 evaluation.guidance_scales=1,2 | config.evaluation.guidance_scales=2.0: must be 1 for \
config.loss.label_dropout=0
    symbols.name=codes | config.symbols (codes): name=codes takes config.latents, a run of an autoencoder with codes
    latents=runs/x | config.latents=runs/x: there is no finished run here
    symbols.name=mu_law | config.symbols (mu_law): name must be another one | sklearn_digits has no sounds
    symbols.name=events | config.symbols (events): name must be codes, mu_law or pixels: sklearn_digits has no notes
"""
MASKED = """
    schedule.name=log_linear schedule.alpha_min=0.5 | config.schedule.alpha_min=0.5: must be in
    sampling.given=2 sampling.solver.name=remasking | config.sampling.given=2: must be None for
    sampling.steps=2 sampling.solver.name=first_hitting | config.sampling.steps=2: must be None
"""
UNIFORM = """
    sampling.solver.name=remasking | config.sampling.solver.name=remasking: must be one without
    sampling.given=2 | config.sampling.given=2: must be None for config.model=uniform
"""
AUTOENCODER = """
    data.name=ring | config.data.name=ring: must be a data set of images or sounds
    evaluation.ema=0.5 | config.evaluation.ema=0.5: must be one of 0.999, none
    loss.spectral=2 | config.loss.spectral=2.0: must be left out
"""
NOTES = """
    data.name=phrases data.representation.name=controls | must be another one: soundfont_phrases/4khz has no pitch
"""

DIT = ("network.name=dit", "network.patch=1")
OF_LEARNED = ("schedule.name=learned", "loss.objective=bound", "loss.weighting.name=likelihood", "loss.times.t_min=0")
OF_LOW_RATE = ("data.name=notes", "conditions.map.name=low_rate", "conditions.map.factor=4")
PHRASES = changed(base, "data.name=phrases", "data.crop=4096")
FRAMES = changed(
    PHRASES,
    "data.representation.name=log_magnitudes",
    "data.representation.by_frames=true",
    *(
        "network.name=wavenet",
        "loss.objective=frame_levels",
        "sampling.solver.name=euler",
        "sampling.grid.name=uniform",
    ),
    *("sampling.guidance_scale=1", "evaluation.guidance_scales=1"),
)
CODES = changed(
    small_configs.sequence(),
    *("data.name=phrases", "data.crop=4096", "symbols.name=mu_law", "symbols.factor=4"),
    "network.name=causal_wavenet",
)
IMPOSSIBLE = [
    *[(smoke, text) for text in (SAMPLING_AND_TRAINING, DATA, RULES)],
    (mixture_2d.get_config("coupled"), COUPLED),
    (digits.get_config("bridge"), BRIDGE),
    (mixture_2d.get_config("shortcut"), FLOW_MAP),
    (FRAMES, FORCING),
    (mixture_2d, "evaluation.fid.weights=a.pth | evaluation.fid.weights=a.pth: must be left out: the FID is of images"),
    (smoke, "evaluation.fid.reference=a.npz | must be left out: without evaluation.fid.weights there is no FID"),
    (smoke, "evaluation.fid.weights=/nowhere.pth | a .safetensors or .pth file, there is none of this name"),
    (mixture_2d, "evaluation.num_samples=1 | config.evaluation.num_samples=1: must be at least 2"),
    (changed(mixture_2d, *OF_LEARNED), LEARNED),
    (changed(smoke, *OF_LOW_RATE), LOW_RATE),
    *[(small_configs.sequence(), SEQUENCE), (changed(small_configs.sequence(), "model=masked", *DIT), MASKED)],
    (changed(small_configs.sequence(), "model=uniform", *DIT), UNIFORM),
    (CODES, "data.representation.name=compressed | name=compressed: must be None for symbols.name"),
    (
        CODES,
        "order.name=subscale | config.order (subscale): slices must divide the rows and columns of the codes",
    ),
    (digits_latent, AUTOENCODER),
    (PHRASES, "data.label=family | must be one of instrument, none"),
    (changed(base, "data.name=notes"), NOTES),
]
CASES = [(start, *line.strip().split(" | ")) for start, text in IMPOSSIBLE for line in text.strip().splitlines()]


@pytest.mark.parametrize(("start", "overrides", "words"), [(s, o, words) for s, o, *words in CASES])
def test_an_impossible_combination_names_its_field(start, overrides, words):
    message = error_of(lambda: check_config(changed(start, *overrides.split())))
    assert words
    assert message.startswith(("config.", "--config."))
    for word in words:
        assert word in message


POSSIBLE = """
    guidance=conditional loss.label_dropout=0
    guidance=classifier_free loss.label_dropout=0 loss.joint_dropout=0.1
    loss.label_dropout=0 sampling.guidance_scale=1 evaluation.guidance_scales=1
    loss.map_dropout=0
    guidance=cfg_plus_plus,interval rules.interval.noise_max=5 sampling.solver.name=ddim \
sampling.guidance_scale=0.5 evaluation.guidance_scales=0.2,1
    guidance=classifier_free,interval rules.interval.noise_min=0.3
    evaluation.num_samples=4
"""


@pytest.mark.parametrize("overrides", POSSIBLE.strip().splitlines())
def test_a_possible_combination_is_no_error(overrides):
    """There is no map whose null token would be trained; the guidance scales of γ = 1 need none."""
    check_config(changed(smoke, *overrides.split()))


def test_the_least_that_goes_together_is_no_error():
    check_config(changed(mixture_2d, "evaluation.num_samples=2"))
    check_config(changed(digits_latent, "loss.spectral=0"))
    check_config(CODES)
    check_config(FRAMES)
    check_config(changed(base, "data.name=notes", "data.representation.name=controls"))


def test_a_condition_of_keys_has_some():
    config = changed(small_configs.notes(), "conditions.vector.lowest=90")
    words = "lowest must be at most highest = 84, got 90; set config.conditions.vector"
    assert words in error_of(data.build_conditions, config, None)
