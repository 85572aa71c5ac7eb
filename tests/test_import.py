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


def run(program):
    return json.loads(
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    )


def test_import_loads_jax_and_numpy_only():
    report = run(PROGRAM)
    print(f"\nimport scorekit adds {report['seconds']:.3f} s to import jax")
    assert not set(HEAVY) & set(report["all"])
    new = {name for name in report["new"] if name not in sys.stdlib_module_names}
    assert new <= {"scorekit", "jax", "jaxlib", "numpy"}
    assert report["arrays"] == 0  # nothing is computed at import


MISSING = {
    "from scorekit.networks import *": ("flax", "io"),
    "from scorekit.io import *": ("flax", "io"),
    "from scorekit.tuning import *": ("optax", "experiments"),
    "from scorekit.io._safetensors import read_safetensors as read; read(0)": ("safetensors", "io"),
}


@pytest.mark.parametrize("statement", MISSING)
def test_a_missing_package_names_the_extra_that_installs_it(statement):
    package, extra = MISSING[statement]
    blocked = f"import sys; sys.modules[{package!r}] = None; {statement}"
    error = subprocess.run([sys.executable, "-c", blocked], capture_output=True, check=False, text=True).stderr
    assert f"needs {package}: pip install 'scorekit[{extra}]'" in error
