"""Public functions answer hostile arguments with an error that names them, or with a documented result.

What a bound in an annotation allows is tried just outside for every public function, where the error comes before
anything else of the function runs, and just inside for those with a row in ``valid_calls``, where the answer must be
finite. Arrays are tried where a wrong one would give an answer that looks right; what is documented is not called.
"""

import inspect
import math
import re
import sys
import types
from collections.abc import Callable
from typing import Union, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from valid_calls import public_bounds, public_names, rows
from valid_calls.common import FLOW, KEY, ones
from valid_calls.kinds import attacks, wrong_answer
from valid_calls.networks import NETWORKS

import scorekit as sk
from scorekit import arguments, audio, discrete, likelihood, losses, metrics, schedules, solvers, training, typing
from scorekit.arguments import Each, Fraction, OneOf, Positive, bounds_of, checked
from scorekit.arguments._kinds import check_kind
from scorekit.networks import code_counts, nearest_code, quantise
from scorekit.typing import Number, Prediction

ROWS, NAMES, BOUNDED = rows(), public_names(), public_bounds()


def outside(bound):
    """Values outside the bound; of a count also those that are negative or not small."""
    item = bound.item if isinstance(bound, Each) else bound
    beyond = (-1, *([2**70] if item.high is not None else [])) if isinstance(item, arguments.Count) else ()
    beyond = [value for value in beyond if not item.allows(value)]
    return (*bound.outside(), *([(value,) for value in beyond] if isinstance(bound, Each) else beyond))


@pytest.mark.parametrize("name", sorted(BOUNDED))
def test_values_outside_the_bounds_are_named(name):
    for argument, bounded in BOUNDED[name].items():
        for value in outside(bounded.bound):
            if not (value is None and bounded.optional):
                with pytest.raises(ValueError, match=rf"^{argument} must be {re.escape(str(bounded.bound))}, got"):
                    NAMES[name](**{argument: value})


def test_defaults_are_within_the_bounds():
    for name, bounds in BOUNDED.items():
        for argument, bounded in bounds.items():
            default = inspect.signature(NAMES[name]).parameters[argument].default
            if default is not inspect.Parameter.empty:
                bounded.check(f"{name}: {argument}", default)


def ends(bound):
    """Every name, or a value just inside each end: what lies between is in the valid calls, and compiles anew."""
    values = bound.inside()
    is_open_above = getattr(bound, "high", None) in (None, math.inf) and getattr(bound, "low", None) != -math.inf
    return values if isinstance(bound, OneOf) else values[:1] if is_open_above else (*values[:1], *values[1:][-1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*BOUNDED} & {*ROWS} - {*NETWORKS}))
def test_values_inside_the_bounds_give_finite_answers(name):
    """Or an error of a relation, as between the ends of an interval, which is never an error of the bound."""
    row, errors = ROWS[name], []
    for argument, bounded in BOUNDED[name].items():
        for value in ends(bounded.bound):
            try:
                answer = row(**{argument: value})
            except (ValueError, RuntimeError) as error:
                errors.append(str(error))
                continue
            leaves = [leaf for leaf in jax.tree.leaves(answer) if isinstance(leaf, jax.Array | np.ndarray | float)]
            holds_defaults = inspect.isclass(NAMES[name])  # such as no upper limit
            assert holds_defaults or all(np.all(np.isfinite(leaf)) for leaf in leaves), f"{argument} = {value}"
        assert not any(f"{argument} must be {bounded.bound}, got" in error for error in errors)


def wrong(row, chosen):
    """The attacks that are answered in silence or by an error that does not name the argument."""
    found = {f"{a.argument}: {a.name}": wrong_answer(row, a) for a in chosen}
    return {attack: answer for attack, answer in found.items() if answer}


def is_documented(row, attack):
    return attack.name in row.arguments[attack.argument].documented


@pytest.mark.parametrize("name", sorted(ROWS))
def test_hostile_arguments_are_named(name):
    """Those that must raise an error, which costs no compilation."""
    row = ROWS[name]
    assert wrong(row, (a for a in attacks(row) if a.name != "nan" and not is_documented(row, a))) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*ROWS} - {*NETWORKS}))
