"""Flags that several programs share, and the lists of numbers that flags hold.

A program defines a shared flag by a call at its top (``_WORKDIR = flags.workdir()``) and reads it through the holder
that the call returns.
"""

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from experiments.cli import distributed as processes
from experiments.cli import outputs
from experiments.cli.config import ConfigError, hint

Flag = flags.FlagHolder
T = TypeVar("T")


def define(define: Callable, name: str, *args: Any, **kwargs: Any) -> Flag:
    """Defines a flag, in place of another program's in this process."""
    if name in flags.FLAGS:
        delattr(flags.FLAGS, name)
    return define(name, *args, **kwargs)


def config(help: str = "Config file, such as experiments/configs/images/digits.py.") -> Flag:
    """``--config``: the config file of a new run, with ``--smoke``."""
    small = "Make the config small: seconds to a few minutes, to see that all of it works."
    define(flags.DEFINE_bool, "smoke", False, small)
    return define(flags.DEFINE_string, "config", None, help, required=True)


def workdir(help: str = "Folder of a run of experiments.train.") -> Flag:
    """``--workdir``: the folder of a run that is opened, with ``--reinterpret_weights``."""
    reinterpret_weights()
    return define(flags.DEFINE_string, "workdir", None, help)


def new_workdir() -> Flag:
    """``--workdir`` of a program that trains."""
    help = "Folder for everything that the run writes."
    return define(flags.DEFINE_string, "workdir", None, help, required=True)


def reinterpret_weights() -> Flag:
    """``--reinterpret_weights``, which :func:`reinterpret` reads."""
    help = "Open weights with a network, schedule, target or data that they were not trained with, and print it."
    return define(flags.DEFINE_bool, "reinterpret_weights", False, help)


def reinterpret() -> bool:
    """Whether ``--reinterpret_weights`` is given to this program."""
    return _is_given("reinterpret_weights")


def smoke() -> bool:
    """Whether ``--smoke`` is given to this program."""
    return _is_given("smoke")


def _is_given(name: str) -> bool:
    values = flags.FLAGS
    return name in values and values.is_parsed() and bool(values[name].value)


def out(help: str, default: str | None = None, name: str = "out", **kwargs: Any) -> Flag:
    """``--out``: a path of results, with ``--overwrite``, which :func:`results` and :func:`results_folder` read."""
    replace = "Replace results that were written to the same path before."
    define(flags.DEFINE_bool, "overwrite", False, replace)
    return define(flags.DEFINE_string, name, default, help, **kwargs)


def overwrite() -> bool:
    """Whether ``--overwrite`` is given to this program."""
    return _is_given("overwrite")


def distributed() -> None:
    """``--distributed`` and its companions, of programs that run in several processes."""
    help = "Run in several processes, as SLURM, Open MPI, Kubernetes or a TPU pod started them."
    define(flags.DEFINE_bool, "distributed", False, help)
    define(flags.DEFINE_string, "coordinator", None, "Elsewhere: host:port of the first process.")
    define(flags.DEFINE_integer, "processes", None, "Elsewhere: the number of processes.", lower_bound=1)
    define(flags.DEFINE_integer, "process_id", None, "Elsewhere: which of them this is, from 0.", lower_bound=0)
    define(flags.DEFINE_integer, "heartbeat", 100, "Seconds until a silent process is given up.", lower_bound=1)


def step(help: str = "Checkpoint to use; the newest by default.") -> Flag:
    """``--step``: which checkpoint."""
    return define(flags.DEFINE_integer, "step", None, help, lower_bound=0)


def seed(help: str = "Seed of the noise.") -> Flag:
    """``--seed``."""
    return define(flags.DEFINE_integer, "seed", 0, help, lower_bound=0, upper_bound=2**31 - 1)


MOST = 10**8
"""The largest count, as of samples in a config."""
LONGEST = 24 * 3600.0
"""Seconds of a sound or piece."""


