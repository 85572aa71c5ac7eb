"""The README's example runs, and what it names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_composing_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", capsys.readouterr().out)]
    assert numbers == pytest.approx([-0.99, 0.99], abs=0.1)  # mode 3 of 8 on a circle of radius 1.4


def test_the_files_it_names_exist():
    for path in re.findall(r"(?:experiments|colabs)/[\w/]+\.(?:py|ipynb)", README):
        assert (ROOT / path).exists(), path


def test_the_modules_of_the_table_exist():
    for names in re.findall(r"^\| (`scorekit\.[^|]*)\|", README, re.MULTILINE):
        for name in re.findall(r"`(?:scorekit\.)?(\w+)`", names):
            found = [ROOT / "scorekit" / name / "__init__.py", ROOT / "scorekit" / f"{name}.py"]
            assert any(path.exists() for path in found), name
