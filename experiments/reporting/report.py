"""One self-contained ``report.html``: pictures inside the file, no script, no network, light and dark.

A report is a title, a summary of what was done, and a list of sections::

    write_report(
        "run/report.html",
        "digits",
        summary={"trained on": "cpu × 1", "seed": 0, "time": "3 min 10 s"},
        sections=[Heading("Samples"), Figure("run/samples.png", "one row a class"), ConfigSection(config_as_text)],
    )
"""

import base64
import html
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import scorekit
from experiments.cli.outputs import encodable
from experiments.reporting.png import PathLike
from experiments.reporting.tables import Cell, Table, show, table_as_html
from scorekit.io import as_path, write_atomic


class Heading(NamedTuple):
    """Starts a new part of the report."""

    text: str


class Text(NamedTuple):
    """A paragraph; a blank line starts another one."""

    text: str


def credits(line: str) -> list["Section"]:
    """A paragraph with whom the data are to be credited to, or nothing for an empty ``line``."""
    return [Text(f"Data: {line}.")] if line else []


class Figure(NamedTuple):
    """A PNG file and its caption."""

    path: PathLike
    caption: str = ""


class Sound(NamedTuple):
    """A WAV file to play and a PNG file of it."""

    wav: PathLike
    picture: PathLike


class Sounds(NamedTuple):
    """Audio widgets: a row for each sound with its label, a column for each version of it."""

    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Sound]]]
    caption: str = ""


class ConfigSection(NamedTuple):
    """Preformatted text, folded away under ``label``."""

    text: str
    label: str = "Configuration"


Section = Heading | Text | Table | Figure | Sounds | ConfigSection


def write_report(path: PathLike, title: str, summary: Mapping[str, Cell], sections: Sequence[Section]) -> Path:
    """Writes the report atomically and returns its path; text is escaped.

    ``summary`` is shown first, under the date, the version and the command: data, seed, time, the headline numbers.
    """
    facts = "".join(f"<div><dt>{_escape(k)}</dt><dd>{_escape(show(v))}</dd></div>" for k, v in summary.items())
    body = "\n".join(_render(section) for section in sections)
    page = _PAGE.format(title=_escape(title), origin=_escape(_origin()), style=_STYLE, facts=facts, body=body)
    return write_atomic(path, encodable(page))


def _origin() -> str:
    """The date, the version of scorekit and the command of this process."""
    module = getattr(sys.modules["__main__"].__spec__, "name", "").removesuffix(".__main__")
    command = shlex.join([*(["python", "-m", module] if module else sys.argv[:1]), *sys.argv[1:]])
    return f"{time.strftime('%Y-%m-%d %H:%M')}, scorekit {scorekit.__version__}, {command}"


def _escape(text: str) -> str:
    return html.escape(str(text))


def _render(section: Section) -> str:
    match section:
        case Heading(text):
            return f"<h2>{_escape(text)}</h2>"
        case Text(text):
            return "\n".join(f"<p>{_escape(part)}</p>" for part in text.split("\n\n"))
        case Table(caption=caption):
            return _figure(f'<div class="wide">{table_as_html(section)}</div>', caption)
        case Figure(path, caption):
            return _figure(_image(path, caption), caption)
        case Sounds(header, rows, caption):
            return _sounds(header, rows, caption)
        case ConfigSection(text, label):
            return f"<details><summary>{_escape(label)}</summary><pre>{_escape(text)}</pre></details>"
    raise ValueError(f"section must be a Heading, Text, Table, Figure, Sounds or ConfigSection, got {section!r}")


def _image(path: PathLike, alt: str) -> str:
    return f'<img alt="{_escape(alt)}" src="data:image/png;base64,{_base64(path)}">'


def _sounds(header: Sequence[str], rows: Sequence[tuple[str, Sequence[Sound]]], caption: str) -> str:
    lines = []
    for label, sounds in rows:
        if len(sounds) != len(header):
            raise ValueError(f"{label} must have {len(header)} sounds as the header has, got {len(sounds)}")
        cells = "".join(
            f'<td><audio controls preload="none" src="data:audio/wav;base64,{_base64(sound.wav)}"></audio>'
            f"{_image(sound.picture, f'{label}, {name}')}</td>"
            for name, sound in zip(header, sounds, strict=True)
        )
        lines.append(f"<tr><th>{_escape(label)}</th>{cells}</tr>")
    head = "".join(f"<th>{_escape(name)}</th>" for name in ("", *header))
    table = f'<table class="sounds"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return _figure(f'<div class="wide">{table}</div>', caption)


def _figure(inside: str, caption: str) -> str:
    below = f"<figcaption>{_escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{inside}{below}</figure>"


def _base64(path: PathLike) -> str:
    return base64.b64encode(as_path(path).read_bytes()).decode()


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<div class="origin">{origin}</div>
<dl>{facts}</dl>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --quiet: #666; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p { max-width: 45rem; }
.origin { color: var(--quiet); font-size: .85rem; margin-bottom: 1rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: .75rem 1.5rem;
     margin: 0; padding: 1rem; border-radius: .5rem; background: var(--soft); }
dt { font-size: .85rem; color: var(--quiet); }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.wide { overflow-x: auto; min-width: 100%; width: max-content; max-width: 94vw; margin-left: 50%;
  transform: translateX(-50%); }
table { border-collapse: collapse; margin: 0 0 .4rem; font-size: .95rem; font-variant-numeric: tabular-nums; }
td:first-child { min-width: 8rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
.number { text-align: right; }
.sounds audio { display: block; width: 15rem; height: 2rem; margin-bottom: .4rem; }
.sounds img { width: 15rem; }
.sounds td { vertical-align: top; }
figure { margin: 1rem 0 1.5rem; }
img { max-width: 100%; height: auto; background: white; border-radius: .5rem; border: 1px solid var(--line); }
figcaption { color: var(--quiet); font-size: .9rem; max-width: 45rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; }
pre { overflow-x: auto; padding: 1rem; border-radius: .5rem; background: var(--soft); font-size: .85rem; }
"""
