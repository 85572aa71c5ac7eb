"""The house: imports go down the floors only, and the core needs jax and numpy only."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "scorekit"
FLOORS = {
    0: ("typing", "trees", "_version"),
    1: ("schedules", "predictions", "weightings", "times", "densities"),
    2: ("process", "denoisers", "losses", "guidance"),
    3: ("solvers", "likelihood", "__init__"),  # the package itself offers floors 0-3
    4: ("networks", "audio", "metrics", "training", "data"),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
CORE = {"jax", "numpy", *sys.stdlib_module_names}
NEVER = {"experiments", "absl", "ml_collections"}
HEAVY = ("flax", "optax", "orbax", "tensorflow_datasets", "absl", "ml_collections", "matplotlib")


def imported(tree, package):
    """The dotted names that a module imports, at the top or inside functions; ``package`` holds the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # ``from scorekit import times`` imports scorekit.times.
            yield from ([f"{base}.{alias.name}" for alias in node.names] if base == "scorekit" else [base])


def breaches(source, path):
    """What the module at ``path`` (parts below scorekit/, no suffix) may not import."""
    floor = FLOOR_OF[path[0]]
    for name in imported(ast.parse(source), ["scorekit", *path[:-1]]):
        top, *rest = name.split(".")
        if top in NEVER:
            yield f"{name}: only experiments/ may import it"
        elif top == "scorekit":
            target = FLOOR_OF.get(rest[0] if rest else "__init__", 3)  # a re-exported name is the package's floor
            if target > floor:
                yield f"{name}: floor {target} from floor {floor}"
        elif floor <= 3 and top not in CORE:
            yield f"{name}: floors 0-3 import jax and numpy only"


def modules():
    return [p.relative_to(PACKAGE).with_suffix("").parts for p in sorted(PACKAGE.rglob("*.py"))]


def test_every_module_has_a_floor():
    assert {path[0] for path in modules()} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", modules(), ids=".".join)
def test_imports_go_down(path):
    source = PACKAGE.joinpath(*path).with_suffix(".py").read_text()
    assert list(breaches(source, path)) == []


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        (("trees",), "import scorekit.times", "floor 1 from floor 0"),
        (("trees",), "from scorekit import times", "floor 1 from floor 0"),
        (("times",), "from scorekit.losses import denoising_loss", "floor 2 from floor 1"),
        (("guidance", "rules"), "from ..solvers import sample", "floor 3 from floor 2"),
        (("losses",), "def f():\n    from scorekit.training import step", "floor 4 from floor 2"),
        (("losses",), "from scorekit import sample", "floor 3 from floor 2"),
        (("solvers", "ode"), "import scorekit.networks.unet", "floor 4 from floor 3"),
        (("__init__",), "from scorekit import networks", "floor 4 from floor 3"),
        (("process",), "import scipy.stats", "jax and numpy only"),
        (("solvers", "ode"), "from flax import linen", "jax and numpy only"),
        (("training", "step"), "from absl import logging", "only experiments/ may import it"),
        (("metrics", "energy"), "import experiments.judge", "only experiments/ may import it"),
    ],
)
def test_the_checker_can_fail(path, source, reason):
    (found,) = breaches(source, path)
    assert reason in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (("losses",), "import jax.numpy as jnp\nfrom scorekit import weightings\nfrom scorekit.process import perturb"),
        (("schedules", "tables"), "from .closed_form import as_time\nfrom ..trees import check"),
        (("training", "step"), "import optax\nfrom scorekit.trees import where"),
    ],
)
def test_the_checker_lets_good_modules_pass(path, source):
    assert list(breaches(source, path)) == []


def test_importing_scorekit_loads_nothing_heavy():
    code = f"import sys, scorekit; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    assert done.stdout.strip() == "[]", done.stderr
