"""The public line: what has no underscore is in an ``__all__``, and what is in an ``__all__`` is documented in full.

``missing("scorekit.solvers")`` lists all that a package lacks. A complete docstring has one line of summary, ``Args:``
(of a class its fields, also as ``Attributes:``), ``Returns:``, ``Raises:`` where the code checks its arguments, an
example, and a ``Source:`` (or a place in ``NO_PAPER``) with an equation in the text (or a place in ``NO_EQUATION``).
"""

import ast
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import pytest
from docstrings import incomplete_class, incomplete_function, top_level, undocumented, unlisted, unoffered

import scorekit

ROOT = Path(scorekit.__file__).parent

NO_PAPER = {
    "trees": "as_pytree batch_size combine event_size expand is_traced normal_like pytree_dataclass static "
    "sum_per_example where",
    "typing": "Prediction Schedule Solver",
    "checks": "check check_at_least check_axes check_between check_broadcasts check_classes check_count check_finite "
    "check_floating check_levels check_like check_not_nan check_per_example check_positive check_prediction check_real "
    "check_scalar check_schedule check_shape check_time nan_unless nan_unless_finite",
    "sharded": "Shard gathered",
    "files": "check_unpacked parse_json read_arrays read_file regular_file resolved",
    "predictions": "Target as_target bounded_log_snr convert with_x0",
    "weightings": "band",
    "denoisers": "condition_on_log_snr denoiser_from_network exact_denoiser score_from_log_density",
    "losses": "Binned ClassificationAux LossAux bin_by_noise_level",
    "random_fields": "RandomField random_field",
    "spectra": "BandErrors Bands band_power band_snr cutoff_frequency error_by_band power_spectrum radial_bands "
    "transition_log_snr wiener_gain",
    "schedules": "schedule_from_functions time_derivative",
    "times": "Band TimeSampler Times Uniform band draw uniform",
    "densities": "Gaussian Mixture gaussian mixture ring",
    "guidance": "StatefulDenoiser Traits branches guidance_rule init_denoiser_state predict rule temperature "
    "with_state adjoint average_pool blur clip gaussian_kernel grayscale low_pass_kernel mask conditional_log_probs "
    "joint_log_prob total_variation blend_windows cut_windows num_windows",
    "forcing": "RollOut RollState draw_times exact_denoiser full_sequence",
    "autoregressive": "ARProcess Conditional GaussianSequence MarkovChain SequenceModel ar_process gaussian_sequence "
    "log_prob_table markov_chain",
    "solvers": "LinearSolver NoiseLevels PrecomputedSolver Row SolverBase check_grid noise_levels precomputed matching "
    "uniform vp_quadratic",
    "samplers": "nfe recommended sample",
    "tuning": "Pairs SavedGrid Trial Tuned distances fine_pairs load_grid restore_solver save_grid",
    "typicality": "Entropy gaussian_of_states log_sphere_area standardise typical_radii",
    "data": "CaptionEncoder CaptionedSet EncodedCaptions ImageSet Note NoteSet PhraseSet Prefetch Score SoundFont "
    "Source Stream Zone batch_at default_path encode_captions folder from_unit load load_caption_encoder "
    "load_captioned load_notes load_phrases local_rows notes_of_roll open_images piano_roll prefetch random_crop "
    "random_flip random_phrase read_midi read_picture read_score read_soundfont render_phrase stream tar to_unit "
    "write_midi write_score",
    "audio": "ConstantQ Controls GriffinLim LogMel Representation Sound autocorrelation correlation frame "
    "frequency_to_hz from_polar hann harmonic_tones harmony_statistics high_rate log_magnitudes "
    "log_mel log_mel_frames log_mel_statistics low_rate magnitude magnitudes make_log_mel match_mel "
    "mel_envelope mel_spectrogram normalise_peak num_frames overlap_add pcm_to_float phase "
    "pitch_velocity_features pulse_train random_phase randomise_phase read resample rhythm_statistics "
    "seam_roughness spectrogram_images waveform write",
    "metrics": "DensityCoverage FeatureStatistics InceptionScore Interval KernelDistance LinearProbe "
    "PrecisionRecall aupr class_accuracy feature_statistics fit_reference_classifier "
    "merge_over_processes nearest_distances probe_accuracy psnr",
    "training": "Checkpoints Restored TrainState TrainStep batch_sharding check_finite ema_decay init_ema "
    "init_state make_mesh make_train_step place_batch place_state power_ema_width projected replicate "
    "replicated restore_extra restore_params save_snapshots state_sharding",
    "bridges": "reversed_time",
    "interpolants": "Ends Interpolant Linear Trigonometric",
    "flow_maps": "Jumps Steps clock earlier_time exact_map squared_error transport",
    "networks": "Conditioning DiscriminatorOutput MLP Masked Posterior Quantised TextFeatures attend code_counts "
    "features layer_names perplexity pool positions revival_loss with_new_parameters",
    "io": "ClockInput Loaded LogSNRInput NegativeEps Preconditioning Tensors TimestepInput Weights as_path attributes "
    "check_params check_regular checksum convert_log_variance ddpm export find_format in_bucket load "
    "package_folder parameter_names precondition read read_json read_weights recognises write_atomic",
}
"""Names of each package that come from no paper: conventions, trees and arrays, results, files, textbook formulas."""

