"""The public line: what has no underscore is in an ``__all__``, and what is in an ``__all__`` is documented in full.

``missing("scorekit.solvers")`` lists all that a package lacks. A complete docstring has one line of summary, ``Args:``
(of a class its fields, also as ``Attributes:``), ``Returns:``, ``Raises:`` where the code checks its arguments, an
example, and a ``Source:`` (or a place in ``NO_PAPER``) with an equation in the text (or a place in ``NO_EQUATION``).
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import pytest

import scorekit

ROOT = Path(scorekit.__file__).parent
HEADERS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Source")

PROTOCOL_METHODS = {
    "Schedule": "alpha sigma log_snr time_at drift diffusion_squared",
    "Solver": "order evals_per_step stochastic max_past row plan init step mean slope",
    "discrete.TokenSolver": "transition",
    "Target": "to_prediction from_prediction eps_scale",
    "times.TimeSampler": "quantile",
    "densities": "dim sample log_density entropy marginal predict",
    "flax.linen.Module": "setup",
}
"""Methods of documented protocols: an implementation needs one line, which it may inherit."""

NO_PAPER = {
    "trees": "as_pytree batch_size combine event_size expand is_traced normal_like pytree_dataclass static "
    "sum_per_example where",
    "typing": "Prediction Schedule Solver",
    "checks": "check check_at_least check_axes check_between check_broadcasts check_classes check_count check_finite "
    "check_floating check_like check_not_nan check_per_example check_positive check_scalar check_shape check_time "
    "nan_unless nan_unless_finite",
    "sharded": "Shard gathered",
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
    "solvers": "LinearSolver NoiseLevels PrecomputedSolver Row SolverBase noise_levels precomputed matching uniform "
    "vp_quadratic",
    "samplers": "nfe recommended sample",
    "tuning": "Pairs SavedGrid Trial Tuned distances fine_pairs load_grid restore_solver save_grid",
    "typicality": "Entropy gaussian_of_states log_sphere_area standardise typical_radii",
    "data": "CaptionEncoder CaptionedSet EncodedCaptions ImageSet Note NoteSet PhraseSet Prefetch SoundFont Source "
    "Stream Zone batch_at default_path encode_captions folder from_unit load load_caption_encoder load_captioned "
    "load_notes load_phrases local_rows open_images piano_roll prefetch random_crop random_flip random_phrase "
    "read_soundfont render_phrase stream tar to_unit",
    "audio": "ConstantQ GriffinLim LogMel Representation Sound autocorrelation correlation frame "
    "frequency_to_hz from_polar hann harmonic_tones harmony_statistics high_rate log_magnitudes "
    "log_mel log_mel_frames log_mel_statistics low_rate magnitude magnitudes make_log_mel match_mel "
    "mel_envelope mel_spectrogram normalise_peak num_frames overlap_add pcm_to_float phase "
    "pitch_velocity_features pulse_train random_phase randomise_phase read resample rhythm_statistics "
    "seam_roughness spectrogram_images waveform write",
    "metrics": "DensityCoverage FeatureStatistics InceptionScore Interval KernelDistance LinearProbe "
    "PrecisionRecall aupr class_accuracy feature_statistics fit_reference_classifier "
    "merge_over_processes probe_accuracy psnr",
    "training": "Checkpoints Restored TrainState TrainStep batch_sharding check_finite ema_decay init_ema "
    "init_state make_mesh make_train_step place_batch place_state power_ema_width projected replicate "
    "replicated restore_extra restore_params save_snapshots state_sharding",
    "bridges": "reversed_time",
    "flow_maps": "Jumps Steps clock earlier_time exact_map squared_error transport",
    "networks": "Conditioning MLP Masked Posterior Quantised TextFeatures attend code_counts features layer_names "
    "perplexity pool positions revival_loss with_new_parameters",
    "io": "ClockInput Loaded LogSNRInput NegativeEps Preconditioning Tensors TimestepInput Weights as_path attributes "
    "check_params checksum convert_log_variance ddpm export find_format in_bucket load package_folder parameter_names "
    "precondition read read_weights recognises write_atomic",
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


def top_level(source: str) -> dict[str, bool]:
    """The names that a module defines at its top, and whether a docstring is in or under each."""
    found: dict[str, bool] = {}
    body = ast.parse(source).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        names = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names, documented = [node.name], ast.get_docstring(node) is not None
        else:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = [t.id for t in targets if isinstance(t, ast.Name)]
            value = getattr(after, "value", None) if isinstance(after, ast.Expr) else None
            documented = isinstance(value, ast.Constant) and isinstance(value.value, str)
        found |= dict.fromkeys(names, documented)
    return found


def unlisted(source: str, listed: tuple[str, ...] | list[str] | None) -> list[str]:
    """What is wrong with the ``__all__`` of a module."""
    if listed is None:
        return ["has no __all__"]
    public = [name for name in top_level(source) if not name.startswith("_")]
    return [f"{name} is neither in __all__ nor private" for name in public if name not in listed]


def unoffered(module: str, listed: list[str], package: str, offered: list[str]) -> list[str]:
    """The names of an inner module that its package offers neither by themselves nor by offering the module."""
    if module.removeprefix(f"{package}.") in offered:
        return []
    return [f"{name} is not offered by {package}" for name in listed if name not in offered]


def sections(docstring: str) -> dict[str, str]:
    """The text of each section of a docstring; the summary and the rest of the text have the name ``""``."""
    found, name = {"": ""}, ""
    for line in docstring.splitlines():
        header = re.match(rf"({'|'.join(HEADERS)}):(.*)", line)
        if header:
            name, line = header[1], header[2]
        elif line and not line[0].isspace():
            name = "" if name != "Source" else name
        found[name] = found.get(name, "") + line + "\n"
    return found


def entries(text: str) -> set[str]:
    """The names that a section describes: ``name: text`` or ``name, name: text`` at its indentation."""
    lines = [line for line in text.splitlines() if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    heads = [re.match(r"((?:\*{0,2}\w+(?:,\s*)?)+)(?: \([^)]*\))?:\s*\S", line[indent:]) for line in lines]
    return {name.strip().lstrip("*") for head in heads if head for name in head[1].split(",")}


def validates(function) -> bool:
    """Whether the code of a function raises errors or calls a check of arguments."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))):
        if isinstance(node, ast.Raise):
            return True
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "id", getattr(called, "attr", ""))
        if name.lstrip("_").startswith(("check", "raise_")):
            return True
    return False


