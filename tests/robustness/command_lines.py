"""Mistakes on the command line of every program, each in a command that is valid without it.

Programs that train get a config and a new folder. Programs that open a run get one that was saved but whose data cannot
be loaded, so that a mistake must be found before data are: flags that only the data can tell are left out.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from robustness.processes import ROOT, Case, start, verdict

from experiments.cli.config import save_resolved
from experiments.configs.images import smoke
from experiments.projects.audio.configs import notes, phrases, phrases_cascade, transcriber, vocoder
from scorekit import audio

CONFIGS = {"train": "experiments/configs/images/smoke.py"}
"""Config files of the programs that train."""

RUNS: Mapping[str, Any] = {
    "digits": smoke.get_config(),
    "notes": notes.get_config(),
    "phrases": phrases.get_config(),
    "vocoder": vocoder.get_config(),
    "low": phrases_cascade.get_config("low_rate"),
    "high": phrases_cascade.get_config(),
    "transcriber": transcriber.get_config(),
}
KINDS = {
    "projects.audio.sound.evaluate_notes": "notes",
    "projects.audio.sound.perform": "phrases",
    "projects.audio.sound.vocode": "vocoder",
    "projects.audio.music.transcribe": "transcriber",
}
"""The kind of the run that a program opens; digits for all others."""

COMPARISONS = {
    "band_weighting",
    "counted",
    "distillation",
    "likelihood",
    "roll_out",
}
COMPARISONS |= {"score_matching", "trap", "typicality_figures"}
"""Programs of projects that print one table of a page."""

OF_DATA = {"labels", "to", "layers", "program", "others", "stages", "far"}
"""Flags that are validated against the data, the network or other runs."""

HOSTILE = {
    "int": ("-1",),
    "float": ("nan",),
    "string": ("/dev/null/x",),
    "string enum": ("x",),
    "comma separated list of strings": ("nan",),
}
"""Values by the kind of a flag; a text is neither a choice nor a path that can be read or written."""


def programs() -> list[str]:
    """Every module of ``experiments`` that is a program, without benchmarks, comparisons, and ``reproduce``."""
    folder = ROOT / "experiments"
    names = [
        path.relative_to(folder) for path in sorted(folder.rglob("*.py")) if "command_line.run(" in path.read_text()
    ]
    others = ("benchmarks", "cli", "reproduce.py")
    return [
        ".".join(name.with_suffix("").parts)
        for name in names
        if name.parts[0] not in others and name.stem not in COMPARISONS
    ]


_LIST = """
import importlib, json, sys
from absl import flags
found, values = {}, flags.FLAGS
for program in sys.argv[1:]:
    importlib.import_module(f"experiments.{program}")
    defined = {name: values.find_module_defining_flag(name) for name in values}
    own = [name for name, module in defined.items() if module.startswith("experiments.")]
    shared = ("compilation_cache", "help_config")
    found[program] = {name: values[name].flag_type() for name in own if name not in shared}
    for name in found[program]:
        delattr(values, name)
print(json.dumps(found))
"""


def own_flags(names: list[str]) -> dict[str, dict[str, str]]:
    """The flags that programs define, with their kinds; in a process, since programs share names of flags."""
    command = [sys.executable, "-c", _LIST, *names]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def valid(program: str, folder: Path) -> list[str]:
    """Flags with which a program would run, if the data of ``folder`` could be loaded."""
    if program in CONFIGS:
        return [f"--config={CONFIGS[program]}", f"--workdir={folder / 'new'}"]
    if program == "tasks.latents.cascade":
        return [f"--stages={folder / 'low'},{folder / 'high'}"]
    if program == "latents.precompute":
        return [f"--weights={folder / 'file'}", f"--data={folder / 'empty'}", f"--out={folder / 'new'}"]
    if program == "projects.denoising.data_scales":
        return [f"--config={CONFIGS['train']}"]
    if program == "projects.audio.music.circle":
        return [f"--performer={folder / 'phrases'}", f"--transcriber={folder / 'transcriber'}"]
    given = [f"--workdir={folder / KINDS.get(program, 'digits')}"]
    if program == "projects.audio.music.transcribe":
        return [*given, f"--sound={folder / 'silence.wav'}"]
    return given


def mistakes(program: str, own: Mapping[str, str], folder: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Arguments that are wrong, with the words one of which an error must have."""
    yield "--nonsense=1", ("nonsense",)
    yield "stray", ("stray",)
    yield "--config.no.such=1", ("config.no",)
    for field in ("seed=-1", "training.batch_size=0"):
        yield f"--config.{field}", (f"config.{field}",)
    if "workdir" in own:
        for name in ("file", "file/below") if program in CONFIGS else ("file", "empty", "damaged"):
            yield f"--workdir={folder / name}", (str(folder / name),)
    if program in KINDS:
        yield f"--workdir={folder / 'digits'}", (str(folder / "digits"),)
    for flag, kind in own.items():
        if flag in OF_DATA or flag in ("config", "workdir"):
            continue
        for value in HOSTILE.get(kind, ()):
            yield f"--{flag}={value}", (f"--{flag}=",)


def commands(folder: Path) -> Iterator[Case]:
    """Every mistake of every program, one process each."""
    (folder / "file").write_text("not a folder")
    audio.write(folder / "silence.wav", np.zeros(8000), 8000)
    for name in ("empty", "damaged"):
        (folder / name).mkdir()
    (folder / "damaged" / "config.json").write_text("[1, 2]")
    for name, config in RUNS.items():
        config.data.data_dir = str(folder / "file")
        save_resolved(config, folder / name / "config.json")
    names = programs()
    for program, own in own_flags(names).items():
        for mistake, words in mistakes(program, own, folder):
            process = start(program, *valid(program, folder), mistake)
            yield verdict(process, f"{program} {mistake}", words)
    made = [name for name in ("new",) if (folder / name).exists()]
    yield Case("nothing is left behind", "silent" if made else "clear", ", ".join(made))
