"""Writes ``docs/config.md`` before the site is built: all fields of all kinds of config, as in ``--help_config``."""

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path

from experiments.cli.config_help import REQUIRED, in_sections, text_of, without_roles
from experiments.cli.fields import Option, Row
from experiments.tasks import TASKS, named
from experiments.tasks.flow_maps import students


def _sections() -> Iterator[tuple[str, str, list[Row]]]:
    models = in_sections(named("diffusion").fields().rows())
    yield "Models", "`config.task=diffusion`; what was saved is the config of all that open a run.", models
    for method, section in students.SECTIONS.items():
        words = "`config.task=student`: the fields of the teacher's config and these."
        yield f"Students, `{method}`", words, list(section.rows("distillation"))
    for name in [name for name in TASKS if name not in ("diffusion", "student")]:
        task = named(name)
        words = f"{_code(inspect.getdoc(task).splitlines()[0])} These, and fields of models by the same name."
        yield f"`config.task={name}`", words, [row for row in in_sections(task.fields().rows()) if row not in models]


def as_markdown(found: Iterable[Row]) -> str:
    """The fields as tables, one a section, followed by the choices of its fields."""
    groups: dict[str, list[Row]] = {}
    for field in found:
        groups.setdefault(field.path.rpartition(".")[0] if not field.choices else field.path, []).append(field)
    return "\n\n".join(part for name, group in groups.items() for part in _group(name, group))


def _group(name: str, group: list[Row]) -> Iterator[str]:
    (field, *_) = group
    yield f"### `{name}`" if name else "### At the top"
    if field.choices:
        yield _code(field.meaning) + (f" Default: `{field.default}`." if field.default else "")
        rows = [row for choice in field.choices for row in _choice_rows(choice)]
    else:
        rows = [(f"`{f.path}`", f"`{text_of(f.default)}`", f.allowed, _code(f.meaning)) for f in group]
    yield _table(("choice and its fields" if field.choices else "field", "default", "values", "meaning"), rows)


def _choice_rows(choice: Option) -> Iterator[tuple[str, ...]]:
    yield f"**`{choice.name}`**", "", "", _code(choice.meaning)
    for argument in choice.arguments:
        default = "required" if argument.default is REQUIRED else f"`{text_of(argument.default)}`"
        yield f"`{argument.path}`", default, argument.allowed, _code(argument.meaning)


def _code(text: str) -> str:
    return without_roles(text).replace("``", "`")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def page() -> str:
    """The page, as Markdown: the text of ``config.md`` and the fields."""
    sections = (f"## {title}\n\n{words}\n\n{as_markdown(rows)}\n" for title, words, rows in _sections())
    return "\n".join([Path(__file__).with_name("config.md").read_text(), *sections])


def setup(app):
    app.connect("builder-inited", lambda app: Path(app.srcdir, "config.md").write_text(page()))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