def parameters(function, *, method: bool) -> list[str]:
    names = [name for name in inspect.signature(function).parameters if not name.startswith("_")]
    return names[1:] if method and names[:1] in (["self"], ["cls"]) else names


def returns(function) -> bool:
    annotation = inspect.signature(function).return_annotation
    return annotation not in (None, "None", "NoReturn", inspect.Signature.empty)


def lacks(parts: dict[str, str], needed: list[str], *, where: tuple[str, ...], allowed: frozenset[str]) -> list[str]:
    """The arguments without a description, and the descriptions without an argument."""
    described = set().union(*(entries(parts.get(name, "")) for name in where))
    wrong = [f"{where[0]} lacks {name}" for name in needed if name not in described]
    return wrong + [f"{where[0]} describes {name}, which is none" for name in sorted(described - {*needed, *allowed})]


def incomplete_function(
    function, *, method: bool = False, example: str = "", paper: bool = True, equation: bool = True
) -> list[str]:
    """What the docstring of a function or a method lacks; ``example`` is of the class."""
    docstring = inspect.getdoc(function) or ""
    if not docstring.strip():
        return ["no docstring"]
    parts = sections(docstring)
    wrong = lacks(parts, parameters(function, method=method), where=("Args",), allowed=frozenset())
    if returns(function) and not (parts.get("Returns", "") + parts.get("Yields", "")).strip():
        wrong.append("no Returns")
    if validates(function) and not parts.get("Raises", "").strip():
        wrong.append("no Raises")
    if ">>>" not in docstring and not re.search(rf"\.{function.__name__}\b", example):
        wrong.append("no example")
    if paper and not parts.get("Source", "").strip():
        wrong.append("no Source")
    if equation and "Source" in parts and not re.search(EQUATION, parts[""].partition(">>>")[0], re.MULTILINE):
        wrong.append("no equation")
    return wrong