def test_nan_is_named_or_stays_visible(name):
    """Networks are left out: sums and products keep it."""
    row = ROWS[name]
    chosen = [a for a in attacks(row) if a.name == "nan" and not is_documented(row, a)]
    if chosen:
        row()  # the valid call works, else every attack would fail for its reason
    assert wrong(row, chosen) == {}


WRONG = {
    "schedule": discrete.absorbing(4),
    "denoiser": lambda x, *times: jax.tree.map(lambda leaf: 0.0 * leaf, x),
}
"""A process of tokens, which holds a schedule, and a network, which predicts an array."""


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, argument)
        for name in sorted(ROWS)
        for argument in WRONG
        if argument in ROWS[name].arguments and not ROWS[name].then  # a function that is returned reads them later
    ],
)
def test_what_is_no_schedule_and_no_denoiser_is_named(name, argument):
    row = ROWS[name]
    with pytest.raises(ValueError, match=rf"^{argument} must"):
        row(**{argument: WRONG[argument]})


KINDS = {
    typing.Schedule: {"'cosine'": "cosine", "the class Cosine: call it, Cosine": schedules.Cosine, "None": None},
    typing.Solver: {"the class Heun: call it, Heun": solvers.Heun, "'heun'": "heun", "the function": solvers.ddim},
    typing.Key: {"0": 0, "None": None, "a list": [0, 1], "a ndarray": np.zeros(2)},
}


@pytest.mark.parametrize("kind", KINDS, ids=["schedule", "solver", "key"])
def test_names_classes_and_seeds_for_objects_are_named(kind):
    """By every public function with an argument of this kind, before anything else of the function runs."""
    tried = 0
    for thing in filter(inspect.isfunction, NAMES.values()):
        for name, parameter in inspect.signature(thing).parameters.items():
            parts = [parameter.annotation, *get_args(parameter.annotation)]
            if kind in parts:
                for got, value in KINDS[kind].items():
                    if not (value is None and type(None) in parts):
                        with pytest.raises(ValueError, match=rf"^{name} must be a .*, got {got}"):
                            thing(**{name: value})
                        tried += 1
    assert tried > 40


BENEATH = (
    *("arguments.", "checks.", "trees.", "guidance.init_denoiser_state", "guidance.predict", "guidance.with_state"),
    *("guidance.operators.adjoint", "schedules.time_derivative"),
)
"""Beginnings of names whose functions take functions from callers that have checked them."""


def members(annotation):
    """The members of a union, without their parameters."""
    if hasattr(annotation, "__metadata__"):
        return members(annotation.__origin__)
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return set().union(*map(members, get_args(annotation)))
    return {origin or annotation}


def test_what_is_no_function_is_named():
    """By every public function with an argument that is one, before anything else of the function runs."""
    tried = 0
    for name, thing in NAMES.items():
        for argument, parameter in inspect.signature(thing).parameters.items() if inspect.isfunction(thing) else ():
            found = members(parameter.annotation)
            if Callable in found and found <= {Callable, type(None)} and not name.startswith(BENEATH):
                with pytest.raises(ValueError, match=rf"^{argument} must be a function, got 3.5"):
                    thing(**{argument: 3.5})
                tried += 1
    assert tried > 150


def test_keys_of_both_kinds_and_arrays_of_keys_pass():
    for key in jax.random.key(0), jax.random.PRNGKey(0), jax.random.split(jax.random.key(0), 3):
        check_kind(typing.Key, "key", key)
        jax.jit(lambda key: check_kind(typing.Key, "key", key))(key)


def test_annotations_print_as_they_are_written():
    def shrink(
        x: typing.ArrayLike, rate: Positive[Number] | None, *, key: typing.Key, steps: arguments.PositiveInt
    ): ...

    text = "(x: ArrayLike, rate: Optional[Positive[Number]], *, key: Key, steps: PositiveInt)"
    assert str(inspect.signature(shrink)) == text
    assert repr(arguments.Between(0, open="low")) == "Between(low=0, open='low')"


