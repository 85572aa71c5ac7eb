"""One of each kind is added to a copy of the tree: a new file, the line that CONTRIBUTING names, and its tests.

The contract tests then find it by that line, and fail without it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from adding.toys import TOYS, Toy

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("schedules", "solvers", "guidance", "weightings", "metrics", "networks")
LISTED = "tests/docs/test_public_api.py::test_everything_public_is_listed_and_documented"
OFFERED = [f"{LISTED}[scorekit.{package}]" for package in PACKAGES]
FOUND = [
    *OFFERED,
    "tests/test_arguments.py::test_every_public_function_has_a_row_or_a_reason",
    "tests/schedules/test_schedules.py::test_every_schedule_has_a_case",
    "tests/solvers/test_base.py::test_docstring_lists_every_solver_with_its_properties",
    "tests/solvers/test_base.py::test_the_order_of_every_solver_is_measured",
    "tests/docs/test_docs.py::test_every_rule_is_on_the_page_of_guidance",
]
"""Tests that look for what is missing."""
CONTRACTS = {
    "schedule": "tests/schedules/test_schedules.py",
    "solver": "tests/solvers/test_base.py tests/solvers/test_orders.py",
    "guidance rule": "tests/guidance/test_identities.py tests/guidance/test_toy_rule.py",
    "weighting": "tests/test_weightings.py",
    "metric": "tests/metrics/test_toy_metric.py",
    "network": "tests/networks/test_denoising_networks.py tests/networks/test_precision_under_x64.py",
}
"""Tests that run on each of a kind; besides, layers, examples and hostile arguments do."""
EVERYWHERE = "tests/test_layers.py tests/test_arguments.py tests/docs/test_doctests.py"
IN_CONFIGS = """
from experiments.models import choices, rule_choices, sampling

named = choices.SCHEDULES, choices.WEIGHTINGS, choices.NETWORKS, rule_choices.RULES, sampling.SOLVERS
assert all("toy" in names for names in named), [sorted(names) for names in named]
"""


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # of no worker
    return subprocess.run([sys.executable, *arguments], cwd=root, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree with the files of all toys."""
    root = tmp_path_factory.mktemp("copy") / "tree"
    left_out = shutil.ignore_patterns("__pycache__", "golden", "runs", "images", "_build", "reference", "*.pyc")
    for folder in ("scorekit", "experiments", "tests", "docs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=left_out)
    for file in ("setup.cfg", "pyproject.toml", "CONTRIBUTING.md", "README.md"):
        shutil.copy(ROOT / file, root / file)
    for toy in TOYS.values():
        for path, text in toy.files.items():
            assert not (root / path).exists()
            (root / path).write_text(dedent(text).lstrip())
    return root


def touched(toy: Toy) -> set[str]:
    return {*toy.files, *(line.path for line in toy.lines)}


@pytest.mark.parametrize("kind", TOYS)
def test_one_of_a_kind_is_two_files_and_its_tests(kind):
    toy = TOYS[kind]
    assert 1 <= len(touched(toy)) <= 2
    assert all(path.startswith("scorekit/") for path in touched(toy))
    assert toy.tests or toy.test_lines


@pytest.mark.slow
def test_one_of_each_kind_is_found_by_its_line_and_keeps_the_contracts(tree):
    pytest_of = lambda *arguments: run(tree, "-m", "pytest", "-n", "0", "-q", "-rA", "-m", "", *arguments).stdout
    missing = pytest_of(*OFFERED)
    for package in ("schedules", "solvers", "guidance", "metrics", "networks"):
        assert re.search(rf"toy: (toy|Toy) is not offered by scorekit\.{package}", missing), missing
    for toy in TOYS.values():
        for line in toy.lines:
            line.add(tree)
    lacking = pytest_of(*FOUND)
    failed = set(re.findall(r"^FAILED (\S+)", lacking, re.MULTILINE))
    assert failed == {test for test in FOUND[len(OFFERED) :] if "docstring" not in test and "page" not in test}, lacking
    for toy in TOYS.values():
        for path, text in toy.tests.items():
            (tree / path).write_text(dedent(text).lstrip())
        for line in toy.test_lines:
            line.add(tree)
    complete = pytest_of(*FOUND)
    assert "FAILED" not in complete, complete
    files = " ".join([EVERYWHERE, *CONTRACTS.values()]).split()
    found = pytest_of("-k", "toy", *files)
    assert "FAILED" not in found, found
    assert "ERROR" not in found, found
    passed = re.findall(r"^PASSED (\S+?)::", found, re.MULTILINE)
    for kind, tests in CONTRACTS.items():
        assert set(tests.split()) <= set(passed), kind
    named = run(tree, "-c", IN_CONFIGS)
    assert named.returncode == 0, named.stderr
