"""The tables for users of other packages: what they name exists, takes these arguments, and gives the same numbers."""

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import ports_pages, random_tensors

import scorekit as sk

ROOTS = {"sk": "scorekit", "schedule": "scorekit.typing.Schedule", "solver": "scorekit.solvers.SolverBase"}
FOLDER = Path(__file__).parents[2] / "docs" / "coming_from"
PAGES = sorted(FOLDER.glob("*.md"))
LEAST_ROWS = 25


def rows(page: Path) -> list[tuple[str, str, str]]:
    """(theirs, ours, note) of every row of the tables whose second column is headed "here" and the third "note"."""
    found, inside = [], False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if cells[1:] == ["here", "note"]:
            inside = True
        elif inside and cells and not set(line) <= set("|- "):
            found.append((cells[0], cells[1].rstrip(" |"), cells[2].rstrip(" |") if len(cells) > 2 else ""))
        inside = inside and bool(cells)
    return found


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def named(path: str):
    """The object of this name; an attribute comes before a module of the same name."""
    first, *rest = path.split(".")
    thing, so_far = importlib.import_module(first), first
    for part in rest:
        so_far += f".{part}"
        thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(so_far)
    return thing


def problems(cell: str) -> list[str]:
    """What is wrong with a cell of ours, which names functions, classes, programs or fields; "–" says there is none.

    Fields are tested with those of the README (``test_readme.py``).
    """
    wrong = []
    for span in spans(cell):
        if span.startswith("experiments."):
            if importlib.util.find_spec(span) is None:
                wrong.append(f"no program {span}")
        elif not span.startswith("--config."):
            wrong += calls(span)
    if not spans(cell) and cell != "–":
        wrong.append(f"names nothing: {cell!r}")
    return wrong


def calls(span: str) -> list[str]:
    """What is wrong with the names in an expression that begin with one of ``ROOTS``, and with their arguments."""
    wrong = []

    def resolve(node):
        name = ast.unparse(node)
        root, _, rest = name.partition(".")
        if root not in ROOTS:
            return None
        try:
            return named(f"{ROOTS[root]}.{rest}" if rest else ROOTS[root])
        except ModuleNotFoundError:
            wrong.append(f"no {name}")
            return None

    inner = set()
    for node in ast.walk(ast.parse(span, mode="eval")):
        if isinstance(node, ast.Call) and (thing := resolve(node.func)) is not None:
            inner |= set(ast.walk(node.func))
            itself = [] if span.startswith("sk.") else [None]  # a method of the reader's object
            try:
                inspect.signature(thing).bind(*itself, *node.args, **{k.arg: k.value for k in node.keywords})
            except TypeError as error:
                wrong.append(f"{span}: {error}")
        elif isinstance(node, ast.Attribute) and node not in inner:
            inner |= set(ast.walk(node))
            resolve(node)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_the_tables_name_of_ours_exists(page):
    found = rows(page)
    assert len(found) >= LEAST_ROWS, len(found)
    assert [problem for _, ours, _ in found for problem in problems(ours)] == []


# ---- the same numbers ---------------------------------------------------------------------------------------


@functools.cache
def code_of(package):
    """What the code under "The same numbers" defines above the sampling."""
    text = (FOLDER / f"{package}.md").read_text().partition("## The same numbers")[2]
    names: dict = {}
    exec(re.findall(r"^```python\n(.*?)^noise = ", text, re.DOTALL | re.MULTILINE)[0], names)
    return names


def sampled(monkeypatch, denoiser, schedule, solver, x, ts, draws):
    """``sk.sample`` with the noise that the other package has drawn."""
    if not solver.stochastic:
        return jax.jit(sk.sample)(denoiser, schedule, solver, x, ts)
    noise = draws.standard_normal((len(ts) - 1, 1 + getattr(solver, "num_corrections", 0), *x.shape))

    def step(carry, inputs):
        row, noise = inputs[0], iter(inputs[1])
        for module in (sk.solvers._base, sk.solvers.corrected):
            monkeypatch.setattr(module, "normal_like", lambda key, like: next(noise))
        found = solver.step(carry[1], carry[0], row, denoiser, key=jax.random.key(0))
        assert next(noise, None) is None, "not all of the noise is used"
        return found, None

    run = lambda x, ts: jax.lax.scan(step, (x, solver.init(x)), (solver.plan(schedule, ts), noise))[0][0]
    return jax.jit(run)(x, ts)


PORTS = [(page.stem, *row) for page in PAGES for row in ports_pages.rows(page.stem)]


@pytest.mark.slow
@pytest.mark.parametrize(("package", "theirs", "ours", "printed"), PORTS, ids=[f"{row[0]}: {row[1]}" for row in PORTS])
def test_calls_give_the_numbers_of_the_other_package(monkeypatch, package, theirs, ours, printed):
    """In float64, with the code of the page, to the difference that the row prints."""
    golden, draws = random_tensors.load(f"ports_{package}")[2], np.random.RandomState(0)
    golden = {name.removeprefix(f"{theirs} "): value for name, value in golden.items() if name.startswith(f"{theirs} ")}
    with jax.enable_x64(True):
        names = code_of(package) | {"scheduler": SimpleNamespace(**golden)}
        solver, grid, *last = spans(ours)
        solver, ts = eval(solver, names), jnp.asarray(eval(grid, names))
        start = draws.standard_normal(ports_pages.SHAPE)
        if package in ("edm", "k_diffusion", "score_sde"):
            start = start * names["schedule"].sigma(1.0)
        if "corrected" in golden:
            start, _ = golden["corrected"], draws.standard_normal(start.shape)
        x = jnp.asarray(start)
        if "invert" not in ours:  # there the start is data
            x = sampled(monkeypatch, names["denoiser"], names["schedule"], solver, x, ts, draws)
        for end in last:
            x = jax.jit(lambda x, ts, end=end: eval(end, names | {"x": x, "ts": ts, "solver": solver}))(x, ts)
        difference = np.max(np.abs(x - golden["x"]))
    assert difference <= float(printed) <= 1e-5, difference


@pytest.mark.external
def test_pairs_states_and_losses_of_flow_matching_are_those_of_torchcfm():
    torchcfm, torch = pytest.importorskip("torchcfm"), pytest.importorskip("torch")
    draws = np.random.RandomState(0)
    noise, data, t = draws.standard_normal((16, 2)), 1.0 + draws.standard_normal((16, 2)), draws.uniform(size=16)
    plan = torchcfm.OTPlanSampler("exact").get_map(*map(torch.from_numpy, (noise, data)))
    sample = torchcfm.ConditionalFlowMatcher().sample_location_and_conditional_flow
    with jax.enable_x64(True):
        eps = sk.interpolants.couplings.pair(data, noise, sk.training.optimal_assignment)
        np.testing.assert_array_equal(eps, noise[plan.argmax(axis=0)])
        x_t, velocity = map(np.asarray, sample(*map(torch.tensor, (np.array(eps), data, t)))[1:])
        names, times = code_of("flow_matching"), sk.times.Times(jnp.asarray(1 - t), jnp.ones(16))
        np.testing.assert_allclose(sk.process.perturb(names["schedule"], data, eps, times.t), x_t, atol=1e-14)
        loss = np.square(names["model"](jnp.asarray(x_t), jnp.asarray(t)) - velocity).mean(axis=1)
        options = {"target": "velocity", "weighting": sk.weightings.flow}
        ours, _ = sk.losses.denoising_loss_at(names["network"], names["schedule"], data, eps, times, **options)
    np.testing.assert_allclose(ours, loss, rtol=1e-12)
