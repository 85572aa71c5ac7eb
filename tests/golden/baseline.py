"""What a refactor must leave as it is, as lists: messages, tests, configs, arguments, bounds, rows, traces, times.

    python tests/golden/baseline.py write [list …]       # into tests/golden/baseline/, an entry a line
    python tests/golden/baseline.py compare [list …]     # prints what is missing (-), new (+) and changed (~)

A list is a function here that returns entries by name. Where a later tree has another interface, its function follows
it (``kinds`` and ``hostile`` are the only ones that use what is not public); the stored lists stay as they were.
Numbers of ``rows`` are equal to 1e-6, of ``samples`` to 1e-5; ``times`` are measured, and shown where 15 % longer.
"""

import argparse
import ast
import functools
import importlib
import inspect
import itertools
import json
import lzma
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import jax  # noqa: E402
import ml_collections  # noqa: E402
import numpy as np  # noqa: E402
from measured import DTYPES, MEASURED  # noqa: E402

FOLDER = Path(__file__).parent / "baseline"
jax.config.update("jax_disable_most_optimizations", True)


# ---- messages and tests ----------------------------------------------------------------------------------------------


def text_of(node):
    """A string, with ``{}`` for what is put into it; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.escape":
        return text_of(node.args[0])
    return None


def quoted(tree):
    """The messages that code quotes: ``match=…``, ``… in err``, ``str(error) == …``, and columns of parametrize."""
    about = r"err|caught|message|raised|warn|out\b|text"
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Module)):
        names = set()
        for node in ast.walk(function) if isinstance(function, ast.FunctionDef) else top(function):
            found = [k.value for k in node.keywords if k.arg == "match"] if isinstance(node, ast.Call) else []
            compares = isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.In)
            if compares and re.search(about, ast.unparse(node)):
                found += [node.left, *node.comparators]
            names |= {each.id for each in found if isinstance(each, ast.Name)}
            yield from (text for each in found if (text := text_of(each)) and " " in text)
        for decorator in getattr(function, "decorator_list", ()):
            if "parametrize" in ast.unparse(decorator) and names & set(re.findall(r"\w+", ast.unparse(decorator))):
                yield from (text for n in ast.walk(decorator) if (text := text_of(n)) and text.count(" ") > 1)


def top(module):
    """The nodes of a module that are in no function."""
    return (n for each in module.body if not isinstance(each, ast.FunctionDef) for n in ast.walk(each))


def messages():
    """Error messages that tests, pages and docstrings quote, with the files that do."""
    found = {}
    for path in sorted([*ROOT.glob("tests/**/*.py"), *ROOT.glob("scorekit/**/*.py"), *ROOT.glob("experiments/**/*.py"),
                        *ROOT.glob("docs/**/*.md"), ROOT / "README.md"]):  # fmt: skip
        text, name = path.read_text(), str(path.relative_to(ROOT))
        if {"golden", "_build", "reference"} & {*path.parts}:
            continue
        if path.suffix == ".md":
            spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
            said = r"must be|is not|are not|is damaged|were drawn|error: |warning: |waited for"
            here = [span for span in spans if re.search(said, span) and path.name != "config.md"]
            for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
                here += quoted(ast.parse(block))
        else:
            here = list(quoted(ast.parse(text))) if path.parts[len(ROOT.parts)] == "tests" else []
        here += re.findall(r"^\s*(?:[\w.]*(?:Error|Warning)): (\S.* .*)$", text, re.MULTILINE)
        for message in here:
            found.setdefault(message, set()).add(name)
    return {message: sorted(names) for message, names in found.items()}


def tests():
    """Tests and their cases, and the assertions of each module."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=--import-mode=importlib"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    found = {}
    for line in out.splitlines():
        if "::" in line:
            module, _, test = line.partition("::")
            found.setdefault(module, {"assertions": 0, "tests": []})["tests"].append(test)
    for module in found:
        for node in ast.walk(ast.parse((ROOT / module).read_text())):
            called = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            counts = isinstance(node, ast.Assert) or called.startswith("assert_") or called in ("raises", "warns")
            found[module]["assertions"] += counts
        found[module]["tests"].sort()
    return found


