"""The layers: imports go down only, and the core needs nothing but jax and numpy."""

import ast
import sys
from pathlib import Path

import pytest

import scorekit

ROOT = Path(scorekit.__file__).parent
LAYERS = {
    0: ("typing", "trees", "_version"),
    1: ("schedules", "predictions", "weightings", "times", "densities", "random_fields"),
    2: ("process", "denoisers", "losses", "guidance"),
    3: ("solvers",),
    4: ("samplers", "likelihood", "spectra", "typicality", "distillation"),
    5: ("networks", "audio", "metrics", "training", "tuning", "data", "io", "bridges"),
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}
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
        elif layer < 5 and top not in CORE and top not in sys.stdlib_module_names:
            wrong.append(f"{module} (layer {layer}) imports {name}")
        if name.startswith("jax._src") or name.startswith("jax.experimental.maps"):
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


def test_the_package_itself_imports_only_the_core():
    names = imports((ROOT / "__init__.py").read_text(), "scorekit.__init__")
    assert names
    assert all(name.startswith("scorekit.") for name in names)
    assert all(LAYER_OF[name.split(".")[1]] < 5 for name in names)


def test_every_part_of_the_package_has_a_layer():
    parts = {module.split(".")[1] for _, module in modules()} - {"__init__"}
    assert parts <= set(LAYER_OF)


BAD = {
    "import flax": "scorekit.solvers.ode",
    "import optax as o": "scorekit.losses",
    "from scorekit.losses import denoising_loss": "scorekit.schedules.tables",
    "from scorekit import networks": "scorekit.guidance.interval",
    "import scorekit": "scorekit.trees",
    "def f():\n    from scorekit.process import perturb": "scorekit.times",
    "from ..solvers import ode": "scorekit.guidance.interval",
    "from ml_collections import ConfigDict": "scorekit.training.state",
    "from experiments import config": "scorekit.data.arrays",
    "import absl.logging": "scorekit.metrics.energy",
    "import scipy.stats": "scorekit.densities",
    "from jax._src import core": "scorekit.trees",
    "import jax": "scorekit.nowhere",
}


@pytest.mark.parametrize("source", BAD)
def test_the_checker_can_fail(source):
    assert violations(source, BAD[source])


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import jax.numpy as jnp\nimport numpy as np\nimport math", "scorekit.trees"),
        ("from scorekit.schedules import cosine\nfrom scorekit import weightings", "scorekit.losses"),
        ("import flax.linen as nn\nfrom scorekit.losses import denoising_loss", "scorekit.training.step"),
        ("from . import grids\nfrom .ode import Euler", "scorekit.solvers.sde"),
    ],
)
def test_the_checker_can_pass(source, module):
    assert violations(source, module) == []
