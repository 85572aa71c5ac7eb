"""The environment of the tests, set before jax starts: four simulated devices and a cache of compiled programs.

Compilation takes most of the time of the tests. Programs that are equal but traced from different functions, or that
run in a subprocess of a test, are compiled once for each worker. The cache starts empty and is removed at the end; set
``JAX_COMPILATION_CACHE_DIR`` to keep one between runs. Each worker has a folder of its own because jax does not write
entries atomically.
"""

import collections
import functools
import gc
import importlib.metadata
import importlib.util
import itertools
import json
import os
import pathlib
import re
import shutil
import tempfile
import threading

import pytest
from xdist.scheduler import LoadFileScheduling

TESTS = pathlib.Path(__file__).parent
os.environ.setdefault("JAX_PLATFORMS", "cpu")
flags = os.environ.get("XLA_FLAGS", "")
as_users = "SCOREKIT_TEST_AS_USERS" in os.environ  # compiled as it is for them
is_known = not as_users and importlib.metadata.version("jaxlib").startswith("0.10.")
if is_known:
    # without MLIR, programs compile in half the time, and in one part in nine tenths of it; a jaxlib that does not know
    # a flag would end the process
    flags = f"{flags} --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = flags.strip()
# for processes that have one device, or set another number; a worker has the flags of the main process
os.environ.setdefault("SCOREKIT_TEST_XLA_FLAGS", flags.strip())

CACHE = None
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if "SCOREKIT_TEST_CACHE" in os.environ:  # a worker: the main process has made the folder and removes it
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(os.environ["SCOREKIT_TEST_CACHE"], WORKER or "main")
elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = os.environ["SCOREKIT_TEST_CACHE"] = tempfile.mkdtemp(prefix="scorekit-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(CACHE, "main")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

if not as_users:
    # XLA optimises programs only a little, also in processes of the tests: less CPU time, a different rounding
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"

import chex  # noqa: E402  (imports jax: the environment is set above)
from jax._src.interpreters import mlir  # noqa: E402

chex.set_n_cpu_devices(int(os.environ.get("SCOREKIT_TEST_DEVICES", "4")))

BEYOND_THE_CORE = [
    *("audio", "bridges", "data", "examples", "experiments", "io", "metrics", "networks", "robustness", "training"),
    *("tuning", "docs", "test_arguments.py", "test_kit.py"),
    *("autoregressive/test_models.py", "autoregressive/test_particles.py"),
    *("interpolants/test_couplings.py", "likelihood/test_bits.py"),
]
"""Folders and files whose tests need more than the extra test-core: more than layers 0 to 5."""
collect_ignore = BEYOND_THE_CORE if importlib.util.find_spec("flax") is None else []


def shared_contexts(make):
    """A context of MLIR for a hundred programs of a thread: to make one takes longer than to lower a small program."""
    programs, kept = itertools.count(), functools.lru_cache(2)(lambda thread, hundred: make())
    return lambda: kept(threading.get_ident(), next(programs) // 100)


if is_known:
    mlir.make_ir_context = shared_contexts(mlir.make_ir_context)


LACKING = "|".join(name for name in ("pretty_midi", "parselmouth") if importlib.util.find_spec(name) is None)
"""Packages under the GPL, of the extra audio, that are not installed."""
LACKS_ONE = re.compile(rf"(No module named \W*|needs (praat-)?|SoundFont, or )({LACKING})\b")
"""Errors that say so."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Skips tests that need a package under the GPL, where there is none."""
    report = yield
    if LACKING and call.excinfo is not None and LACKS_ONE.search(str(call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, "Skipped: needs the extra audio")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What test modules import stays: to look for garbage in it takes a fifth of the time of collecting the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="module")
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


DURATIONS = TESTS / "durations.json"
"""CPU seconds of units of work, ``[of the fast tests, of the slow ones]``; one that is missing counts its tests."""


def pytest_addoption(parser):
    parser.addoption("--record-durations", action="store_true", help=f"write how long tests take into {DURATIONS.name}")


def unit(nodeid):
    """One file is one unit of work, so that its tests share compiled programs; so is each example and each notebook."""
    file = nodeid.split("::", 1)[0]
    return nodeid if file.endswith(("test_doctests.py", "test_colabs.py")) else file


def is_slow(item):
    return item.get_closest_marker("slow") is not None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long units before short ones, so that all workers end together."""
    known = json.loads(DURATIONS.read_text())
    kinds = collections.defaultdict(list)
    for item in items:
        kinds[unit(item.nodeid)].append(is_slow(item))
    guess = lambda found: sum(3 if slow else 0.3 for slow in found)
    seconds = {
        name: sum(known[name][slow] for slow in set(found)) if name in known else guess(found)
        for name, found in kinds.items()
    }
    items.sort(key=lambda item: -seconds[unit(item.nodeid)])


class Scheduling(LoadFileScheduling):
    """Units are distributed in the order of collection."""

    def _split_scope(self, nodeid):
        return unit(nodeid)


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return Scheduling(config, log)


measured = collections.Counter()
"""CPU seconds of this process and its children by unit and slowness: a worker sends its own to the main process."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    start = sum(os.times()[:4])
    try:
        return (yield)
    finally:
        measured[unit(item.nodeid), is_slow(item)] += sum(os.times()[:4]) - start


def pytest_testnodedown(node):
    for name, slow, seconds in node.workeroutput["measured"]:
        measured[name, slow] += seconds


def pytest_sessionfinish(session):
    if WORKER is not None:
        session.config.workeroutput["measured"] = [(*key, seconds) for key, seconds in measured.items()]
    elif session.config.option.record_durations:
        known = json.loads(DURATIONS.read_text())
        for (name, slow), seconds in measured.items():
            known.setdefault(name, [0, 0])[slow] = round(seconds)
        kept = {
            name: pair
            for name, pair in known.items()
            if max(pair) > 0 and (session.config.rootpath / name.split("::")[0]).exists()
        }
        lines = [f"{json.dumps(name)}: {pair}" for name, pair in sorted(kept.items())]
        DURATIONS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
