"""The layers of experiments: imports go down only, tasks and projects can be deleted, and few modules take a config."""

import ast
import re
from pathlib import Path

import pytest
from test_layers import ROOT, imports

EXPERIMENTS = ROOT.parent / "experiments"
ORDER = (
    ("cli",),
    ("data",),
    ("models",),
    ("training",),
    ("reporting",),
    ("tasks",),
    ("configs",),
    ("projects",),
    ("planning",),
    ("benchmarks",),
)
TASKS = {path.name for path in (EXPERIMENTS / "tasks").iterdir() if any(path.glob("*.py"))}
OTHER_TASKS = {task: TASKS - {task, *(["diffusion"] if task != "contrastive" else [])} for task in TASKS}
"""The tasks that a task may not import."""
RANK = {package: rank for rank, packages in enumerate(ORDER) for package in packages}
MOST_PROGRAMS, LONGEST_PROGRAM = 16, 130
Sources = dict[str, str]
"""The source of each module by its name, with ``experiments.cli.__init__`` for a package."""


def sources(root: Path = EXPERIMENTS) -> Sources:
    names = {path: ".".join(path.relative_to(root.parent).with_suffix("").parts) for path in sorted(root.rglob("*.py"))}
    return {name: path.read_text() for path, name in names.items()}


def edges(found: Sources) -> dict[str, set[str]]:
    """The modules of ``found`` that each of them imports; of a package, its ``__init__``."""

    def resolve(name: str) -> str | None:
        while name:
            for candidate in (name, f"{name}.__init__"):
                if candidate in found:
                    return candidate
            name = name.rpartition(".")[0]
        return None

    graph = {}
    for module, source in found.items():
        targets = {resolve(name) for name in imports(source, module) if name.split(".")[0] == "experiments"}
        graph[module] = {target for target in targets if target is not None} - {module}
    return graph


def package_violations(found: Sources) -> list[str]:
    """The imports of experiments that do not go down, and the parts of the tree that have no place in the order."""
    wrong = []
    for module, source in found.items():
        _, package, *inner = module.split(".")
        rank = RANK.get(package, -1) if inner else len(ORDER)  # a program at the top imports anything
        if rank < 0:
            wrong.append(f"{module} is in a package without a place in the order")
        for name in imports(source, module):
            top, *rest = name.split(".")
            if top != "experiments":
                continue
            if not rest or rest[0] not in RANK:
                wrong.append(f"{module} imports {name}, which is in no package")
            elif rest[0] == "projects" and package in ("projects", "benchmarks") and rest[1:2] != inner[:1]:
                wrong.append(f"{module} imports {name}, of another project")
            elif not (RANK[rest[0]] < rank or (inner and rest[0] == package)):
                wrong.append(f"{module} imports {name}")
            elif package == rest[0] == "tasks" and inner[1:] and {*rest[1:2]} & OTHER_TASKS[inner[0]]:
                wrong.append(f"{module} imports {name}, of another task")
    return wrong


def private_imports(found: Sources) -> list[str]:
    """The imports of modules and names of scorekit that begin with an underscore."""
    return [
        f"{module} imports the private {name}"
        for module, source in found.items()
        for name in imports(source, module)
        if name.split(".")[0] == "scorekit" and any(re.match("_[^_]", part) for part in name.split("."))
    ]


def cycle(found: Sources) -> list[str]:
    """Modules that import one another in a circle, or nothing."""
    graph, done = edges(found), set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph[module]):
            if circle := visit(target, [*path, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in found if (circle := visit(module, []))), [])


def program_violations(found: Sources) -> list[str]:
    """What is wrong with the programs at the top of the tree."""
    programs = {module: source for module, source in found.items() if module.count(".") == 1}
    programs.pop("experiments.__init__", None)
    wrong = [] if len(programs) <= MOST_PROGRAMS else [f"{len(programs)} programs, more than {MOST_PROGRAMS}"]
    for module, source in programs.items():
        if (lines := len(source.splitlines())) > LONGEST_PROGRAM:
            wrong.append(f"{module} has {lines} lines, more than {LONGEST_PROGRAM}")
        if not any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(source).body):
            wrong.append(f"{module} has no main")
    return wrong


def test_imports_of_experiments_go_down_only():
    assert package_violations(sources()) == []


def dependents(found: Sources) -> dict[str, set[str]]:
    """The modules outside of each task but the diffusion, and of each project, that import it."""
    outside: dict[str, set[str]] = {}
    for module, targets in edges(found).items():
        for target in targets:
            _, kind, *inner = target.split(".")
            part = f"experiments.{kind}.{inner[0]}." if len(inner) > 1 and kind in ("tasks", "projects") else ""
            if part and part != "experiments.tasks.diffusion." and not module.startswith(part):
                outside.setdefault(part, set()).add(module)
    return outside


def test_a_task_or_a_project_can_be_deleted():
    """With its configs, benchmarks and the projects on it; its line in a table names it as text."""
    allowed = ("experiments.projects.", "experiments.configs.", "experiments.benchmarks.")
    left = {
        part: {module for module in on_it if not module.startswith(allowed)}
        for part, on_it in dependents(sources()).items()
    }
    assert not any(left.values()), left
    chain = {"experiments.sample": "from experiments.tasks.flows import task", "experiments.tasks.flows.task": ""}
    assert dependents(chain) == {"experiments.tasks.flows.": {"experiments.sample"}}


