"""The environment of the tests, set before jax starts: four simulated devices and a cache of compiled programs.

Compilation takes most of the time of the tests. Programs that are equal but traced from different functions, or that
run in a subprocess of a test, are compiled once for each worker. The cache starts empty and is removed at the end; set
``JAX_COMPILATION_CACHE_DIR`` to keep one between runs. Each worker has a folder of its own because jax does not write
entries atomically.
"""

import gc
import os
import pathlib
import shutil
import tempfile

import pytest
from xdist.scheduler import LoadFileScheduling

os.environ.setdefault("JAX_PLATFORMS", "cpu")
flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=4".strip()

CACHE = None
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if "SCOREKIT_TEST_CACHE" in os.environ:  # a worker: the main process has made the folder and removes it
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(os.environ["SCOREKIT_TEST_CACHE"], WORKER or "main")
elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = os.environ["SCOREKIT_TEST_CACHE"] = tempfile.mkdtemp(prefix="scorekit-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(CACHE, "main")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


@pytest.fixture
def frozen_heap():
    """Reading a damaged checkpoint collects garbage: not among all that other tests have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


MOST_MAPS = 30_000
"""Compiled programs take memory maps, about three each; Linux gives a process 65,530, and XLA aborts at the limit."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Frees compiled programs between files once there are many."""
    if nextitem is not None and nextitem.path == item.path:
        return
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        import jax  # late: the environment is set above

        jax.clear_caches()
        gc.collect()


def pytest_unconfigure():
    if CACHE is not None:
        shutil.rmtree(CACHE, ignore_errors=True)


class Scheduling(LoadFileScheduling):
    """One file is one unit of work, so that its tests share compiled programs; every example is a unit of its own."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return nodeid if file.endswith("test_doctests.py") else file


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)