NO_EQUATION = {
    "audio": "constant_q_frame hz_to_mel multi_resolution_stft_loss stft",
    "flow_maps": "curriculum fake_score_loss",
    "io": "beta_table convert from_scheduler",
    "metrics": "bootstrap_interval classification_accuracy_score fit_linear_probe resize",
    "networks": "normalise_weights",
    "training": "post_hoc_ema",
    "typicality": "code_length",
}
"""Functions of a paper that are no formula: algorithms, layouts, files."""


def modules(package: str) -> Iterator[ModuleType]:
    """A package and the modules in it that are public, imported."""
    module = importlib.import_module(package)
    yield module
    if package == "scorekit":
        return
    for info in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{package}."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            yield importlib.import_module(info.name)


def missing(package: str) -> list[str]:
    """All that the modules of a package lack of the public line, a line each."""
    exempt = set(NO_PAPER.get(package.removeprefix("scorekit."), "").split())
    no_equation = set(NO_EQUATION.get(package.removeprefix("scorekit."), "").split())
    found, seen, used = [], set(), set()
    for module in modules(package):
        listed = getattr(module, "__all__", None)
        wrong = unlisted(inspect.getsource(module), listed)
        if listed is not None and module.__name__.count(".") > 1:
            parent = importlib.import_module(module.__name__.rpartition(".")[0])
            wrong += unoffered(module.__name__, listed, parent.__name__, getattr(parent, "__all__", []))
        found += [f"{module.__name__}: {what}" for what in wrong]
        for name in listed or ():
            if not hasattr(module, name):
                found.append(f"{module.__name__}: {name} of __all__ does not exist")
                continue
            thing = getattr(module, name)
            origin = str(getattr(thing, "__module__", package))
            elsewhere = package == "scorekit" or not f"{origin}.".startswith((f"{package}.", "scorekit._"))
            if id(thing) in seen or (origin.startswith("scorekit.") and elsewhere) or name == "__version__":
                continue
            seen.add(id(thing))
            used.add(name)
            what = undocumented(module, name, paper=name not in exempt, equation=name not in no_equation)
            found += [f"{module.__name__}.{name}: {each}" for each in what]
            if name in exempt and "\nSource:" in (inspect.getdoc(thing) or ""):
                found.append(f"{module.__name__}.{name}: is in NO_PAPER and has a Source")
    return found + [
        f"{package}: {name} has an exemption and is not public" for name in sorted((exempt | no_equation) - used)
    ]


PACKAGES = ["scorekit"] + [
    f"scorekit.{info.name}" for info in pkgutil.iter_modules([str(ROOT)]) if not info.name.startswith("_")
]


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_is_listed_and_documented(package):
    found = missing(package)
    assert not found, f"{len(found)} missing:\n" + "\n".join(found)


