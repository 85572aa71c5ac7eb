"""What ``import scorekit`` loads, seen from a fresh interpreter."""

import json
import subprocess
import sys

import pytest

HEAVY = [
    "flax",
    "optax",
    "orbax",
    "tensorflow_datasets",
    "tensorflow",
    "absl",
    "ml_collections",
    "matplotlib",
    "sklearn",
]
PROGRAM = """
import json, sys, time
import jax, jax.numpy, numpy
before, start = set(sys.modules), time.perf_counter()
import scorekit
seconds = time.perf_counter() - start
new = {name.split(".")[0] for name in set(sys.modules) - before}
backend = getattr(jax.live_arrays(), "__len__")()
print(json.dumps({"seconds": seconds, "new": sorted(new), "all": sorted({m.split(".")[0] for m in sys.modules}),
                  "arrays": backend}))
"""


def run(program, *arguments):
    command = [sys.executable, "-c", program, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_import_loads_jax_and_numpy_only():
    report = run(PROGRAM)
    print(f"\nimport scorekit adds {report['seconds']:.3f} s to import jax")
    assert not set(HEAVY) & set(report["all"])
    new = {name for name in report["new"] if name not in sys.stdlib_module_names}
    assert new <= {"scorekit", "jax", "jaxlib", "numpy"}
    assert report["arrays"] == 0  # nothing is computed at import


METHODS_AND_BATTERIES = {
    *("audio", "autoregressive", "bridges", "conformance", "data", "discrete", "flow_maps", "forcing", "interpolants"),
    *("io", "metrics", "networks", "training", "tuning", "typicality"),
}
LOADED = """
import json, sys
import scorekit
parts = {name.split(".")[1] for name in sys.modules if name.startswith("scorekit.")}
unet = scorekit.networks.UNet.__name__
networks = [name for name in sys.modules if name.startswith("scorekit.networks.")]
print(json.dumps({"parts": sorted(parts), "dir": dir(scorekit), "unet": unet, "networks": networks}))
"""
RESOLVED = """
import ast, importlib, json, pathlib, pkgutil, sys
import scorekit
modules = [name for _, name, _ in pkgutil.walk_packages(scorekit.__path__, "scorekit.")]
packages = [scorekit, *(module for module in map(importlib.import_module, modules) if hasattr(module, "__all__"))]
wrong = []
for package in packages:
    nodes = ast.walk(ast.parse(pathlib.Path(package.__file__).read_text()))
    inner = {a.name for node in nodes if getattr(node, "module", None) == package.__name__ for a in node.names}
    for name in package.__all__:
        module = sys.modules.get(f"{package.__name__}.{name}")
        if not hasattr(package, name) or (name not in inner and getattr(package, name) is module):
            wrong.append(f"{package.__name__}.{name}")
print(json.dumps(wrong))
"""


def test_the_core_loads_no_method_and_no_battery():
    report = run(LOADED)
    assert not METHODS_AND_BATTERIES & set(report["parts"])
    assert set(report["dir"]) >= METHODS_AND_BATTERIES
    assert report["unet"] == "UNet"
    assert "scorekit.networks.unets.unet" in report["networks"]
    assert not {"scorekit.networks.dit", "scorekit.networks.mlp"} & set(report["networks"])


@pytest.mark.slow
def test_public_names_resolve_when_all_modules_are_loaded_too():
    assert run(RESOLVED) == []


MISSING = {
    "from scorekit.networks import *": ("flax", "io"),
    "from scorekit.io import *": ("flax", "io"),
    "from scorekit.tuning import *": ("optax", "experiments"),
    "from scorekit.io._safetensors import read_safetensors as read; read(0)": ("safetensors", "io"),
}


BLOCKED = """
import json, sys
errors = {}
for statement, (package, _) in json.loads(sys.argv[1]).items():
    for name in [name for name in sys.modules if name.partition(".")[0] == "scorekit"]:
        del sys.modules[name]
    sys.modules[package] = None
    try:
        exec(statement, {})
    except ImportError as error:
        errors[statement] = str(error)
    del sys.modules[package]
print(json.dumps(errors))
"""


def test_a_missing_package_names_the_extra_that_installs_it():
    errors = run(BLOCKED, json.dumps(MISSING))
    for statement, (package, extra) in MISSING.items():
        assert f"needs {package}: pip install 'scorekit[{extra}]'" in errors[statement]
