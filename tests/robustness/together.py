"""Two processes that train together: one of them is killed at random moments, then the same command again."""

import itertools
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from PIL import Image
from robustness.processes import LIMIT, ROOT, Case

from experiments.training.hooks.log import SPEED
from experiments.training.writers import read_metrics
from scorekit.training import restore_params

STEPS, EVERY = 24, 2
CONFIG = f"""
from experiments.configs import base

def get_config():
    config = base.get_config()
    config.data.update(name="folder")
    config.network.update(name="dit", patch=4, width=8, depth=1, heads=1)
    config.training.update(steps={STEPS}, checkpoint_every={EVERY}, warmup_steps=2, batch_size=8, log_every=2, fsdp=2)
    return config
"""
"""Two processes hold half of the state each and save it every two steps."""
KINDS = {"data in memory": "false", "streaming data": "true"}
"""What is attacked, with its value of ``config.data.streaming``."""
FIRST, LATER, STARTING = "before its first checkpoint", "after a checkpoint", "before it has opened the run"
MOMENTS = (FIRST, LATER, FIRST, LATER, STARTING)
"""When a process of a start is killed, in turn. Nothing is cached for :data:`FIRST`, so that it mostly compiles then;
:data:`LATER` is after the first, second or third checkpoint that it saves."""
HEARTBEAT = 10
IN_A_ROW = len(MOMENTS)
"""Most kills of one run; it must then end as one that was never killed."""


