"""What a config of a model must satisfy before anything is loaded or compiled."""

import functools
import inspect
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments import data
from experiments.cli.choices import named_object
from experiments.cli.config import Config, ConfigError, lookup, named_errors, require, require_field
from experiments.data.dataset import Dataset
from experiments.data.images import ImageSet
from experiments.data.transforms import AUGMENTATION
from experiments.models.networks import CAUSAL_DENOISERS, NETWORKS, fits, networks_of
from experiments.tasks.diffusion.build import OF_A_SCORE, build_model, has_listed_times, make_sampler, untrained_nulls
from experiments.tasks.diffusion.guidance import RULES, Parts, compose, takes
from experiments.tasks.diffusion.objectives import TRANSPORT
from experiments.tasks.diffusion.sampling import Sampler
from experiments.training import check_average, unset
from scorekit import times
from scorekit.io import as_path
from scorekit.typing import Schedule

_REVERSE_SDE = ("ancestral", "dpmpp_2m_sde", "dpmpp_3m_sde", "euler_maruyama", "reverse_diffusion", "sa_solver")
"""The solvers of the SDE backward in time, whose steps need the signal alone."""


def build(config: Config, dataset: Dataset, scales: Sequence[float] | None = None) -> Sampler:
    """The sampler of a config with its model, validated at these guidance scales, or all that the config names."""
    check_fields(config, dataset)
    sampler = make_sampler(config, build_model(config, dataset), dataset)
    check(config, dataset, sampler, scales)
    return sampler


def check_fields(config: Config, dataset: Dataset) -> None:
    """Validates fields against each other and the data, before anything is constructed."""
    data.check_not_symbols(config, dataset)
    dataset.check_conditions({section: config.conditions[section].name for section in ("vector", "map", "tokens")})
    given = dataset.axes, config.loss.objective == "frame_levels"
    if not fits(config.network.name, *given):
        allowed = f"{' or '.join(networks_of(*given))} for config.data.name={config.data.name}"
        require_field(config, "network.name", False, allowed)
    _check_learned_schedule(config)
    _check_conditions(config)
    _check_flow_map(config)
    _check_frame_levels(config)
    _check_coupling(config)
    check_average(config, "sampling.ema", post_hoc=True)
    if config.rules.autoguidance.ema is not None:
        check_average(config, "rules.autoguidance.ema", post_hoc=True)


def check(config: Config, dataset: Dataset, sampler: Sampler, scales: Sequence[float] | None = None) -> None:
    """Validates the parts together, for sampling at these guidance scales or all that the config names."""
    objective, schedule = sampler.model.objective, sampler.model.schedule
    one, key = jax.ShapeDtypeStruct((1,), jnp.float32), jax.random.key(0)
    if objective.weighting is not None:
        _trace(config, "loss.weighting", objective.weighting, one)
    draw = lambda key: times.draw(key, times.at_progress(objective.times, 1.0), schedule, 2)
    _trace(config, "loss.times", draw, key)
    _trace(config, "sampling.solver", lambda ts: sampler.solver.plan(schedule, ts), sampler.ts)
    if config.loss.coupling.name != "independent":
        _check_paths(config, schedule, sampler)
    if scales is None:
        scales = (config.sampling.guidance_scale, *config.evaluation.guidance_scales)
    if sampler.model.is_flow_map:
        named_object("experiments.tasks.flow_maps.model:check_sampling")(config, sampler.ts, scales)
    _check_guidance(config, sampler, scales, dataset.labelled)


def check_evaluation(config: Config, dataset: Dataset, sampler: Sampler) -> None:
    """Validates the section ``evaluation``."""
    dataset.num_samples(config.evaluation.num_samples)
    listed = has_listed_times(config)
    for steps in config.evaluation.step_counts:
        allowed = f"{config.sampling.steps} for sampling.grid.name={config.sampling.grid.name}, which has its times"
        require(not listed or steps == config.sampling.steps, "evaluation.step_counts", steps, allowed)
        sampler.with_steps(steps)
    options = config.evaluation.fid
    if options.weights is None:
        allowed = "left out: without evaluation.fid.weights there is no FID"
        require(options.reference is None, "evaluation.fid.reference", options.reference, allowed)
        return
    allowed = f"left out: the FID is of images, config.data.name={config.data.name} has none"
    of_images = isinstance(getattr(dataset, "inner", dataset), ImageSet)
    require(of_images, "evaluation.fid.weights", options.weights, allowed)
    for field, kind in (("weights", "a .safetensors or .pth file"), ("reference", "an .npz file")):
        path = options[field]
        exists = path is None or ("\0" not in path and as_path(path).is_file())
        require(exists, f"evaluation.fid.{field}", path, f"{kind}, there is none of this name")


