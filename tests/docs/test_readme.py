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


@pytest.mark.slow
def test_the_examples_run(capsys):
    """In order and in one namespace: the first one, for a notebook, for another code base."""
    first, notebook, code_base = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    namespace = {}
    exec(compile(first, "README.md", "exec"), namespace)
    assert namespace["x"].shape == (256, 2)
    assert np.abs(np.linalg.norm(namespace["x"], axis=1) - 1.4).max() < 0.5  # on the circle of the ring
    exec(compile(notebook, "README.md", "exec"), namespace)
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", capsys.readouterr().out)]
    shown = re.findall(r"-?\d+\.\d+", notebook.partition("print(x.mean(axis=0))")[2])
    assert numbers == pytest.approx([float(x) for x in shown[:2]], abs=2e-3)
    assert shown[2:] == ["-0.99", "0.99"]  # mode 3 of 8 on a circle of radius 1.4
    assert numbers == pytest.approx([-0.99, 0.99], abs=0.1)
    exec(compile(code_base, "README.md", "exec"), namespace)
    assert namespace["loss"].shape == (256,)
    learned = [namespace[name] for name in ("learned", "schedule", "solver", "noise", "ts")]
    np.testing.assert_allclose(namespace["x"], namespace["sk"].sample(*learned), atol=1e-4)


def test_its_figures_are_the_stored_ones():
    known = figures.load(figures.FILE)
    shown = re.findall(r"(\S+(?: %)?)<!-- (\w+\.\w+(?: %)?) -->", README)
    assert len(shown) >= 4
    assert shown == [(figures.text(known, name), name) for _, name in shown]
    for path in sorted((ROOT / "experiments").rglob("README.md")):
        for before, name in re.findall(r"([^|]+?)<!-- (\w+\.\w+(?: %)?) -->", path.read_text()):
            assert before.endswith(figures.text(known, name)), (path, name)


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
