"""The layers of the library: imports go down only, and the core needs nothing but jax and numpy."""

import ast
import re
import sys
from pathlib import Path

import pytest

import scorekit

ROOT = Path(scorekit.__file__).parent
LAYERS = {
    0: (
        *("typing", "arguments", "trees", "checks", "numerics"),
        *("_files", "_lazy", "_quantisation", "_version"),
    ),
    1: ("schedules", "predictions", "weightings", "times", "densities"),
    2: ("process", "denoisers", "losses", "guidance"),
    3: ("solvers",),
    4: ("samplers", "likelihood"),
    5: ("flow_maps", "interpolants", "discrete", "autoregressive", "forcing", "typicality", "alignment"),
    6: ("audio", "metrics", "networks", "conformance"),
    7: ("io",),
    8: ("data", "training", "tuning", "bridges"),
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}
MOST_PUBLIC, MOST_FILES = 33, 20
CORE = {"jax", "numpy"}
NEVER = {"experiments", "absl", "ml_collections", "tensorflow", "torch"}


def imports(source: str, module: str) -> list[str]:
    """Every module that ``source`` imports, absolute, wherever in the file; ``from a import b`` gives ``a.b``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            found += [f"{base}.{alias.name}" for alias in node.names]
    return found


def violations(source: str, module: str) -> list[str]:
    """What ``module`` (``scorekit.solvers.ode``) may not import."""
    part = module.split(".")[1]
    if part not in LAYER_OF:
        return [f"{module} has no layer"]
    layer, wrong = LAYER_OF[part], []
    for name in imports(source, module):
        top, *rest = name.split(".")
        if top == "scorekit":
            other = LAYER_OF.get(rest[0]) if rest else None
            if other is None or other > layer:
                wrong.append(f"{module} (layer {layer}) imports {name} (layer {other})")
        elif top in NEVER:
            wrong.append(f"{module} imports {name}")
        elif layer < 6 and top not in CORE and top not in sys.stdlib_module_names:
            wrong.append(f"{module} (layer {layer}) imports {name}")
        if name.startswith("jax._src") or name.startswith("jax.experimental.maps"):
            wrong.append(f"{module} imports the private {name}")
    return wrong


def trespasses(source: str, module: str) -> list[str]:
    """The private modules and names of other packages that ``module`` imports; everyone may use ``scorekit._x``."""
    wrong = []
    for name in imports(source, module):
        package = re.split(r"\._(?!_)", name)[0]
        inside = package in (name, "scorekit") or f"{module}.".startswith(f"{package}.")
        if name.startswith("scorekit.") and not inside:
            wrong.append(f"{module} imports the private {name}")
    return wrong


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield path, ".".join(parts if parts[-1] != "__init__" else (*parts[:-1], "__init__"))


@pytest.mark.parametrize(
    ("path", "module"), [m for m in modules() if m[1] != "scorekit.__init__"], ids=lambda x: str(x)
)
def test_imports_go_down_only(path, module):
    assert violations(path.read_text(), module) == []


def test_private_modules_are_imported_inside_their_package_only():
    assert [wrong for path, module in modules() for wrong in trespasses(path.read_text(), module)] == []


def test_the_package_itself_imports_nothing_of_its_own():
    source = (ROOT / "__init__.py").read_text()
    names = imports(source.partition("if TYPE_CHECKING:")[0], "scorekit.__init__")
    assert {name for name in names if name.startswith("scorekit.")} == {
        "scorekit._lazy.attach",
        "scorekit._version.__version__",
    }


def test_public_modules_at_the_top_are_few():
    public = {module.split(".")[1] for _, module in modules()} - {"__init__"}
    public = {name for name in public if not name.startswith("_")}
    assert len(public) <= MOST_PUBLIC, sorted(public)


def test_folders_hold_few_files():
    folders = {path.parent for path, _ in modules()}
    many = {str(folder): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in many.items() if count > MOST_FILES} == {}


def test_every_part_of_the_package_has_a_layer():
    parts = {module.split(".")[1] for _, module in modules()} - {"__init__"}
    assert parts <= set(LAYER_OF)


CHECKS = {"layers": violations, "private": trespasses}
WRONG = {
    "layers": {
        "import flax": "scorekit.solvers.ode",
        "def f():\n    from scorekit.process import perturb": "scorekit.times",
        "from ..solvers import ode": "scorekit.guidance.interval",
        "from experiments import config": "scorekit.data.arrays",
        "from jax._src import core": "scorekit.trees",
        "import jax": "scorekit.nowhere",
    },
    "private": {
        "def f():\n    import scorekit.io._hub": "scorekit.data.folders",
        "from scorekit.solvers import _base, grids": "scorekit.samplers.sampling",
        "from ..audio._checks import frames": "scorekit.metrics.retrieval",
    },
}
"""Sources, each with one violation, and the modules that they may not stand in."""
RIGHT = {
    "layers": {
        "import jax.numpy as jnp\nimport math": "scorekit.trees",
        "import flax.linen as nn\nfrom scorekit.losses import denoising_loss": "scorekit.training.step",
        "from . import grids\nfrom .ode import Euler": "scorekit.solvers.sde",
    },
    "private": {
        "from scorekit.solvers._base import Row\nfrom ._weights import power": "scorekit.solvers.ode",
        "from scorekit import _files\nimport scorekit.numerics.meshes": "scorekit.tuning.tuned",
    },
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_can_fail_and_pass(check):
    counts = {source: len(CHECKS[check](source, module)) for source, module in WRONG[check].items()}
    assert counts == dict.fromkeys(WRONG[check], 1)
    assert [found for source, module in RIGHT[check].items() for found in CHECKS[check](source, module)] == []