def test_one_number_is_declared_by_its_type():
    @checked
    def shrink(rate: Positive[float], rates: Positive[Number]):
        return rates

    assert shrink(jnp.ones(()), np.ones(2)).shape == jax.jit(shrink)(1.0, np.ones(2)).shape == (2,)
    with pytest.raises(ValueError, match=r"^rate must be a scalar, got shape \(2,\)"):
        shrink(np.ones(2), 1.0)


def test_annotations_that_are_strings_are_evaluated():
    source = "from __future__ import annotations\ndef shrink(rate: Fraction[float] | None) -> Undefined: ..."
    namespace = {"__name__": __name__}
    exec(source, namespace)
    assert bounds_of(namespace["shrink"])["rate"].optional
    with pytest.raises(ValueError, match=r"^rate must be in \[0, 1\], got 2.0"):
        checked(namespace["shrink"])(2.0)


@pytest.mark.parametrize("annotation", ["Undefined", Positive["Undefined"], Positive[float] | Fraction[float]])
def test_annotations_that_cannot_be_read_are_an_error_when_the_function_is_decorated(annotation):
    def shrink(rate): ...

    shrink.__annotations__["rate"] = annotation
    with pytest.raises(TypeError, match=r"^rate of .*shrink: .*(Undefined|are two bounds)"):
        checked(shrink)


COLUMN = ones(4)  # (4,) and (4, 1) would broadcast to (4, 4)
S, AT = 0.25 * COLUMN, sk.times.Times(0.5 * COLUMN, COLUMN)
flat = lambda x, t: jnp.reshape(x, -1)
wrong_shape = lambda x, t: Prediction(jnp.reshape(x, -1), jnp.reshape(x, -1))
right = lambda x, t: Prediction(x, x)
as_tree = lambda x, t: {"x": x}
OTHER_SHAPES = {
    "denoising_loss": lambda x: sk.losses.denoising_loss(KEY, flat, FLOW, x),
    "denoising_loss, tree": lambda x: sk.losses.denoising_loss(KEY, as_tree, FLOW, x),
    "denoiser_from_network": lambda x: sk.denoisers.denoiser_from_network(flat, FLOW)(x, 0.5),
    "denoiser_from_network, t": lambda x: sk.denoisers.denoiser_from_network(lambda x, t: x, FLOW)(x, COLUMN[:2]),
    "denoiser_from_score": lambda x: sk.denoisers.denoiser_from_score(flat, FLOW)(x, 0.5),
    "perturb": lambda x: sk.process.perturb(FLOW, x, COLUMN, 0.5),
    "perturb, t": lambda x: sk.process.perturb(FLOW, x, x, np.full((4, 2), 0.5)),
    "classification_loss": lambda x: sk.losses.classification_loss_at(flat, FLOW, x, x, AT, np.zeros(4, int)),
    "classification_loss, eps": lambda x: sk.losses.classification_loss_at(
        lambda x, t: x, FLOW, x, COLUMN, AT, np.zeros(4, int)
    ),
    "classifier_free": lambda x: sk.guidance.classifier_free(right, wrong_shape, 2.0)(x, 0.5),
    "classifier_free, scale": lambda x: sk.guidance.classifier_free(right, right, np.ones((4, 2)))(x, 0.5),
    "interval": lambda x: sk.guidance.interval(right, wrong_shape, FLOW)(x, COLUMN / 2),
    "dps": lambda x: sk.guidance.dps(right, FLOW, lambda x: x, COLUMN, 1.0)(x, 0.5),
    "consistency": lambda x: sk.flow_maps.consistency_training_loss(wrong_shape, right, FLOW, x, x, AT.t, S),
    "consistency, student": lambda x: sk.flow_maps.consistency_training_loss(right, wrong_shape, FLOW, x, x, AT.t, S),
    "matching_loss": lambda x: sk.flow_maps.matching_loss(wrong_shape, right, FLOW, x, x, AT),
    "squared_error": lambda x: sk.flow_maps.squared_error(x, COLUMN),
    "update_ema": lambda x: training.update_ema({"0.9": x}, COLUMN, 1),
}
"""Functions that compare their argument with arrays of other shapes."""

