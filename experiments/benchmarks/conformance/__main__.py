"""The checks of scorekit.conformance on six packages: a page of results for each, and a table of all.

    python -m experiments.benchmarks.conformance --packages=ours --workdir=runs/conformance
    python -m experiments.benchmarks.conformance --packages=diffusers --packages=azula --page=docs/conformance.md

Each package is run where it is installed (tests/golden/README.md names the environments), one environment after
another: ``--workdir`` keeps the results, and the table has all that are there. ``--page`` writes it into a page.
"""

import datetime
import importlib
import json
import re
import time
from importlib.metadata import version
from pathlib import Path

from absl import flags

from experiments.benchmarks.options import chosen
from experiments.cli import command_line
from experiments.cli import flags as shared
from scorekit.conformance import check

PACKAGES = ("ours", "diffusers", "k_diffusion", "azula", "diffrax", "hackable_diffusion")
KINDS = ("Schedule", "Loss", "Sampler", "TokenSampler", "Likelihood", "Posterior", "Metric")
_PACKAGES = flags.DEFINE_multi_enum("packages", ["ours"], PACKAGES, "Packages to check; repeat the flag.")
_ONLY = flags.DEFINE_list("only", None, "Names of what to check; everything by default.")
_WORKDIR = shared.out("Folder of the results.", "runs/conformance", "workdir")
_PAGE = flags.DEFINE_string("page", None, "Page whose table is replaced.")


def checked(name: str, folder: Path) -> dict:
    """Runs the checks of a package and writes its page and its results."""
    module, start = importlib.import_module(f"experiments.benchmarks.conformance.{name}"), time.process_time()
    found, title = module.subjects(), f"{module.NAME} {version(module.NAME)}"
    subjects = {key: found[key] for key in chosen("only", _ONLY.value or list(found), found)}
    report = check(title, subjects)
    print(f"{report}\n")
    report.save(folder / f"{name}.html")
    rows = [[type(subjects[each.subject]).__name__, *each[:3], each.subject] for each in report.checks]
    return {"title": title, "date": f"{datetime.date.today()}", "seconds": time.process_time() - start, "checks": rows}


def table(results: list[dict]) -> str:
    """How many subjects of each package pass each check, and all that fail, in Markdown."""
    names = {(kind, name) for each in results for kind, name, *_ in each["checks"] if name != "runs"}
    order = [row[:2] for each in results for row in each["checks"]]
    lines = [["check", *(each["title"] for each in results)], ["---"] * (len(results) + 1)]
    for kind, name in sorted(names, key=lambda key: (KINDS.index(key[0]), order.index(list(key)))):
        cells = [[row[2] for row in each["checks"] if row[:2] == [kind, name]] for each in results]
        counts = [(cell.count("pass"), len(cell) - cell.count("n/a")) for cell in cells]
        lines.append([f"{kind}: {name}", *(f"{passed} of {total}" if total else "–" for passed, total in counts)])
    lines.append(["CPU seconds", *(f"{each['seconds']:.0f}" for each in results)])
    lines.append(["date", *(each["date"] for each in results)])
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    failed = [
        f"- {each['title']}, {row[4]}: {row[3]}" for each in results for row in each["checks"] if row[2] == "fail"
    ]
    return f"{rows}\n\nAll that failed:\n\n" + "\n".join(failed)


def main(_) -> None:
    folder = shared.results_folder(_WORKDIR, kind="checks", continues=True)
    for name in _PACKAGES.value:
        (folder / f"{name}.json").write_text(json.dumps(checked(name, folder), indent=1))
    results = [json.loads(path.read_text()) for name in PACKAGES if (path := folder / f"{name}.json").exists()]
    print(table(results))
    if _PAGE.value:
        page, text = Path(_PAGE.value), f"<!-- conformance -->\n{table(results)}\n<!-- /conformance -->"
        page.write_text(re.sub(r"(?s)<!-- conformance -->.*<!-- /conformance -->", lambda _: text, page.read_text()))


if __name__ == "__main__":
    command_line.run(main)