# ---- configs ---------------------------------------------------------------------------------------------------------


def kinds():
    """The fields of every kind of config. Follows the tree."""
    from experiments import tasks
    from experiments.cli.fields import Section
    from experiments.configs.ood import ood_digits
    from experiments.training import students

    names = {"diffusion": "base", "autoencoder": "base_latent", "dual_encoder": "base_contrastive"}
    for name, task in tasks.TASKS.items():
        if name != "student":
            yield names.get(name, f"base_{name}"), task.fields()
    yield "ood", ood_digits.FIELDS
    for method, options in students.SECTIONS.items():
        yield f"distil {method}", Section(distillation=Section({**tasks.student.RECIPE, **options}))


def leaves(config, path=""):
    """Every field with its type and value."""
    for name in config:
        if isinstance(config[name], ml_collections.ConfigDict):
            yield from leaves(config[name], f"{path}{name}.")
        else:
            yield f"{path}{name}", config.get_type(name).__name__, config[name]


def plain(value):
    return "required" if value is inspect.Parameter.empty else value


def fields():
    """Every field of every kind of config: type, default, allowed values, meaning; and every choice with its fields."""
    found = {}
    of = lambda row: {"default": plain(row.default), "allowed": row.allowed, "meaning": row.meaning}
    for kind, section in kinds():
        for path, type_name, value in leaves(section.defaults()):
            found[f"{kind}: {path}"] = {"type": type_name, "default": value}
        for row in section.rows():
            entry = found.setdefault(f"{kind}: {row.path}", {})
            entry |= of(row)
            if row.choices:
                entry["choices"] = [choice.name for choice in row.choices]
            for choice in row.choices:
                found[f"{kind}: {row.path} = {choice.name}"] = {"meaning": choice.meaning}
                for a in choice.arguments:
                    found[f"{kind}: {row.path} = {choice.name}: {a.path}"] = of(a)
    return found


def configs():
    """What every config file sets: its fields that are not unset."""
    found = {}
    for path in sorted((ROOT / "experiments" / "configs").glob("*/*.py")):
        if path.stem != "__init__":
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            name = str(path.relative_to(ROOT / "experiments" / "configs"))
            found[name] = {field: value for field, _, value in leaves(module.get_config()) if value is not None}
    return found


# ---- public names and their arguments --------------------------------------------------------------------------------


