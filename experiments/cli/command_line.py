"""The command line of every program: absl's flags, a config file, and its overrides.

A config file is a Python file whose ``get_config()`` returns a ``ConfigDict``. A program runs as ::

    def main(config): ...

    run(main, lambda: FLAGS.config, diffusion.check_fields)  # --help_config prints the fields

and any field is overridden as ``--config.training.steps=5``. A misspelt field, a value of the wrong type, or any other
:class:`~experiments.cli.config.ConfigError` ends the program with exit code 2 and one line on stderr.

The overrides are parsed here and not by ``ml_collections.config_flags``, which prints a traceback for a misspelt field,
accepts ``decays=abc`` for a tuple of numbers, and cannot override a saved config. The syntax is the same.
"""

import ast
import importlib.util
import io
import logging as standard_logging
import math
import re
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict

from experiments.cli import compilation_cache, distributed, endings, interrupts, progress
from experiments.cli.config import ConfigError, hint, kind_name, load_resolved, no_such_field, to_text


def load_config(path: str) -> ConfigDict:
    """The locked config of a Python file with ``get_config()``, or of a JSON file from :func:`save_resolved`.

    What follows ``.py:`` is the argument of its ``get_config``.
    """
    file, colon, argument = path.partition(".py:")
    path, arguments = (f"{file}.py", [argument]) if colon else (path, [])
    if not Path(path).is_file():
        folder, suffix = Path(path).parent, Path(path).suffix
        places = folder.glob(f"*{suffix}"), folder.parent.glob(f"*/*{suffix}"), folder.glob(f"*/*{suffix}")
        others = dict.fromkeys(other for place in places for other in place)
        others = [str(other) for other in others if other.is_file()]
        near = hint(path, [other for other in others if Path(other).name == Path(path).name] or others)
        raise ConfigError(f"no such config file: {to_text(path)}{near}")
    if Path(path).suffix == ".json":
        return load_resolved(path)
    spec = importlib.util.spec_from_file_location("config_file", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"config file {path}: must end in .py or .json")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(*arguments)
    except ConfigError:
        raise
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        at = f"{path}:{lines[-1]}" if lines else path
        raise ConfigError(f"config file {at}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"config file {path}: get_config() must return a ConfigDict")
    return config.lock()


_OVERRIDE = re.compile(r"--?(no)?config\.([^=]*)(?:=(.*))?", re.DOTALL)


def override(config: ConfigDict, field: str, text: str) -> None:
    """Sets ``config.<field>`` from ``text``, read as the type that the field has.

    >>> config = ConfigDict({"training": {"steps": 10, "decays": (0.9, 0.99)}})
    >>> override(config, "training.steps", "5"); override(config, "training.decays", "0.999")
    >>> config.training.steps, config.training.decays
    (5, (0.999,))
    >>> override(config, "training.steps", "None"); config.training.steps is None
    True
    """
    given = f"--config.{to_text(field)}={to_text(text)}"
    *sections, last = field.split(".")
    holder: Any = config
    for depth, name in enumerate([*sections, last]):
        path = ".".join(sections[:depth])
        if not isinstance(holder, ConfigDict):
            raise ConfigError(f"{given}: config.{path} is a single value, {to_text(holder)}")
        if name not in holder:
            raise ConfigError(f"{given}: {no_such_field(holder, path, name, config)}")
        holder, parent = holder[name], holder
    kind = parent.get_type(last)
    if isinstance(holder, ConfigDict):
        raise ConfigError(f"{given}: config.{field} is a section; set one of {', '.join(holder)}")
    try:
        parent[last] = _read(text, kind, holder)
    except (ValueError, TypeError, SyntaxError):
        now = f"now {to_text(holder)}"
        raise ConfigError(f"{given}: must be {kind_name(kind)} ({now})") from None


def _read(text: str, kind: type, now: Any) -> Any:
    if text == "None":  # the check of the fields says whether it may be
        return None
    if kind is bool:
        return flags.BooleanParser().parse(text)
    if kind is float:
        value = float(text)
        if math.isnan(value):
            raise ValueError(text)
        return value
    if kind is int or kind is str:
        return kind(text)
    value = _literal(text)
    if kind in (tuple, list):
        value = kind(value) if isinstance(value, tuple | list) else kind([value])
        kinds = {type(item) for item in now or ()}
        if len(kinds) == 1:  # the new items must be what the old ones are; an int passes for a float
            (item_kind,) = kinds
            value = kind(float(v) if item_kind is float and type(v) is int else v for v in value)
            if any(type(item) is not item_kind for item in value):
                raise ValueError(text)
    return value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        return tuple(part.strip() for part in text.split(",")) if "," in text else text


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes the ``--config.field=value`` arguments out of ``argv``: the other arguments, and the (field, value) pairs.

    >>> split_overrides(["prog", "--config.a.b=5", "--workdir=d", "--noconfig.c", "--config.d", "7"])
    (['prog', '--workdir=d'], [('a.b', '5'), ('c', 'false'), ('d', '7')])
    """
    rest, overrides, queue = [], [], list(argv)
    while queue:
        match = _OVERRIDE.fullmatch(queue[0])
        argument = queue.pop(0)
        if match is None:
            rest.append(argument)
            continue
        negated, field, value = match.groups()
        if negated:
            value = "false"
        elif value is None:
            value = queue.pop(0) if queue and not queue[0].startswith("--") else "true"
        overrides.append((field, value))
    return rest, overrides


flags.DEFINE_string(
    "help_config", None, "Print every field of the config and stop; with a value, those with it in their name."
)


def split_help(argv: Sequence[str]) -> tuple[list[str], str | None]:
    """``argv`` without ``--help_config``, and the pattern that it asks for, ``""`` for all fields.

    >>> split_help(["prog", "--help_config=solver"]), split_help(["prog", "--help_config", "--config=a.py"])
    ((['prog'], 'solver'), (['prog', '--config=a.py'], ''))
    """
    given = [re.fullmatch(r"--?help_config(?:=(.*))?", argument) for argument in argv]
    found = [match.group(1) or "" for match in given if match is not None]
    return [argument for argument, match in zip(argv, given, strict=True) if match is None], (found or [None])[-1]


def print_help(text: str) -> None:
    """Prints a text whose reader, such as head, may end before it does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        interrupts.leave_with(128 + signal.SIGPIPE)


def parse(
    argv: Sequence[str],
    config_file: Callable[[], ConfigDict | str | None],
    flag_values: flags.FlagValues,
    *,
    for_help: bool = False,
) -> ConfigDict | None:
    """Parses a whole command line: absl's flags into ``flag_values``, then the config with its overrides.

    With ``for_help`` no flag is required, and the result is None without a config.
    """
    positional: list[str] = []
    try:
        arguments = flag_values.read_flags_from_files(list(argv[1:]), force_gnu=False)
        rest, overrides = split_overrides(arguments)
        if for_help:
            flag_values.unparse_flags()
        positional = flag_values([argv[0], *rest])[1:]
    except flags.Error as error:
        if isinstance(error, flags.UnrecognizedFlagError) and error.flagname in distributed.NAMES:
            raise ConfigError(f"--{error.flagname}: must be left out, this program runs in one process") from error
        if not (for_help and flag_values.is_parsed()):  # else all that is wrong is that a required one is not there
            message = re.sub(r"flag --(\w+)=None: .*", r"--\1=... must be given", str(error))
            raise ConfigError("; ".join(message.splitlines())) from error
    if positional:
        raise ConfigError(f"{positional[0]}: flags are given as --name=value")
    try:
        found = config_file()
    except flags.IllegalFlagValueError:  # a required --config that for_help does not ask for
        found = None
    if found is None and for_help and not overrides:
        return None
    if found is None:
        raise ConfigError("--config=FILE must be given before --config.field=value can be")
    config = found if isinstance(found, ConfigDict) else load_config(found)
    for field, text in sorted(overrides, key=lambda one: not one[0].endswith(".name")):  # a choice brings its fields
        override(config, field, text)
    return config


def run(
    main: Callable[[ConfigDict], Any],
    config_file: Callable[[], ConfigDict | str | None] = ConfigDict,
    check: Callable[[ConfigDict], Any] = lambda config: None,
    argv: list[str] | None = None,
) -> None:
    """``absl.app.run`` for ``main(config)``: parses the command line and prints errors as one line.

    See :func:`experiments.cli.endings.one_line` for which, and :mod:`experiments.cli.interrupts` for Ctrl-C.

    Args:
      main: receives the locked config, overrides included; its result, if any, is printed as the place of the results.
      config_file: called once absl's flags are parsed; returns the config, empty by default, or its path (``.py`` or
        ``.json``).
      check: validates the fields of the config, overrides included, before anything is loaded or written.
    """

    def flags_parser(argv: list[str]) -> Any:
        if any(re.fullmatch(r"--?(help(short)?|h|\?)", argument) for argument in argv[1:]):
            from experiments.cli import config_help  # late: few programs are asked for help

            print_help(config_help.flags_text(flags.FLAGS, main.__globals__["__doc__"] or ""))
            raise SystemExit(0)
        argv, pattern = split_help(argv)
        config = parse(argv, config_file, flags.FLAGS, for_help=pattern is not None)
        if pattern is not None:
            from experiments.cli import config_help

            print_help(config_help.describe(check, config, pattern))
            if config is not None:
                check(config)  # its error comes after the fields
            raise SystemExit(0)
        assert config is not None
        distributed.wanted()
        check(config)
        return config

    def start(config: Any) -> None:
        several = distributed.wanted()
        compilation_cache.enable(several)
        if not flags.FLAGS["verbosity"].present:  # messages of libraries; --verbosity=0 shows them
            logging.set_verbosity(logging.WARNING)
            warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # without the line of code
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)  # orbax, on a full disk
            standard_logging.getLogger("asyncio").setLevel(standard_logging.CRITICAL)  # likewise: several writes fail
        if several:
            distributed.start()
        begin = time.monotonic()
        try:
            if (written := main(config)) is not None:
                print(f"done in {progress.duration(time.monotonic() - begin)}; see {written}")
        finally:
            distributed.finish()

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may not be UTF-8
    try:
        with interrupts.handled(), endings.one_line():
            app.run(start, argv=argv, flags_parser=flags_parser)
    except SystemExit as ended:
        if not distributed.is_one_of_several():  # several processes take leave of each other
            interrupts.finish(ended.code)
        raise