def check_trainable(config: Config) -> None:
    """Validates the needs of training: an average that exists, and no rules that read results of training."""
    allowed = "above 0 with config.loss.guidance_max, which needs a trained null token"
    for name in unset(config):
        require(False, f"training.{name}", None, "set")
    drops = config.loss.label_dropout > 0 or config.loss.joint_dropout > 0
    require_field(config, "loss.label_dropout", config.loss.guidance_max is None or drops, allowed)
    check_average(config, "sampling.ema")
    if any(takes(name, part) for name in config.guidance for part in ("weak", "log_likelihood")):
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: {config.guidance[0]} reads another run or checkpoint; train "
            f"with another rule, and name it when sampling"
        )


def _trace(config: Config, path: str, function: Callable, *args) -> None:
    """Traces the function built from ``config.<path>``: much is validated when it is called, not when made."""
    section = lookup(config, path)
    with named_errors(path, section.name, [field for field in section if section[field] is not None]):
        jax.eval_shape(function, *args)


def _check_learned_schedule(config: Config) -> None:
    """Validates that a schedule is learned by the variational bound between its ends, and a fixed one is not."""
    if config.schedule.name != "learned":
        allowed = "denoising or frame_levels: the bound trains a schedule, say with schedule.name=learned"
        return require_field(config, "loss.objective", config.loss.objective != "bound", allowed)
    for field, value, allowed in (
        ("loss.objective", config.loss.objective, "bound"),
        ("noise_factor", config.noise_factor, 1.0),
        ("loss.weighting.name", config.loss.weighting.name, "likelihood"),
        ("loss.log_variance", config.loss.log_variance or None, None),
        ("loss.times.name", config.loss.times.name, "uniform"),
        ("loss.times.t_min", config.loss.times.get("t_min"), 0.0),
        ("loss.times.t_max", config.loss.times.get("t_max") or 1.0, 1.0),
    ):
        require(value == allowed, field, value, f"{allowed} for schedule.name=learned, which is trained by the bound")


def _check_flow_map(config: Config) -> None:
    """Validates that a denoiser has no fields of flow maps, and the rule of their solver."""
    most, of_map = config.loss.guidance_max, config.loss.flow_map.name != "none"
    if config.sampling.solver.name == "flow_map":
        require_field(config, "loss.flow_map.name", of_map, "a flow map for sampling.solver.name=flow_map")
        rule = ",".join(config.guidance)
        require(rule == "conditional", "guidance", rule, "conditional for sampling.solver.name=flow_map")
    if not of_map:
        allowed = "None without config.loss.flow_map, and for consistency_tuning"
        require(most is None, "loss.guidance_max", most, allowed)


def _check_frame_levels(config: Config) -> None:
    """Validates that a model with a noise level for each frame has a network and a loss that take them."""
    if config.loss.objective != "frame_levels":
        return
    must, for_it = functools.partial(require_field, config), "for config.loss.objective=frame_levels"
    takes_levels = config.network.name in ("wavenet", *CAUSAL_DENOISERS)
    must("network.name", takes_levels, f"wavenet, causal_transformer or causal_wavenet {for_it}")
    patch = config.network.get("patch")
    require(patch in (None, 1), "network.patch", patch, f"1 {for_it}: a patch has one level")
    must("loss.flow_map.name", config.loss.flow_map.name == "none", f"none {for_it}")
    must("loss.coupling.name", config.loss.coupling.name == "independent", f"independent {for_it}")
    must("loss.log_variance", not config.loss.log_variance, f"None {for_it}")


def _check_coupling(config: Config) -> None:
    """Validates the fields that a coupling needs."""
    name = config.loss.coupling.name
    if name == "independent":
        return
    must, for_it = functools.partial(require_field, config), f"for loss.coupling.name={name}"
    allowed = f"a schedule that is not trained {for_it}, which has no variational bound"
    must("schedule.name", config.schedule.name != "learned", allowed)
    rules = ",".join(config.guidance)
    allowed = f"a rule without a classifier's gradient {for_it}, which gives no score"
    require("classifier" not in config.guidance, "guidance", rules, allowed)
    if name == TRANSPORT:
        allowed = f"velocity, v, x0 or edm {for_it}: with paired noise eps is no score"
        must("loss.target.name", config.loss.target.name not in OF_A_SCORE, allowed)
        for section in ("map", "vector"):
            allowed = f"none {for_it}, which keeps the noise normal within each class, not at each value"
            must(f"conditions.{section}.name", config.conditions[section].name == "none", allowed)
        return
    must("conditions.map.name", config.conditions.map.name != "none", f"the map that the bridge starts at {for_it}")
    must("loss.flow_map.name", config.loss.flow_map.name == "none", f"none {for_it}")
    allowed = f"None {for_it}, whose map is the start of every path"
    must("loss.map_noise", config.loss.map_noise is None, allowed)
    used = config.sampling.solver.name
    must("sampling.solver.name", used in _REVERSE_SDE, f"{', '.join(_REVERSE_SDE)} {for_it}")


