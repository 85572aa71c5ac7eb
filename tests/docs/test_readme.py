"""The README's examples run, and what it names exists."""

import re
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.cli import command_line
from experiments.configs.images import digits
from experiments.reporting import figures
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion import task as diffusion

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
STORED = figures.load(figures.FILE)


@pytest.mark.slow
def test_the_examples_run():
    """In order and in one namespace: the first one, and for another code base."""
    first, code_base = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    namespace = {}
    exec(compile(first, "README.md", "exec"), namespace)
    assert namespace["x"].shape == (256, 2)
    assert np.abs(np.linalg.norm(namespace["x"], axis=1) - 1.4).max() < 0.5  # on the circle of the ring
    exec(compile(code_base, "README.md", "exec"), namespace)
    assert namespace["loss"].shape == (256,)
    learned = [namespace[name] for name in ("learned", "schedule", "solver", "noise", "ts")]
    np.testing.assert_allclose(namespace["x"], namespace["sk"].sample(*learned), atol=1e-4)


def shown_in(text: str, number: str) -> bool:
    """Whether a number stands in a text, not as a part of a longer one."""
    return re.search(rf"(?<![\d.]){re.escape(number)}(?!\.?\d)", text) is not None


READMES = {figure.page for figure in STORED.values() if figure.page.endswith("README.md")}


@pytest.mark.parametrize("page", sorted(page for page in READMES if (ROOT / page).exists()))
def test_the_figures_of_a_readme_are_the_stored_ones(page):
    text = (ROOT / page).read_text()
    for name, figure in STORED.items():
        for value in figure.values if figure.page == page else ():
            forms = figures.text(STORED, f"{name}.{value}"), figures.text(STORED, f"{name}.{value} %")
            assert any(shown_in(text, form) for form in forms), (name, value, forms)


LISTED = re.findall(r"^- \[.*?\]\(([^)]+)\): (.*)$", README, re.MULTILINE)


def test_it_is_short_and_lists_ten_things():
    lines = README.splitlines()
    assert (len(lines) <= 90, max(map(len, lines)) <= 120, len(LISTED)) == (True, True, 10)


@pytest.mark.parametrize(("page", "line"), LISTED, ids=[line for _, line in LISTED])
def test_the_figures_of_the_list_are_those_of_its_pages(page, line):
    """Of the page that a line links to, or of one that this page links to."""
    first = ROOT / page
    links = re.findall(r"\]\(([^)#:]+\.md)[)#]", first.read_text())
    pages = [first, *(path for link in links if (path := first.parent / link).exists())]
    role = re.compile(r"\{figure\}`([^`]*)`")
    text = "\n".join(role.sub(lambda match: figures.text(STORED, match[1]), path.read_text()) for path in pages)
    numbers = re.findall(r"(?<![\w.])\d+\.\d+|\d+e-\d+", line)
    assert numbers
    for number in numbers:
        assert shown_in(text, number), number


def test_the_fields_of_its_commands_go_together():
    lines = README.replace("\\\n", " ")  # a command on one line
    commands = re.findall(r"^\S*python -m experiments\.\w+ --workdir=runs/digits.*--config\..*$", lines, re.MULTILINE)
    changed = [re.findall(r"--config\.([\w.]+)=(\S+)", command) for command in commands]
    assert sum(map(len, changed)) >= 3
    for fields in changed:
        config = digits.get_config()
        for field, value in fields:
            command_line.override(config, field, value)
        checks.build(config, data.build(config))


def test_the_fields_for_users_of_other_packages_exist():
    def fields(rows) -> set[str]:
        inner = [fields(option.arguments) for row in rows for option in row.choices]
        return {row.path for row in rows}.union(*inner)

    pages = "".join(path.read_text() for path in (ROOT / "docs" / "coming_from").glob("*.md"))
    named = set(re.findall(r"`--config\.([\w.]+)`", pages))
    assert named
    assert named <= fields(list(diffusion.FIELDS.rows()))


def test_the_files_it_names_exist():
    named = re.findall(r"(?:experiments|colabs|docs)/[\w/]+\.(?:py|ipynb|md|png)", README)
    named += [link for link in re.findall(r"\]\(([^)]+)\)", README) if ":" not in link]
    assert len(named) > 15
    for path in named:
        assert (ROOT / path).exists(), path
