"""The plan of a config for a topology: the costs of its programs, kept by program, topology and compiler."""

import contextlib
import hashlib
import importlib.metadata
import json
import sys
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from experiments import training
from experiments.cli import compilation_cache
from experiments.cli.config import Config
from experiments.cli.progress import duration
from experiments.data.dataset import Dataset
from experiments.planning import programs
from experiments.planning.bounds import Cost, compile_cost, too_large
from experiments.planning.chips import Topology
from scorekit.io import write_atomic


class Plan(NamedTuple):
    """The costs of a config on a topology, by program: ``training``, and ``sampling`` where there is a sampler."""

    config: Config
    topology: Topology
    costs: dict[str, Cost]

    @property
    def left(self) -> float:
        """Bytes of a chip that the largest program leaves; negative where it does not fit."""
        return self.topology.chip.memory - max(cost.total for cost in self.costs.values())

    @property
    def dtype(self) -> str:
        """The dtype of products."""
        sections = (self.config.get(name, {}) for name in ("network", "dual_encoder", "autoencoder", "classifier"))
        return next((found for section in sections if (found := section.get("dtype"))), None) or "float32"


def make(
    config: Config,
    topology: Topology,
    dataset: Dataset,
    names: Collection[str] = programs.PROGRAMS,
    fast: bool = False,
) -> Plan:
    """Lowers and compiles the programs of a config; one that was compiled before is read.

    Args:
      names: names of the programs that are wanted.
      fast: whether to compile with the least effort, see :func:`experiments.planning.bounds.compile_cost`.
    """
    training.check_devices(config, topology.size)
    costs = {}
    with _waiting(f"lowering for {topology.name}"):
        lowered = programs.lower(config, dataset, topology.devices(), topology.chip.memory, names)
    for name, program in lowered.items():
        if program.state > topology.chip.memory:
            costs[name] = too_large(program, program.state)
            continue
        path = _folder() / f"{_key(program, topology, fast)}.json"
        found = _read(path)
        if found is None:
            with _waiting(f"compiling {name} for {topology.name}"):
                found = compile_cost(program, topology, fast)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(found._asdict()).encode())
        costs[name] = found._replace(state=program.state, flops=program.flops)
    return Plan(config, topology, costs)


def _folder() -> Path:
    return compilation_cache.folder().parent / "plans"


def _key(program: programs.Lowered, topology: Topology, fast: bool) -> str:
    versions = []
    for package in ("jax", "jaxlib", "libtpu", "jax-cuda12-pjrt"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    text = "\n".join([*versions, topology.name, *["fast"] * fast, program.program.as_text()])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read(path: Path) -> Cost | None:
    """The cost in a file; None where there is none, or it is of another version."""
    try:
        return Cost(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def _waiting(doing: str) -> Iterator[None]:
    """A line on the terminal that says for how long something has been going on."""
    start, done, shows = time.monotonic(), threading.Event(), sys.stderr.isatty()

    def show() -> None:
        while not done.wait(1.0):
            print(f"\r{doing} … {duration(time.monotonic() - start)} ", end="", file=sys.stderr, flush=True)

    if shows:
        thread = threading.Thread(target=show, daemon=True)
        thread.start()
    else:
        print(f"{doing} …", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        done.set()
        if shows:
            thread.join()
            print("\r\033[K", end="", file=sys.stderr, flush=True)