def idle(where: str, *given: Flag) -> None:
    """Raises an error for a flag that has been given and would do nothing.

    Args:
      where: the words after "must be left out", as in "without --fill".
    """
    for flag in given:
        if flag.present:
            raise ConfigError(f"--{flag.name}: must be left out {where}, it would do nothing")


def count(name: str, default: int, help: str, lower_bound: int = 1) -> Flag:
    """An integer flag from ``lower_bound`` to :data:`MOST`."""
    return define(flags.DEFINE_integer, name, default, help, lower_bound=lower_bound, upper_bound=MOST)


def seconds(default: float, help: str) -> Flag:
    """``--seconds``: a length of at most :data:`LONGEST`."""
    return define(flags.DEFINE_float, "seconds", default, help, upper_bound=LONGEST)


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Errors about ``--workdir`` become errors about the flag ``name``, which holds the folder of that run.

    >>> with named("teacher"):
    ...     raise ConfigError("--workdir=a: there is no run here")
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: --teacher=a: there is no run here
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(str(error).replace("--workdir=", f"--{name}=")) from error


def path(flag: Flag, *, buckets: bool = False) -> Path:
    """The absolute path that a flag holds; with ``buckets`` also one of a bucket, such as ``gs://bucket/run``."""
    from scorekit.io import as_path, in_bucket  # late: a command line is parsed without jax

    if not flag.value:
        raise ConfigError(f"--{flag.name}=… must be given")
    text = str(flag.value)
    if not in_bucket(text):
        return as_path(text).absolute()
    if not buckets:
        allowed = "a folder of this machine; train, sample, evaluate and tune take buckets"
        raise ConfigError(f"--{flag.name}={text}: must be {allowed}")
    return as_path(text)