BELOW = ("data", "models", "reporting", "training", "tasks.diffusion")
TAKE_CONFIGS = {
    "data.__init__": "from a config to its data",
    "models.run_files": "the meaning of weights is fields of a config",
    "training.__init__": "the optimiser",
    "training.loop": "the run",
    "training.run": "the run",
    **{f"tasks.diffusion.{name}": "from a config to a model" for name in ("build", "checks", "task")},
    **{f"tasks.diffusion.{name}": "what a config leaves unset" for name in ("fine_tuning", "own_images")},
    **{f"tasks.diffusion.{name}": "opens runs" for name in ("inverse.editing", "model_card", "runs", "tuning")},
    **{f"tasks.diffusion.metrics.{name}": "metrics of a run" for name in ("__init__", "exact", "fid", "run_metrics")},
}
"""The modules of these packages with a function that takes a config, and why."""


def with_configs(found: Sources) -> set[str]:
    """The modules with a parameter that is a config."""
    taking = re.compile(r"\b(config|options): Config\b|^def \w+\(config\b", re.MULTILINE)
    return {module.removeprefix("experiments.") for module, source in found.items() if taking.search(source)}


def test_below_what_builds_a_run_no_function_takes_a_config():
    taking = {module for module in with_configs(sources()) if module.startswith(BELOW)}
    assert taking == set(TAKE_CONFIGS)
    assert with_configs({"experiments.a": "def f(x, config: Config): ...", "experiments.b": "config = 1"}) == {"a"}


def test_reports_know_nothing_of_models_and_evaluations():
    mine = {module: source for module, source in sources().items() if module.startswith("experiments.reporting.")}
    below = {
        name.split(".")[1]
        for module, source in mine.items()
        for name in imports(source, module)
        if "experiments." in name
    }
    assert below <= {"cli", "data", "training", "reporting"}


def test_experiments_use_public_names_of_scorekit():
    assert private_imports(sources()) == []


@pytest.mark.parametrize("path", [*ROOT.parent.glob("colabs/*.ipynb"), *ROOT.parent.glob("docs/**/*.md")], ids=str)
def test_notebooks_and_pages_use_public_names_of_scorekit(path):
    assert re.findall(r"(?:scorekit|sk)(?:\.\w+)*(?:\.| import )_[a-z]\w*", path.read_text()) == []


def test_no_modules_of_experiments_import_one_another_in_a_circle():
    assert cycle(sources()) == []


def test_programs_at_the_top_are_few_and_short_and_have_a_main():
    found = sources()
    assert "experiments.train" in found
    assert program_violations(found) == []


def test_every_package_of_experiments_exists_and_has_a_place():
    packages = {path.name for path in EXPERIMENTS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert packages == set(RANK)


CHECKS = {
    "packages": lambda source, module: package_violations({module: source}),
    "names": lambda source, module: private_imports({module: source}),
}
WRONG = {
    "packages": {
        "from experiments.data import images": "experiments.cli.config",
        "from experiments.tasks.diffusion import loss": "experiments.training.loop",
        "import experiments.training.loop": "experiments.models.run_files",
        "from experiments.configs import base": "experiments.tasks.diffusion.runs",
        "def f():\n    from experiments.configs.images import digits": "experiments.reporting.tables",
        "from experiments.projects.ood.scores import score": "experiments.projects.audio.sound.vocode",
        "from experiments import train": "experiments.projects.denoising.autoencoder",
        "from experiments.sample import main": "experiments.benchmarks.cost",
        "from experiments import sample": "experiments.train",
        "from ..models import choices": "experiments.data.images",
        "from experiments.projects.audio.sound.runs import hidden": "experiments.benchmarks.cost",
        "import jax": "experiments.misc.tools",
    },
    "names": {
        "from scorekit._files import read_file": "experiments.tasks.diffusion.sampling",
        "from scorekit.networks.dit import DiT, _Block": "experiments.tasks.diffusion.sampling",
        "import scorekit.checks._shapes": "experiments.tasks.diffusion.sampling",
    },
}
"""Sources, each with one violation, and the modules that they may not stand in."""
RIGHT = {
    "packages": {
        "from experiments.models import run_files\nfrom experiments.training import run": "experiments.training.loop",
        "from experiments import data, training\nfrom experiments.configs import base": "experiments.train",
        "from experiments.tasks.diffusion.inverse import methods\nimport jax": "experiments.projects.ood.scores",
    },
    "names": {
        "from scorekit.solvers import grids\nfrom scorekit import __version__": "experiments.tasks.diffusion.sampling",
        "from jax import _src": "experiments.tasks.diffusion.sampling",
    },
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_can_fail_and_pass(check):
    counts = {source: len(CHECKS[check](source, module)) for source, module in WRONG[check].items()}
    assert counts == dict.fromkeys(WRONG[check], 1)
    assert [found for source, module in RIGHT[check].items() for found in CHECKS[check](source, module)] == []


def test_the_checker_of_circles_can_fail():
    chain = {
        "experiments.data.__init__": "from experiments.data import sounds",
        "experiments.data.sounds": "from experiments.data.display import View",
        "experiments.data.display": "",
    }
    assert cycle(chain) == []
    chain["experiments.data.display"] = "def f():\n    from experiments.data import notes"
    assert cycle(chain) == [f"experiments.data.{name}" for name in ("__init__", "sounds", "display", "__init__")]


def test_the_checker_of_programs_can_fail():
    program = "def main(config):\n    pass\n"
    assert program_violations({"experiments.a": program, "experiments.cli.b": "x = 1"}) == []
    assert program_violations({"experiments.a": "x = 1"}) == ["experiments.a has no main"]
    assert "more than 130" in program_violations({"experiments.a": program + 129 * "\n"})[0]
    assert "more than 16" in program_violations({f"experiments.p{i}": program for i in range(17)})[0]