LOG_SNR = jnp.zeros(())
TRACED = {
    "min_snr": lambda value: sk.weightings.min_snr(value)(LOG_SNR),
    "edm": lambda value: sk.weightings.edm(value)(LOG_SNR),
    "p2": lambda value: sk.weightings.p2(k=value)(LOG_SNR),
    "logit_normal": lambda value: sk.weightings.logit_normal(std=value)(LOG_SNR),
    "ema_decay": lambda value: training.ema_decay(value, 3.0),
    "step_weight": lambda value: sk.flow_maps.step_weight(FLOW, -0.1 * value, 0.5 + 0 * value),
    "interval": lambda value: sk.guidance.interval(right, right, FLOW, 2.0 + value, 1.0)(jnp.ones(1), 0.5).x0[0],
    "earlier_time": lambda value: sk.flow_maps.earlier_time(0.5, np.array([1.0, 0.0]), value),
}
"""Functions whose answer is NaN for a traced -1."""


def test_a_traced_parameter_out_of_range_gives_nan():
    found = jax.jit(lambda value: {name: function(value) for name, function in TRACED.items()})(-1.0)
    assert all(np.isnan(value) for value in found.values()), found


@pytest.mark.parametrize("name", ["min_snr", "edm", "p2", "logit_normal", "ema_decay"])
def test_a_traced_parameter_that_is_not_real_is_named(name):
    with pytest.raises(ValueError, match=r"must be .*, got complex64"):
        jax.eval_shape(TRACED[name], jax.ShapeDtypeStruct((), np.complex64))


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_other_shapes_are_rejected_while_tracing(name):
    with pytest.raises(ValueError, match="shape"):
        jax.eval_shape(OTHER_SHAPES[name], np.ones((4, 1), np.float32))


# ---- numbers that are not replaced --------------------------------------------------------------------------


def test_integer_images_are_compared_as_floats():
    x = np.array([[10, 20]], np.uint8)
    assert float(metrics.psnr(x, x + np.uint8(1), 255.0)) == pytest.approx(20 * np.log10(255.0), abs=1e-4)


def test_integer_log_probabilities_keep_the_offset():
    found = likelihood.bits_per_dim(np.array([0]), 2, bins=3, dequantisation="uniform")
    np.testing.assert_allclose(found.bits_per_dim, np.log2(1.5), rtol=1e-6)


def test_integer_sounds_are_resampled_as_floats():
    np.testing.assert_allclose(audio.high_rate(np.array([0, 1, 0, 0]), 2)[2], 0.75, atol=1e-6)


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("soundfile", lambda: audio.read("a.wav")),
        ("soundfile", lambda: audio.write("a.wav", np.zeros(8), 8000)),
        ("soxr", lambda: audio.resample(np.zeros(8), 8000, 4000)),
    ],
)
def test_sound_files_without_their_extra_name_it(monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}: pip install 'scorekit\[sound\]'"):
        call()


def test_nan_is_not_silence():
    silent = np.zeros(64, np.float32)
    assert np.isnan(audio.chroma(silent * np.nan, 1000.0)).any()
    np.testing.assert_array_equal(audio.chroma(silent, 1000.0), 0.0)
    assert np.isnan(audio.log_spectral_distance(silent * np.nan, silent, 1000.0))


def test_nan_is_not_replaced_by_a_number():
    codes, x = np.array([[0.0], [1.0]], np.float32), np.array([[np.nan], [0.9]], np.float32)
    assert nearest_code(x, codes).tolist() == [2, 1]
    assert np.isnan(quantise(x, codes).values[0, 0])
    with pytest.raises(ValueError, match="index must hold classes from 0 to 1"):
        code_counts(nearest_code(x, codes), 2)
    binned = losses.bin_by_noise_level(np.ones(2, np.float32), np.array([np.nan, 0.5], np.float32))
    assert np.isnan(binned.sum[-1])
    assert np.sum(binned.sum[:-1]) == 1
