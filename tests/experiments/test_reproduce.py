"""Published figures are found again: toy figures, and the file of the project."""

import json
import re
import shlex
from pathlib import Path

import pytest
from programs import fails, run

from experiments.cli import command_line
from experiments.cli.config import save_resolved
from experiments.reporting import figures

ROOT = Path(__file__).parents[2]
STORED = figures.load(figures.FILE)
KNOWN = {name: figure for name, figure in STORED.items() if (ROOT / figure.page).parent.is_dir()}
"""Those of pages of projects that are there."""
TOY = """
[first]
about = "The figure before"
page = "README.md"
minutes = 90
commands = ['''python -c "open('runs/first.txt', 'a').write('.')"''']
values = {}
[toy]
about = "A toy"
page = "README.md"
minutes = 2
after = ["first"]
commands = ['''python FOLDER/toy.py runs/toy.json''']
[toy.values]
x = {value = 0.250, tolerance = 0.01, read = ["runs/toy.json", "x"]}
row = {value = 1.5, tolerance = 0.1, error = 0.05, read = ["runs/toy.json", "rows", "b", "error"]}
last = {value = 2, tolerance = 0, read = ["runs/toy.json", "pairs", "q", -1]}
printed = {value = 12500, tolerance = 0, read = ["printed", "small", "error", "second:"]}
"""
FOUND = {"x": 0.255, "rows": [{"": "a", "error": 9}, {"": "b", "error": 1.45}], "pairs": [["p", 1], ["q", 2]]}
PROGRAM = """
import sys
open(sys.argv[1], "w").write({found})
print("first:\\nmodel     error\\nsmall     3 ± 1\\nsecond:\\nmodel       loss   error\\nsmall, 2     0.1       7")
print("small        0.1  12,500")
sys.exit({code})
"""


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """Writes the toy figures and their program, and runs them; ``found`` is what the program writes."""

    def reproduce(*arguments, found=FOUND, code=0):
        (tmp_path / "toy.py").write_text(PROGRAM.format(found=repr(json.dumps(found)), code=repr(code)))
        (tmp_path / "figures.toml").write_text(TOY.replace("FOLDER", str(tmp_path)))
        monkeypatch.setattr(figures, "FILE", tmp_path / "figures.toml")
        return run("reproduce", *(arguments or ("toy", f"--workdir={tmp_path / 'own runs'}")))

    return reproduce


def test_values_that_agree_have_a_line_each_and_nothing_runs_twice(toy, tmp_path):
    code, out, err = toy()
    assert (code, err) == (0, "")
    assert out.startswith("toy: A toy, 1 h 32 min of CPU time\n")
    lines = [re.split(" {2,}", line) for line in out.splitlines() if line.endswith("agrees")]
    assert lines == [
        ["x", "0.250", "0.255", "0.01", "agrees"],
        ["row", "1.5", "1.45", "0.1", "agrees"],
        ["last", "2", "2", "0", "agrees"],
        ["printed", "12500", "12,500", "0", "agrees"],
    ]
    code, again, _ = toy(code="it ran again")  # everything has finished
    assert (code, again.count("finished before")) == (0, 2)
    assert (tmp_path / "own runs" / "first.txt").read_text() == "."
    (tmp_path / "own runs" / "toy.json").unlink()
    assert toy()[1].count("missing: runs/toy.json cannot be read") == 3


@pytest.mark.parametrize(
    ("found", "name", "words"),
    [
        ({**FOUND, "x": 0.2399}, "x", "0.2399  0.01       does not agree"),
        ({**FOUND, "x": float("nan")}, "x", "does not agree"),
        ({**FOUND, "x": "0.25"}, "x", "missing: runs/toy.json: ['x'] is no number"),
        ({**FOUND, "pairs": [["r", 2]]}, "last", "missing: runs/toy.json has no 'q'"),
    ],
)
def test_a_value_that_is_another_or_missing_ends_with_code_1(toy, found, name, words):
    code, out, err = toy(found=found)
    assert (code, out.count("  agrees")) == (1, 3)
    assert words in next(line for line in out.splitlines() if line.startswith(f"{name} "))
    assert err == f"error: 1 of 4 values of toy do not agree: {name}\n"


def test_a_command_that_fails_is_reported_with_its_last_lines_and_run_again(toy, tmp_path):
    code, out, err = toy(code="the disk broke")
    assert (code, "agree" in out) == (1, False)
    assert err.startswith("error: exit code 1 of python ")
    assert "small, 2     0.1       7 | small        0.1  12,500 | the disk broke" in err
    code, out, _ = toy()
    assert (code, out.count("finished before")) == (0, 1)
    assert (tmp_path / "own runs" / "first.txt").read_text() == "."


def test_figures_are_listed_and_a_mistyped_name_gets_the_nearest(toy):
    assert "toy     1 h 32 min  README.md  A toy\n" in toy("--list")[1]
    assert fails("reproduce", "toi").endswith("--figure=toi: must be a published figure, such as toy\n")


def test_pages_show_the_stored_values_and_no_others():
    """By the role ``figure``; files README have plain numbers, which their own test compares."""
    files = ROOT.glob("docs/**/*.md")
    pages = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    names = {page: set(re.findall(r"\{figure\}`([^`]*)`", text)) for page, text in pages.items()}
    every = set().union(*names.values())
    for name in every:
        figures.text(STORED, name)
    for name, figure in KNOWN.items():
        if figure.page in names:
            assert {f"{name}.{value}" for value in figure.values} <= {each.removesuffix(" %") for each in every}, name
            assert name in {each.partition(".")[0] for each in names[figure.page]}, name
    with pytest.raises(ValueError, match="acuracy: is no value of figures"):
        figures.text(KNOWN, "digits.acuracy")


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_the_commands_of_a_figure_are_valid(name, tmp_path):
    """Their flags, config files and overrides; runs are there as the configs that training would save."""
    commands = [command for each in figures.chain(KNOWN, name) for command in KNOWN[each].commands]
    for command in commands:
        program, *arguments = shlex.split(command.removeprefix("python -m ").replace("runs/", f"{tmp_path}/"))
        code, _, err = run(program.removeprefix("experiments."), *arguments, "--help_config")
        assert code == 0 or "--help_config: this program has no config" in err, err  # its flags have been read by then
        if program == "experiments.train":
            (_, *rest), overrides = command_line.split_overrides(["", *arguments])
            given = dict(each.removeprefix("--").split("=", 1) for each in rest)
            config = command_line.load_config(given["config"])
            for override in overrides:
                command_line.override(config, *override)
            save_resolved(config, Path(given["workdir"]) / "config.json")
    for value in KNOWN[name].values.values():
        assert value.tolerance > 0
        folder = "/".join(value.read[0].split("/")[:2]).removesuffix(".json")
        assert folder == figures.PRINTED or any(folder in command for command in commands), value.read