def public():
    """Every public name of the library by its dotted path."""
    import scorekit

    modules = [scorekit]
    for info in pkgutil.walk_packages(scorekit.__path__, "scorekit."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            modules.append(importlib.import_module(info.name))
    return {f"{m.__name__}.{name}": getattr(m, name) for m in modules for name in getattr(m, "__all__", ())}


def described(text):
    """The descriptions in ``Args:`` and ``Attributes:`` of a docstring."""
    found = {}
    for block in re.findall(r"^ *(?:Args|Attributes):\n((?:(?:[ ]+.*)?\n?)+?)(?=^\S|\Z)", text, re.MULTILINE):
        for names, words in re.findall(r"^  (\*{0,2}\w[\w, *]*): ((?:.|\n(?!  \*{0,2}\w[\w, *]*: ))+)", block, re.M):
            found |= dict.fromkeys((name.strip(" *") for name in names.split(",")), " ".join(words.split()))
    return found


def parameters(value):
    """The arguments of a function or class with their defaults, as far as they have a short text."""
    try:
        given = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return []
    shown = lambda p: "" if p.default is p.empty else f"={re.sub(r' at 0x[0-9a-f]+', '', repr(p.default))[:60]}"
    return [f"{p.name}{shown(p)}" for p in given]


def arguments():
    """Public names with their arguments, and the meaning of each argument: in the docstring, else in the modules'."""
    found = {}
    for name, value in public().items():
        if inspect.ismodule(value) or not callable(value):
            found[name] = {"kind": type(value).__name__}
            continue
        found[name] = {"kind": "class" if inspect.isclass(value) else "function", "arguments": parameters(value)}
        of_module = {}
        for module in itertools.accumulate(getattr(value, "__module__", "").split("."), "{}.{}".format):
            of_module |= described(inspect.getdoc(sys.modules.get(module)) or "")
        meanings = described(inspect.getdoc(value) or "")
        for p in found[name]["arguments"]:
            argument = p.partition("=")[0]
            found[f"{name}({argument})"] = meanings.pop(argument, None) or of_module.get(argument, "")
        found |= {f"{name}.{field}": words for field, words in meanings.items()}
        for own, method in vars(value).items() if inspect.isclass(value) else ():
            if own[0] != "_" and inspect.isfunction(method):
                words = described(inspect.getdoc(method) or "")
                found |= {f"{name}.{own}({argument})": each for argument, each in words.items()}
    return found


# ---- files -----------------------------------------------------------------------------------------------------------

LISTS = {each.__name__: each for each in (messages, tests, fields, configs, arguments, *MEASURED)}


def as_json(value):
    return json.loads(json.dumps(value, ensure_ascii=False, default=list))


def save(name, found):
    FOLDER.mkdir(exist_ok=True)
    if name == "rows":
        flat = {d: [np.ravel(value) for key, value in found.items() if key.startswith(d)] for d in DTYPES}
        index = np.array(json.dumps({key: np.shape(value) for key, value in found.items()}))
        flat = {dtype: np.concatenate(values).astype(dtype) for dtype, values in flat.items()}
        np.savez_compressed(FOLDER / "rows.npz", index=index, **flat)
        return
    short = functools.partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
    text = "{\n" + ",\n".join(f"{short(k)}: {short(v)}" for k, v in sorted(as_json(found).items())) + "\n}\n"
    for path in FOLDER.glob(f"{name}.json*"):
        path.unlink()
    if len(text) < 20_000:
        (FOLDER / f"{name}.json").write_text(text)
    else:
        (FOLDER / f"{name}.json.xz").write_bytes(lzma.compress(text.encode(), preset=9))


def stored(name):
    if name == "rows":
        with np.load(FOLDER / "rows.npz") as file:
            flat, at, found = {dtype: file[dtype] for dtype in DTYPES}, dict.fromkeys(DTYPES, 0), {}
            index = json.loads(str(file["index"]))
        for key, shape in index.items():
            dtype = key.partition("/")[0]
            start, at[dtype] = at[dtype], at[dtype] + int(np.prod(shape))
            found[key] = flat[dtype][start : at[dtype]].reshape(shape)
        return found
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text() if path.exists() else lzma.decompress(Path(f"{path}.xz").read_bytes()))


def same(name, key, old, new):
    if name == "rows":
        tolerance = 1e-5 if key.endswith("sample") and key.startswith("float64") else 1e-6
        tolerance = 1e-3 if key.endswith("sample") and key.startswith("float32") else tolerance
        return old.shape == new.shape and np.allclose(old, new, rtol=tolerance, atol=tolerance, equal_nan=True)
    return new < 1.15 * old if name == "times" else old == new


def compare(name):
    """Prints the differences of a list; whether there are none."""
    old, new = stored(name), LISTS[name]()
    new = new if name == "rows" else as_json(new)
    lines = [f"- {key}" for key in old if key not in new] + [f"+ {key}" for key in new if key not in old]
    for key in old.keys() & new.keys():
        if not same(name, key, old[key], new[key]):
            shown = "" if name == "rows" else f": {str(old[key])[:300]} -> {str(new[key])[:300]}"
            lines.append(f"~ {key}{shown}")
    print(f"{name}: {len(old)} entries, {len(lines)} differences", *sorted(lines), sep="\n")
    return not lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("lists", nargs="*", help=f"of {', '.join(LISTS)}; all by default")
    given = parser.parse_args()
    if given.what == "write":
        for name in given.lists or LISTS:
            save(name, LISTS[name]())
            print(f"wrote {name}")
    elif not all([compare(name) for name in given.lists or LISTS]):
        sys.exit(1)


if __name__ == "__main__":
    main()
