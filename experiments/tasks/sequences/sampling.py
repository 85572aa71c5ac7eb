"""Samples of models of sequences: one symbol after the other, or by the steps of a diffusion; guided and truncated."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments import tasks
from experiments.cli.choices import Choice, Choices
from experiments.cli.config import Config, ConfigError, choice, lookup, require, require_field, to_text
from experiments.cli.fields import NON_NEGATIVE, POSITIVE, Field, Section, Text
from experiments.data.dataset import held_out_of, in_blocks
from experiments.data.symbols import Symbols
from experiments.models.devices import everywhere, spread, spread_jit
from experiments.models.run_files import SAMPLED, config_of
from experiments.models.samples import (
    Generate,
    NotFinite,
    PartialSamples,
    check_codes,
    check_samples,
    digest_of,
    in_batches,
)
from experiments.tasks.sequences import model as sequences
from experiments.tasks.sequences.model import Sequences, conditionals, is_diffusion, map_of, null_labels, token_denoiser
from experiments.tasks.task import Run
from scorekit import autoregressive as ar
from scorekit import discrete
from scorekit.arguments import Between, Count
from scorekit.io import as_path
from scorekit.typing import Array, PyTree

SOLVERS = Choices(
    {
        "ancestral": discrete.Ancestral,
        "confidence_ordered": discrete.ConfidenceOrdered,
        "first_hitting": Choice(lambda: None, inspect.getdoc(discrete.first_hitting_sample)),
        "predictor_corrector": discrete.PredictorCorrector,
        "remasking": discrete.Remasking,
        "tau_leaping": discrete.TauLeaping,
    },
    None,
    "Diffusion: what takes a step; None is ancestral.",
    bounds={"num_corrections": Count(1, 1024)},
)


FIELDS = Section(
    guidance_scale=Field(1.0, NON_NEGATIVE, """
        γ: 0 unconditional, 1 conditional, above 1 guided: each conditional of an autoregressive model, each symbol of a
        step of a diffusion."""),
    temperature=Field(None, POSITIVE, "T: the probabilities of each symbol become p^(1 / T); None is 1."),
    top_k=Field(None, Count(1, 2**16), "Then only so many most probable codes are left; None leaves all."),
    nucleus=Field(None, Between(0, 1, "low"), """
        Then the most probable codes, until they have this mass; None leaves all."""),
    typical=Field(None, Between(0, 1, "low"), """
        Then the codes whose information is nearest to the entropy, until they have this mass; None leaves all."""),
    given=Field(None, Count(1), """
        So many symbols at the beginning are those of held-out examples, which are continued; None is 0. Not of uniform
        noise."""),
    solver=SOLVERS,
    steps=Field(None, Count(1, 10**6), "Diffusion: steps of the solver, equal in t; None is the number of symbols."),
    coarser=Field(None, Text("a folder, or None"), """
        Codes of one of several levels: the run of the next coarser level, whose samples are given; its own
        ``sampling.coarser`` is the level above. None: the codes of held-out examples are given."""),
    ema=SAMPLED,
    batch_size=Field(500, Count(1, 2**20), "Samples that are drawn at once, on all devices together."),
)  # fmt: skip
"""The section ``sampling`` of a config of sequences."""


_KEEP = ("ancestral", "confidence_ordered", "first_hitting", "tau_leaping")
"""The solvers that keep symbols which are given."""


def check(config: Config, dataset: Symbols) -> None:
    """Validates data, model and sampler, at all guidance scales that the config names; nothing is loaded."""
    sequences.check(config, dataset)
    options, must = config.sampling, functools.partial(require_field, config)
    if not is_diffusion(config):
        for field, value in (("steps", options.steps), *((f"solver.{k}", v) for k, v in options.solver.items())):
            allowed = "None for config.model=autoregressive, which draws one symbol after the other"
            must(f"sampling.{field}", value is None, allowed)
    else:
        solver, name, with_mask = build_solver(config), options.solver.name or "ancestral", config.model == "masked"
        needs_mask = solver is None or solver.only_absorbing
        require(with_mask or not needs_mask, "sampling.solver.name", name, "one without masks for config.model=uniform")
        allowed = "None for config.sampling.solver.name=first_hitting, which takes one for each symbol"
        must("sampling.steps", solver is not None or options.steps is None, allowed)
        must("sampling.given", options.given is None or with_mask, "None for config.model=uniform")
        keeps = options.given is None or name in _KEEP
        must("sampling.given", keeps, f"None for config.sampling.solver.name={name}")
    check_scales(config, (options.guidance_scale, *config.evaluation.guidance_scales))


def check_scales(config: Config, scales: Sequence[float]) -> None:
    """Validates that a model without a null token is drawn from at guidance scale 1 alone."""
    for scale in scales:
        field = "sampling.guidance_scale" if scale == config.sampling.guidance_scale else "evaluation.guidance_scales"
        allowed = "1 for config.loss.label_dropout=0, without which there is no unconditional model"
        require(scale == 1 or config.loss.label_dropout > 0, field, scale, allowed)


def build_solver(config: Config) -> discrete.TokenSolver | None:
    """The solver of a diffusion; None for one that reveals a mask at a time."""
    name = choice("sampling.solver.name", config.sampling.solver.name or "ancestral", SOLVERS)
    return SOLVERS.call(config, "sampling.solver", f"sampling.solver.name={name}", name)


def transform_of(options: Config) -> Callable[[Array], Array] | None:
    """What the section ``sampling`` does to logits ``(..., V)``; None for nothing."""
    names = [name for name in ("temperature", "top_k", "nucleus", "typical") if options[name] is not None]

    def transform(logits: Array) -> Array:
        for name in names:
            logits = getattr(ar, name)(logits, options[name])
        return logits

    return transform if names else None


def guided_conditionals(
    model: Sequences, params: PyTree, labels: Array, scale: Any = None, dense_map: Array | None = None
) -> ar.SequenceModel:
    """The autoregressive model of these classes ``(B,)``, guided with ``scale`` in each conditional, if any."""
    cond = conditionals(model, params, labels, dense_map=dense_map)
    if scale is None:
        return cond
    return ar.classifier_free(cond, conditionals(model, params, null_labels(model, labels), dense_map=dense_map), scale)


def guided_denoiser(
    model: Sequences,
    params: PyTree,
    labels: Array,
    scale: Any = None,
    dense_map: Array | None = None,
    transform: Callable[[Array], Array] | None = None,
) -> discrete.TokenDenoiser:
    """The denoiser of these classes ``(B,)``, guided with ``scale`` and then with ``transform`` of its logits."""
    denoiser = token_denoiser(model, params, labels, dense_map)
    if scale is not None:
        uncond = token_denoiser(model, params, null_labels(model, labels), dense_map)
        denoiser = discrete.classifier_free(denoiser, uncond, scale)
    if transform is None:
        return denoiser
    return lambda z, t: jax.nn.log_softmax(transform(denoiser(z, t)))


def make_sampler(config: Config, model: Sequences, dataset: Symbols) -> Generate:
    """``generate(params, seed, labels, guidance_scale) -> samples`` as data, in batches of one compiled size.

    Codes that are given are drawn by ``config.sampling.coarser``; by default they are of held-out examples.

    With ``partial=PartialSamples(folder)``, the codes of more than one batch are kept until the caller removes them.

    ``generate`` raises :class:`~experiments.models.samples.NotFinite` for parameters or samples that are not finite.
    ``generate.trace`` and ``generate.evaluations`` are as in :func:`experiments.tasks.diffusion.build.make_sampler`;
    ``generate.codes`` are samples as rows of codes, after the codes that were given.
    """
    options, transform = config.sampling, transform_of(config.sampling)
    coarser = open_coarser(config, dataset) if options.coarser else None
    kept, fits = options.given or 0, (options.top_k or 1) <= model.num_codes
    require_field(config, "sampling.top_k", fits, f"at most the {model.num_codes} codes")
    allowed = f"below the {model.length} symbols: none would be left to draw"
    require_field(config, "sampling.given", kept < model.length, allowed)
    solver = build_solver(config) if model.process is not None else None
    times = jnp.linspace(1.0, 0.0, (options.steps or model.length) + 1)

    def codes(params, key, labels, scale, first, given, guided):
        labels, first, given = spread((labels, first, given))
        batch, how = len(labels), (scale if guided else None, map_of(model, {"given": given}))
        if model.process is None:
            current = guided_conditionals(model, params, labels, *how)
            return ar.sample(key, current, batch, model.length, prefix=first if kept else None, transform=transform)
        denoiser = guided_denoiser(model, params, labels, *how, transform)
        for_prior, for_steps = jax.random.split(key)
        like = jnp.zeros((batch, model.length), jnp.int32)
        z = discrete.sample_prior(for_prior, model.process, like).at[:, :kept].set(first)
        if solver is None:
            return discrete.first_hitting_sample(for_steps, denoiser, model.process, z)
        return discrete.sample(for_steps, denoiser, model.process, solver, z, times)

    run, decode = spread_jit(codes, static_argnames="guided"), jax.jit(lambda part: dataset.from_model(part["x"], part))
    all_finite = jax.jit(lambda params: jnp.all(jnp.array([jnp.isfinite(x).all() for x in jax.tree.leaves(params)])))

    def codes_given(seed: int, labels: np.ndarray) -> np.ndarray:
        if not dataset.coding.given:
            return np.zeros((len(labels), 0), np.int32)
        if coarser is None:
            return held_out_of(dataset, labels)["given"]
        return coarser.generate.codes(coarser.params, seed + 1, labels)

    def draw_codes(
        params, seed: int, labels, guidance_scale: float = options.guidance_scale, partial: PartialSamples | None = None
    ) -> np.ndarray:
        labels, params = np.asarray(labels, np.int32), everywhere(params)
        if not all_finite(params):
            raise NotFinite(f"the parameters of the {config.model} model are not all finite; nothing was drawn")
        first = held_out_of(dataset, labels)["x"][:, :kept] if kept else np.zeros((len(labels), 0), np.int32)
        key, given = jax.random.key(seed), codes_given(seed, labels)
        scale, guided = np.float32(guidance_scale), guidance_scale != 1

        def draw(i: int, rows: np.ndarray) -> np.ndarray:
            at = jax.random.fold_in(key, i)
            return np.asarray(run(params, at, labels[rows], scale, first[rows], given[rows], guided=guided))

        digest = lambda: digest_of(config.to_dict(), seed, labels, guidance_scale, params, first, given)
        found = in_batches(draw, len(labels), options.batch_size, partial, digest)
        check_codes(found, f"guidance scale {guidance_scale:g}, {config.model}")
        return np.concatenate([given, found], axis=1)

    def generate(params, seed: int, labels, guidance_scale: float, *, partial: PartialSamples | None = None):
        found = draw_codes(params, seed, labels, guidance_scale, partial)
        part = {"x": found[:, dataset.coding.given :], "given": found[:, : dataset.coding.given]}
        samples = in_blocks(decode, part, min(options.batch_size, len(found)))
        return check_samples(samples, f"guidance scale {guidance_scale:g}, {config.model}")

    def trace(params, labels, guidance_scale: float) -> jax.stages.Traced:
        labels, first = np.asarray(labels, np.int32), np.zeros((len(labels), kept), np.int32)
        scale, guided = np.float32(guidance_scale), guidance_scale != 1
        given = np.zeros((len(labels), dataset.coding.given), np.int32)
        return run.trace(params, jax.random.key(0), labels, scale, first, given, guided=guided)

    cast(Any, generate).trace, cast(Any, generate).codes = trace, draw_codes
    cast(Any, generate).evaluations = model.length if solver is None else len(times) - 1
    return generate


def open_coarser(config: Config, dataset: Symbols) -> Run:
    """The run of the next coarser level, ``config.sampling.coarser``."""
    given = f"config.sampling.coarser={config.sampling.coarser}"
    if not dataset.coding.given:
        raise ConfigError(f"{given}: must be None: no codes of a coarser level are given to this model")
    theirs = config_of(config.sampling.coarser, given, "sequence", tasks.named("sequence").fields())
    for field, allowed in (
        *((f"data.{name}", config.data[name]) for name in ("name", "set") if name in config.data),
        ("latents", config.latents),
        ("symbols.level", config.symbols.level - 1),
    ):
        if (value := lookup(theirs, field)) != allowed:
            raise ConfigError(f"{given}: must be a run with config.{field}={to_text(allowed)}, it has {to_text(value)}")
    return tasks.of(theirs).open_run(theirs, as_path(config.sampling.coarser), None, None)
