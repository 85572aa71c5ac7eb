"""Two processes that train together: signals at random moments to either of them, then the same command again."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.benchmarks.faults.processes import LIMIT, ROOT, newest
from experiments.benchmarks.faults.tally import Case

TRAIN = ("train", "--config=experiments/configs/points/mixture_2d.py", "--config.network.features=8",
         "--config.network.blocks=1", "--config.training.steps=400", "--config.training.batch_size=16",
         "--config.training.fsdp=2", "--config.training.checkpoint_every=40", "--config.training.sample_every=100000",
         "--config.sampling.steps=2", "--config.evaluation.num_samples=20", "--config.evaluation.bound_times=2",
         "--config.evaluation.guidance_scales=1")  # fmt: skip
HEARTBEAT = 10


def start(*arguments: str, processes: int = 2, devices: int = 2) -> list[subprocess.Popen]:
    """The processes of one program on this machine, each with simulated devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_NUM_CPU_DEVICES": str(devices)}
    together = [f"--coordinator=localhost:{port}", f"--processes={processes}", f"--heartbeat={HEARTBEAT}"]
    program, *rest = arguments
    command = [sys.executable, "-m", f"experiments.{program}", *rest]
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


def signals(folder: Path, count: int, seed: int = 0) -> Iterator[Case]:
    """SIGKILL and SIGTERM to one of two processes; all must end, and then the same command ends bit-equal.

    Every third run continues with one process of four devices, and ends equal up to rounding.
    """
    chosen = random.Random(seed)
    began = time.monotonic()
    end(start(*TRAIN, f"--workdir={folder / 'together'}"))
    duration, exact = time.monotonic() - began, newest(folder / "together")[1]
    for i in range(count):
        workdir = folder / f"together{i}"
        number, which = (signal.SIGKILL, signal.SIGTERM)[i % 2], chosen.randrange(2)
        after = chosen.uniform(0.1, 1.0) * duration
        both = start(*TRAIN, f"--workdir={workdir}")
        time.sleep(after)
        both[which].send_signal(number)
        codes, _, _ = end(both)
        tried = f"{number.name} to process {which} after {after:.1f} s of {duration:.1f} s"
        if 0 in codes and any(codes):
            yield Case("together", tried, "silent", f"exit codes {codes}")
        alone = i % 3 == 2
        codes, _, errors = end(start(*TRAIN, f"--workdir={workdir}", processes=2 - alone, devices=2 + 2 * alone))
        if any(codes):
            last = [err.splitlines()[-1][:150] for err in errors if err]
            yield Case("together", tried, "obscure", f"does not continue: {codes} {last}")
            continue
        tolerance = 1e-5 if alone else 0.0
        pairs = zip(newest(workdir)[1], exact, strict=True)
        same = all(np.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)
        ends = "ends equal" if same else "ends with other numbers"
        yield Case("together", f"{tried}, then {2 - alone} processes", "clear" if same else "silent", ends)
        shutil.rmtree(workdir)