def _check_paths(config: Config, schedule: Schedule, sampler: Sampler) -> None:
    """Validates that schedule, solver and grid follow the paths of a coupling."""
    must, for_it = functools.partial(require_field, config), f"for loss.coupling.name={config.loss.coupling.name}"
    if config.loss.coupling.name == TRANSPORT:
        allowed = f"a deterministic solver {for_it}: fresh noise needs the score"
        return must("sampling.solver.name", not sampler.solver.stochastic, allowed)
    allowed = f"one with signal at t = 1, such as edm with sigma_min=0 and rho=0.5, {for_it}"
    must("schedule.name", float(schedule.alpha(1.0)) > 0, allowed)
    eta, first = getattr(sampler.solver, "eta", 1.0), float(sampler.ts[0])
    require(float(eta) == 1.0, "sampling.solver.eta", eta, f"1 {for_it}: it takes steps of the SDE")
    require(first == 1.0, "sampling.grid.t_max", first, f"1 {for_it}, which starts at the map")


def _check_guidance(config: Config, sampler: Sampler, scales: Sequence[float], labelled: bool) -> None:
    """Validates the rules with the other parts."""
    names, given = config.guidance, f"config.guidance={','.join(config.guidance)}"
    classless = "classifier" in names and not labelled
    require(not classless, "guidance", ",".join(names), "a rule without a classifier for config.data.label=none")
    if RULES[names[0]].traits.splits:
        fitting = ("ancestral", "ddim", "euler")
        allowed = f"one of {', '.join(fitting)} for {names[0]}, which needs a solver that reads x0 and eps"
        require_field(config, "sampling.solver.name", config.sampling.solver.name in fitting, allowed)
        if set(names[1:]) - {"interval"}:
            raise ConfigError(
                f"{given}: only interval may wrap {names[0]}; the others would undo its choice of the noise"
            )
    branch, missing = Partial(_placeholder), untrained_nulls(config)
    parts = Parts(sampler.model.schedule, branch, branch, lambda label: branch, branch, branch)
    for scale in scales:
        plain = sampler.rules.is_plain(scale)
        if takes(names[0], "uncond") and not plain and missing:
            field = {"labels": "label", "vector": "vector", "dense_map": "map", "tokens": "caption"}[missing[0]]
            raise ConfigError(
                f"config.loss.{field}_dropout=0.0: {given} at γ = {scale:g} needs a trained null token: train with it "
                f"> 0, or sample with --config.guidance=conditional"
            )
        compose(sampler.rules, parts, None if plain else scale)


def _placeholder(x, t):
    raise AssertionError("a placeholder of a denoiser is not called")


def _check_conditions(config: Config) -> None:
    """Validates the noise on the map, that the labels of an augmentation are not dropped, and a network with tokens."""
    vector, tokens = config.conditions.vector.name, config.conditions.tokens.name
    must, of_vector = functools.partial(require_field, config), f"0 with conditions.vector.name={vector}"
    allowed = f"{of_vector}: an augmented example without its labels would pass for one as it is"
    for field in ("joint_dropout", "caption_dropout"):
        must(f"loss.{field}", vector != AUGMENTATION or not config.loss[field], allowed)
    attending = [name for name, make in NETWORKS.items() if "token_size" in inspect.signature(make).parameters]
    allowed = f"{' or '.join(attending)} for config.conditions.tokens.name={tokens}"
    must("network.name", tokens == "none" or config.network.name in attending, allowed)
    dropout, most, level = config.loss.tokens_dropout, config.loss.map_noise, config.sampling.map_noise
    must("loss.tokens_dropout", tokens != "none" or dropout is None, "None without config.conditions.tokens")
    has_map, allowed = config.conditions.map.name != "none", "None without config.conditions.map"
    must("sampling.keep_map", has_map or not config.sampling.keep_map, allowed)
    must("loss.map_noise", has_map or most is None, allowed)
    allowed = f"from 0 to config.loss.map_noise={most or 0:g}"
    must("sampling.map_noise", level is None or level <= (most or 0), allowed)