def check_writable(folder: Path, given: str) -> None:
    """Makes a folder and checks that files can be written into it; an error begins with ``given``."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)  # another process may have the same number on another machine
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.strerror else str(error)
        raise ConfigError(f"{given}: must be a folder that files can be written into: {reason}") from error
    except ImportError as error:  # fsspec's package for this kind of bucket
        raise ConfigError(f"{given}: {error}") from error


def results(flag: Flag, default: Path | None, *endings: str) -> Path:
    """The path of results without ending, from ``flag`` or the default; its folder is made.

    An error is raised before anything is computed if nothing can be written there, or one of the files exists and may
    not be replaced; see :mod:`experiments.cli.outputs`.

    Args:
      flag: names the path, absolute or not, with one of the endings or none; may be unset.
      default: path otherwise, in the folder of ``--workdir``; the default of the flag, if None.
      *endings: endings of the files that are written, such as ".npz".
    """
    from scorekit.io import as_path  # late: a command line is parsed without jax

    found, given, usual = _place(flag, default)
    found = found.with_suffix("") if found.suffix in endings else found
    if not processes.is_first():
        return processes.folder(found)
    check_writable(found.parent, given)
    outputs.check_files(given, [as_path(f"{found}{ending}") for ending in endings], overwrite(), usual)
    return found


def results_folder(flag: Flag, default: Path | None = None, *, names: Sequence[str] = (), continues: str = "") -> Path:
    """The folder of results, which is made, from ``flag`` or the default, as for :func:`results`.

    Args:
      flag: names the path, absolute or not; may be unset.
      default: path otherwise, in the folder of ``--workdir``; the default of the flag, if None.
      names: names of the files that are written; without them the program writes files of any name.
      continues: name of an empty file by which the program knows the folder of an earlier call, whose results it goes
        on with.
    """
    found, given, usual = _place(flag, default)
    if not usual:
        check_writable(found.parent, given)
        is_own = bool(continues) and (found / continues).exists()
        outputs.check_folder(given, found, bool(names) or overwrite() or is_own)
    check_writable(found, given)
    if continues:
        (found / continues).write_text("")
    outputs.check_files(given, [found / name for name in names], overwrite(), usual)
    return found


def _place(flag: Flag, default: Path | None) -> tuple[Path, str, bool]:
    """The path of results, the flag that names it, and whether it is the one without a flag."""
    if not flag.value and default is not None:
        return default, f"--workdir={default.parent}", True
    found = path(flag, buckets=True)
    if default is None and flag.default:
        default = Path(flag.default).absolute()
    return found, f"--{flag.name}={flag.value}", found == default


def all_of(
    name: str, items: Sequence[str], kind: Callable[[str], T], good: Callable[[T], bool], allowed: str
) -> list[T]:
    """The values of a list flag, at least one and all of them good.

    >>> all_of("noise", ["0.1", "-1"], float, lambda std: std > 0, "numbers above 0")
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: --noise=0.1,-1: must be numbers above 0
    """
    values = _values(items, kind)
    if not values or not all(map(good, values)):
        raise ConfigError(f"--{name}={','.join(items)}: must be {allowed}")
    return values


def chosen(flag: str, names: Sequence[str], known: Iterable[str]) -> list[str]:
    """The names that a flag holds, of which each must be known; ``all`` stands for all of them.

    >>> chosen("solvers", ["all"], {"DDIM": 1, "Heun": 2})
    ['DDIM', 'Heun']
    """
    known = list(known)
    for name in names:
        if name not in ("all", *known):
            raise ConfigError(f"--{flag}={name}: must be some of {', '.join(known)}{hint(name, known)}")
    return known if "all" in names else list(names)


def increasing(name: str, items: Sequence[str], above: float = 0.0) -> list[float]:
    """The values of a list flag, which must increase and start above ``above``.

    >>> increasing("edges", ["0.4", "0.2"])
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: --edges=0.4,0.2: must be increasing numbers above 0, as in 1,2
    """
    values = _values(items, float)
    if values is None or not all(low < high < math.inf for low, high in itertools.pairwise([above, *values])):
        bound = "" if above == -math.inf else f" above {above:g}"
        raise ConfigError(f"--{name}={','.join(items)}: must be increasing numbers{bound}, as in 1,2")
    return values


def guidance_scales(name: str, items: Sequence[str]) -> list[float]:
    """The guidance scales of a list flag, each finite and at least 0."""
    return all_of(name, items, float, lambda scale: 0 <= scale < math.inf, "numbers >= 0, as in 1,2")


def step_counts(name: str, items: Sequence[str], example: str) -> list[int]:
    """The numbers of steps of a list flag, each at least 1."""
    return all_of(name, items, int, lambda steps: steps >= 1, f"numbers of steps, as in {example}")


_LISTED = 40


def classes(name: str, items: Sequence[str], num_classes: int, class_names: Sequence[str] = ()) -> list[int]:
    """The classes of a list flag, by name, or by number unless numbers are names.

    >>> classes("labels", ["3", "1"], 10), classes("labels", ["cross", "0"], 2, ["circle", "cross"])
    ([3, 1], [1, 0])
    >>> classes("labels", ["cros"], 2, ["circle", "cross"])
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: --labels=cros: must be circle, cross or 0 to 1 (did you mean cross?)
    """
    by_name = {each: i for i, each in enumerate(class_names)}
    numbered = not any(each.isdecimal() for each in class_names)
    if numbered:
        by_name = {str(i): i for i in range(num_classes)} | by_name
    if items and all(item in by_name for item in items):
        return [by_name[item] for item in items]
    if not class_names:
        raise ConfigError(f"--{name}={','.join(items)}: must be classes from 0 to {num_classes - 1}, as in 3,1,4")
    wrong = next((item for item in items if item not in by_name), "")
    listed = [*class_names[:_LISTED], *["…"] * (len(class_names) > _LISTED)]
    allowed = f"{', '.join(listed)}{f' or 0 to {num_classes - 1}' if numbered else ''}"
    raise ConfigError(f"--{name}={wrong}: must be {allowed}{hint(wrong, class_names)}")


def _values(items: Sequence[str], kind: Callable[[str], T]) -> list[T] | None:
    try:
        return [kind(item) for item in items]
    except ValueError:
        return None