EQUATION = r"``[^`]*( [-+*<>=~] |<-|->|[\^/|~]|(sum|grad)_|(log|exp|sqrt|min|max)\b)[^`]*``|^    \S.* = "


def fields(cls) -> list[str]:
    """What a class is made from: the fields of a dataclass or a named tuple, or the arguments of ``__init__``."""
    if dataclasses.is_dataclass(cls):
        set_by_flax = FLAX_FIELDS if hasattr(cls, "scope") else ()
        return [f.name for f in dataclasses.fields(cls) if not f.name.startswith("_") and f.name not in set_by_flax]
    if hasattr(cls, "_fields"):
        return list(cls._fields)
    return parameters(cls.__init__, method=True) if "__init__" in vars(cls) else []


FLAX_FIELDS = ("parent", "name")
"""Fields that every flax module has."""


def incomplete_class(cls, *, paper: bool = True) -> list[str]:
    """What the docstrings of a class and of its own methods and properties lack."""
    docstring = vars(cls).get("__doc__") or ""
    if not docstring.strip() or docstring.startswith(f"{cls.__name__}("):  # the default one of a dataclass
        return ["no docstring"]
    docstring = inspect.cleandoc(docstring)
    parts = sections(docstring)
    protocol = getattr(cls, "_is_protocol", False)
    public = frozenset(name for name in dir(cls) if not name.startswith("_"))
    wrong = [] if protocol else lacks(parts, fields(cls), where=("Attributes", "Args"), allowed=public)
    makers = [vars(cls)[name] for name in ("__init__", "__post_init__") if inspect.isfunction(vars(cls).get(name))]
    makers = [maker for maker in makers if maker.__code__.co_filename == inspect.getsourcefile(cls)]
    if any(validates(maker) for maker in makers) and not parts.get("Raises", "").strip():
        wrong.append("no Raises")
    if ">>>" not in docstring and not protocol:
        wrong.append("no example")
    if paper and not parts.get("Source", "").strip():
        wrong.append("no Source")
    for name, member in vars(cls).items():
        member = getattr(member, "__func__", member)
        is_property = isinstance(member, property) or hasattr(member, "func")
        if name.startswith("_") or not (inspect.isfunction(member) or is_property):
            continue
        if is_property or protocol or name in PROTOCOL:
            found = [] if (inspect.getdoc(getattr(cls, name)) or "").strip() else ["no docstring"]
        else:
            found = incomplete_function(member, method=True, example=docstring, paper=False, equation=False)
        wrong += [f"{name}: {what}" for what in found]
    return wrong


PROTOCOL = {name for names in PROTOCOL_METHODS.values() for name in names.split()}


def constant_is_documented(module: ModuleType, name: str) -> bool:
    """Whether a string is under an alias or a constant, in the module that assigns it."""
    source = inspect.getsource(module)
    if name in top_level(source):
        return top_level(source)[name]
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and name in (a.asname or a.name for a in node.names):
            inner = next(a.name for a in node.names if name == (a.asname or a.name))
            foreign = not (node.module or "").startswith("scorekit")
            return foreign or constant_is_documented(importlib.import_module(str(node.module)), inner)
    return False


def undocumented(module: ModuleType, name: str, *, paper: bool, equation: bool = True) -> list[str]:
    """What the docstring of a name of an ``__all__`` lacks."""
    thing = getattr(module, name)
    if inspect.ismodule(thing):
        return []
    if not str(getattr(thing, "__module__", "scorekit")).startswith("scorekit"):
        assigned = name in top_level(inspect.getsource(module))
        return [] if constant_is_documented(module, name) or not assigned else ["no docstring under it"]
    if inspect.isclass(thing):
        return incomplete_class(thing, paper=paper)
    if inspect.isroutine(inspect.unwrap(thing)):
        return incomplete_function(thing, paper=paper, equation=equation)
    return [] if constant_is_documented(module, name) else ["no docstring under it"]


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