# ----------------------------------------------------------------------------- each check finds what it is for
GOOD = '''"""A module."""
import jax
from math import pi as PI
__all__ = ["offered", "Alias"]
Alias = int
"""An alias."""
def offered(): "Doc."
def _private(): ...
'''


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("", ""), []),
        (('"offered", ', ""), ["offered is neither in __all__ nor private"]),
        (('"offered", "Alias"', '"offered"'), ["Alias is neither in __all__ nor private"]),
        (("def _private", "class Open"), ["Open is neither in __all__ nor private"]),
        (("def _private(): ...", "LIMIT: int = 3"), ["LIMIT is neither in __all__ nor private"]),
    ],
)
def test_names_outside_of_all_are_found(change, expected):
    source = GOOD.replace(*change)
    listed = ast.literal_eval(re.findall(r"__all__ = (.*)", source)[0])
    assert unlisted(source, listed) == expected
    assert unlisted(source, None) == ["has no __all__"]


def test_constants_without_a_docstring_are_found():
    assert top_level(GOOD)["Alias"]
    assert not top_level(GOOD.replace('"""An alias."""', ""))["Alias"]


def test_what_a_package_does_not_offer_is_found():
    assert unoffered("p.inner", ["a", "b"], "p", ["a"]) == ["b is not offered by p"]
    assert unoffered("p.inner", ["a", "b"], "p", ["inner"]) == []


def good(a: float, *, b: float = 1.0) -> float:
    """The sum, ``a + b``.

    Args:
      a: a number.
      b: another,
        described on two lines: here.

    Returns:
      The sum, ().

    Raises:
      ValueError: if ``a`` is not a number.

    >>> good(1.0)
    2.0

    Source: Somebody 2020 (https://arxiv.org/abs/0000.00000).
    """
    if a != a:
        raise ValueError(f"a must be a number, got {a}")
    return a + b


CUTS = {
    r"(?s).*": ["no docstring"],
    r"  a: a number.\n": ["Args lacks a"],
    r"(?s)  b: .*?here.\n": ["Args lacks b"],
    r"(?<=\n  )a(?=: a number)": ["Args lacks a"],
    r"(?s)Returns:.*?\n\n": ["no Returns"],
    r"(?s)Raises:.*?\n\n": ["no Raises"],
    r"(?s)>>>.*?\n\n": ["no example"],
    r"Source: .*": ["no Source"],
    r", ``a \+ b``": ["no equation"],
}


@pytest.mark.parametrize(("cut", "expected"), CUTS.items(), ids=range(len(CUTS)))
def test_what_a_docstring_lacks_is_found(cut, expected):
    assert incomplete_function(good) == []
    function = types.FunctionType(good.__code__, globals(), "good", good.__defaults__)
    function.__kwdefaults__, function.__annotations__ = good.__kwdefaults__, good.__annotations__
    function.__doc__ = re.sub(cut, "", inspect.cleandoc(str(good.__doc__)), count=1)
    assert incomplete_function(function) == expected
    function.__doc__ = str(good.__doc__).replace("b: another", "c: another")
    assert incomplete_function(function) == ["Args lacks b", "Args describes c, which is none"]


class Good(NamedTuple):
    """A pair.

    Attributes:
      x: a number.
      y: another.

    >>> Good(x=1, y=2).total()
    3
    """

    x: float
    y: float

    def total(self) -> float:
        """The sum.

        Returns:
          The sum.
        """
        return self.x + self.y


class Bad(NamedTuple):
    """A pair.

    Attributes:
      x: a number.
    """

    x: float
    y: float

    def total(self, start: float) -> float:
        """The sum."""
        return start + self.x + self.y

    @property
    def half(self):
        return self.x / 2

    def order(self): ...


class Unchecked:
    """A thing.

    >>> Unchecked(1).n
    1
    """

    def __init__(self, n: int):
        if n < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        self.n = n


class Open(Protocol):
    """A protocol needs one line for each method."""

    def one(self) -> int:
        """One."""
        ...

    def two(self) -> int: ...


def test_what_a_class_lacks_is_found():
    assert incomplete_class(Good, paper=False) == []
    assert incomplete_class(Good) == ["no Source"]
    assert incomplete_class(Bad, paper=False) == [
        "Attributes lacks y",
        "no example",
        *[f"total: {what}" for what in ("Args lacks start", "no Returns", "no example")],
        "half: no docstring",
        "order: no docstring",
    ]
    assert incomplete_class(Unchecked, paper=False) == ["Attributes lacks n", "no Raises"]
    assert incomplete_class(Open, paper=False) == ["two: no docstring"]
