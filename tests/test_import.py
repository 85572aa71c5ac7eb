"""What ``import scorekit`` loads, seen from a fresh interpreter."""

import inspect
import itertools
import json
import pkgutil
import re
import subprocess
import sys

import pytest

import scorekit

TIERS = dict(re.findall(r"^(\w+): .*\n((?:  .*(?:\n|$))+)", inspect.cleandoc(scorekit.__doc__), re.MULTILINE))
PACKAGES = {tier: re.findall(r"``(\w+)``", text) for tier, text in TIERS.items()}
PROGRAM = """
import json, sys, time
import jax, jax.numpy, numpy
before, start = set(sys.modules), time.perf_counter()
import scorekit
seconds, few = time.perf_counter() - start, set(sys.modules) - before
for name in json.loads(sys.argv[1]):
    getattr(scorekit, name)
new = {name.split(".")[0] for name in set(sys.modules) - before}
parts = {name.split(".")[1] for name in sys.modules if name.startswith("scorekit.")}
arrays = len(jax.live_arrays())
unet = scorekit.networks.UNet.__name__
networks = [name for name in sys.modules if name.startswith("scorekit.networks.")]
print(json.dumps({"seconds": seconds, "few": sorted(few), "new": sorted(new), "parts": sorted(parts), "arrays": arrays,
                  "dir": dir(scorekit), "unet": unet, "networks": networks}))
"""


def run(program, *arguments):
    command = [sys.executable, "-c", program, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_packages_load_on_first_use():
    shortcuts = {"Prediction", "denoiser_from_network", "denoising_loss", "sample", "sample_prior"}
    report = run(PROGRAM, json.dumps([*PACKAGES["Core"], *shortcuts]))
    print(f"\nimport scorekit adds {report['seconds']:.4f} s to import jax")
    ours = {name for name in report["few"] if name.startswith("scorekit")}
    assert ours == {"scorekit", "scorekit._lazy", "scorekit._version"}
    new = {name for name in report["new"] if name not in sys.stdlib_module_names}
    assert new <= {"scorekit", "jax", "jaxlib", "numpy"}
    assert report["arrays"] == 0  # the core computes nothing when it is imported, which may be inside of a trace
    assert not {*PACKAGES["Methods"], *PACKAGES["Batteries"]} & set(report["parts"])
    assert set(report["dir"]) >= set(scorekit.__all__)
    assert report["unet"] == "UNet"
    assert "scorekit.networks.unets.unet" in report["networks"]
    assert not {"scorekit.networks.dit", "scorekit.networks.mlp"} & set(report["networks"])


def test_help_names_every_package_once_by_tier():
    text = inspect.cleandoc(scorekit.__doc__)
    public = [info.name for info in pkgutil.iter_modules(scorekit.__path__) if not info.name.startswith("_")]
    assert list(PACKAGES) == ["Core", "Methods", "Batteries"]
    assert sorted(itertools.chain(*PACKAGES.values())) == sorted(public)
    assert len(text.splitlines()) <= 20


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