def start(*arguments: str, processes: int = 2, devices: int = 2, cached: bool = True) -> list[subprocess.Popen]:
    """The processes of one program on this machine, each with simulated devices; ``cached=False`` compiles anew."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", ""))
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "JAX_NUM_CPU_DEVICES": str(devices)}
    if not cached:
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
    together = [f"--coordinator=localhost:{port}", f"--processes={processes}", f"--heartbeat={HEARTBEAT}"]
    program, *rest = arguments
    module = program if program.startswith("robustness.") else f"experiments.{program}"
    command = [sys.executable, "-m", module, *rest]
    each = [[*together, f"--process_id={i}"] if processes > 1 else [] for i in range(processes)]
    pipe = subprocess.PIPE
    return [
        subprocess.Popen([*command, *own], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)
        for own in each
    ]


def end(started: list[subprocess.Popen]) -> tuple[list[int], list[str], list[str]]:
    """The exit codes, and what was printed on stdout and stderr, of all processes; those that do not end are killed."""
    until, found = time.monotonic() + LIMIT, []
    for process in started:
        try:
            found.append(process.communicate(timeout=max(until - time.monotonic(), 1)))
        except subprocess.TimeoutExpired:
            process.kill()
            found.append(process.communicate())
    own = lambda text: "\n".join(x for x in text.splitlines() if "[Gloo]" not in x and "peer ranks" not in x).strip()
    texts = [(own(out), own(err)) for out, err in found]
    return [process.returncode for process in started], [out for out, _ in texts], [err for _, err in texts]


class Ended(NamedTuple):
    """What a run has come to: its parameters, the checksums of all arrays of its state, its metrics."""

    params: list[np.ndarray]
    arrays: Any
    metrics: list[dict[str, Any]]


def _saved(workdir: Path) -> list[int]:
    return [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]


def _until(happens: Callable[[], bool], started: list[subprocess.Popen], seconds: float = LIMIT) -> bool:
    """Waits for this to happen; False if a process or the time has ended without."""
    until = time.monotonic() + seconds
    while not happens():
        if any(process.poll() is not None for process in started) or time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _wait(workdir: Path, started: list[subprocess.Popen], step: int, seconds: float = LIMIT) -> bool:
    """Waits for a checkpoint of ``step`` or a later one."""
    return _until(lambda: max(_saved(workdir), default=0) >= step, started, seconds)


def _opened(workdir: Path, started: list[subprocess.Popen], since: float) -> None:
    """Waits until the processes write the config of the run, which they do before the first step; ``since`` 1970."""
    path = workdir / "config.json"
    _until(lambda: path.exists() and path.stat().st_mtime >= since, started)


def _cost(since: float, before: float) -> str:
    """The seconds since then, and those of CPU time of all processes that have ended, less those before."""
    return f"{_cpu() - before:.0f} s of CPU time, {time.time() - since:.0f} s"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Seconds(NamedTuple):
    """What a start takes: to the config of the run, and from there to its first checkpoint."""

    opening: float
    first: float


def _to_the_end(
    command: list[str], workdir: Path, processes: int = 2, devices: int = 1, cached: bool = True
) -> tuple[Ended | None, Seconds, str]:
    """Trains to the last checkpoint and leaves out what follows; also how long a start takes, and errors."""
    since, cpu = time.time(), _cpu()
    started = start(*command, processes=processes, devices=devices, cached=cached)
    _opened(workdir, started, since)
    opened = time.time()
    _wait(workdir, started, min(max(_saved(workdir), default=0) + EVERY, STEPS))
    seconds = Seconds(opened - since, time.time() - opened)
    done = _wait(workdir, started, STEPS)
    for process in started:
        process.kill()
    _, _, errors = end(started)
    print(f"{workdir.name} to the last step: {_cost(since, cpu)}", file=sys.stderr, flush=True)
    if not done:
        return None, seconds, " | ".join(err.splitlines()[-1][:150] for err in errors if err)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(restore_params(workdir / "checkpoints", step=STEPS)[1])]
    record = json.loads((workdir / "checkpoints" / str(STEPS) / "extra" / "data.json").read_text())
    rows = [{**row, "time": 0, SPEED: 0} for row in read_metrics(workdir / "metrics.jsonl")]
    return Ended(leaves, record["arrays"], rows), seconds, ""


def _difference(found: Ended, exact: Ended, tolerance: float) -> str:
    """What is not as it was in the run that was never disturbed; nothing if all is."""
    close = lambda a, b: np.allclose(a, b, rtol=tolerance, atol=tolerance)
    if not all(map(close, found.params, exact.params)):
        return "other parameters"
    if tolerance:
        return ""
    if found.arrays != exact.arrays:
        return "another state"
    return "" if found.metrics == exact.metrics else "other metrics"


def _kill(
    chosen: random.Random, command: list[str], workdir: Path, moment: str, seconds: Seconds, number: int, which: int
) -> tuple[str, str]:
    """One start of both processes, of which one receives a signal; what was tried, and what is wrong with the end."""
    before = max(_saved(workdir), default=0)
    since, cpu = time.time(), _cpu()
    both = start(*command, devices=1, cached=moment != FIRST)
    if moment == STARTING:
        time.sleep(chosen.uniform(0, seconds.opening))
    else:
        _opened(workdir, both, since)
        more, after = chosen.randint(1, 3) if moment == LATER else 0, seconds.first
        for step in range(before + EVERY, before + more * EVERY + 1, EVERY):
            began = time.monotonic()
            _wait(workdir, both, min(step, STEPS - EVERY))
            after = time.monotonic() - began  # from one to the next, in the end
        _wait(workdir, both, STEPS - EVERY if more else before + EVERY, chosen.uniform(0, after))
    both[which].send_signal(number)
    killed = time.time()
    codes, _, errors = end(both)
    waited, last = time.time() - killed, (errors[1 - which].splitlines() or ["nothing"])[-1]
    saved = f"{before} to {max(_saved(workdir), default=0)} of {STEPS}"
    tried = f"{signal.Signals(number).name} to process {which}, {moment}, steps saved {saved}"
    ended = f"exit codes {codes} after {waited:.0f} s, {_cost(since, cpu)}: {last}"
    print(f"{tried}, {ended}", file=sys.stderr, flush=True)
    survives = number == signal.SIGKILL and moment != STARTING and codes[1 - which] != 1
    if any(codes) and (0 in codes or survives):
        return tried, f"exit codes {codes}"
    if moment != STARTING and waited > 3 * HEARTBEAT:
        return tried, f"the other process ends after {waited:.0f} s"
    words = "another process of this program has ended", "not all processes were reached"
    clear = number != signal.SIGKILL or (last.startswith("error: ") and any(each in last for each in words))
    return tried, "" if clear else f"the other process ends with {last[:150]}"


def _pictures(folder: Path) -> Path:
    """A folder of 48 pictures of 8 × 8 grey pixels."""
    path = folder / "pictures"
    path.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(48):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path / f"{i:02}.png")
    return path


def signals(
    folder: Path, count: int, seed: int = 0, kinds: Sequence[str] = tuple(KINDS), *, only_kills: bool = False
) -> Iterator[Case]:
    """SIGKILL to one of two processes, up to five times in a run, at random moments of each of :data:`MOMENTS`.

    The other process must end too, and its last line must say why; the same command must then end with the state, bit
    for bit, and the metrics of a run that was never killed. The kinds of data, some of :data:`KINDS`, have equal shares
    of the kills. The last run of each receives SIGTERM, continues as one process, and must end equal up to rounding;
    ``only_kills`` leaves this out, and that the undisturbed run is repeated. Compiled programs are shared by all runs,
    except where a process is killed while it compiles. The seconds of every start are printed on stderr.
    """
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "True",  # compilation takes most of the time
    }
    with mock.patch.dict(os.environ, environment):
        config, pictures, chosen = folder / "together.py", _pictures(folder), random.Random(seed)
        config.write_text(CONFIG)
        common = ["train", f"--config={config}", f"--config.data.path={pictures}"]
        attacks = []
        for i, data in enumerate(kinds):
            command = [*common, f"--config.data.streaming={KINDS[data]}"]
            share = (count + len(kinds) - 1 - i) // len(kinds)
            attacks.append(_attack(chosen, command, data, folder / f"together{i}", share, only_kills))
        for cases in itertools.zip_longest(*attacks):  # in turns
            yield from (case for case in cases if case is not None)


def _attack(
    chosen: random.Random, common: list[str], data: str, folder: Path, count: int, only_kills: bool
) -> Iterator[Case]:
    """That many kills of runs with one kind of data, and a SIGTERM."""
    command = [*common, f"--workdir={folder / 'exact'}"]
    exact, seconds, error = _to_the_end(command, folder / "exact", cached=only_kills)
    again = exact
    if not only_kills:
        again, _, error = _to_the_end([*common, f"--workdir={folder / 'again'}"], folder / "again")
    if exact is None or again is None:
        yield Case(f"{data}, no signal", "obscure", error)
        return
    if not only_kills:
        different = _difference(again, exact, 0.0)
        yield Case(f"{data}, no signal", "silent" if different else "clear", different or "the same twice")
    kills = [min(IN_A_ROW, count - i) for i in range(0, count, IN_A_ROW)]
    runs = [MOMENTS[:n] for n in kills] + [(LATER,)] * (not only_kills)
    for i, moments in enumerate(runs):
        workdir, alone = folder / f"killed{i}", i == len(kills)
        command, tried = [*common, f"--workdir={workdir}"], []
        number, first = signal.SIGTERM if alone else signal.SIGKILL, chosen.randrange(2)
        for turn, moment in enumerate(moments):  # of both processes in turn
            what, wrong = _kill(chosen, command, workdir, moment, seconds, number, (first + turn) % 2)
            tried.append(f"{data}, {what}")
            if wrong:
                yield Case(tried[-1], "silent" if "codes" in wrong else "obscure", wrong)
        found, _, error = _to_the_end(command, workdir, processes=2 - alone, devices=1 + alone)
        different = _difference(found, exact, 1e-5 * alone) if found else f"does not continue: {error}"
        ends = "ends equal up to rounding as one process" if alone else "ends bit-equal"
        verdict = ("silent" if found else "obscure") if different else "clear"
        print(f"{data}: {different or ends}", file=sys.stderr, flush=True)
        yield from (Case(what, verdict, different or ends) for what in tried)
