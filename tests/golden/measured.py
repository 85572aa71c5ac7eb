"""The lists of ``baseline.py`` that are computed: bounds of arguments, rows and samples of solvers, traces, times."""

import functools
import itertools
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

DTYPES = ("float32", "float64")


# ---- bounds ----------------------------------------------------------------------------------------------------------


def hostile():
    """The rows of hostile arguments. Follows the tree."""
    from valid_calls import rows
    from valid_calls.kinds import Argument, Attack, Number, attacks, attempt

    for name, row in sorted(rows().items()):
        described = {k: a for k, a in row.arguments.items() if isinstance(a, Argument)}
        small = [k for k, a in described.items() if isinstance(a, Number) and np.ndim(a.value) == 0 and a.value < 20]
        values = (-1e-6, 0.0, 1e-6, 1 - 1e-6, 1.0, 1 + 1e-6)
        probes = [Attack(argument, f"probe {value}", value) for argument in small for value in values]
        yield name, described, ((attack, attempt(row, attack)) for attack in [*attacks(row), *probes])


def bounds():
    """By public name and argument: its kind, the values that are tried, and the message or the documented answer."""
    simple = lambda value: value if isinstance(value, int | float | str | None) else type(value).__name__
    found = {}
    for name, described_arguments, outcomes in hostile():
        print(name, file=sys.stderr, flush=True)
        for argument, a in described_arguments.items():
            own = {k: simple(v) for k, v in vars(a).items() if k not in ("answered", "alias", "of")}
            found[f"{name}({argument})"] = {
                "kind": type(a).__name__,
                **own,
                "documented": {name: a.answered for name in a.documented},
            }
        for attack, outcome in outcomes:
            answer = [simple(attack.value), outcome.verdict, outcome.text if outcome.verdict != "silent" else ""]
            found[f"{name}({attack.argument})"][attack.name] = answer
    return found


# ---- rows and samples of solvers -------------------------------------------------------------------------------------

GRIDS = {"to 0": (1.0, 0.9, 0.6, 0.3, 0.05, 0.0), "inside": (0.95, 0.8, 0.7, 0.4, 0.2, 0.1)}
SLOW = ("functions", "functions_log_snr")  # as functions_time_at, but compiled anew by every call
SAMPLED = ("linear_vp", "cosine", "edm", "rectified_flow")


def rows():
    """``plan`` of every solver on every schedule, and samples of an exact model: arrays by name, both precisions."""
    from solver_table import NAMES, TIMES, WHOLE_GRID, build
    from tables import SCHEDULES

    from scorekit import densities, samplers
    from scorekit.denoisers import exact_denoiser

    data = densities.ring(num_modes=3, std=0.3)

    def samples(solver, cases, grids):
        """Of one solver, as one program."""
        found = {}
        for (key, schedule), (grid, ts) in itertools.product(cases.items(), grids.items()):
            x = jnp.asarray([[0.3, -0.8], [1.1, 0.2]], ts.dtype) * schedule.sigma(ts[0]).astype(ts.dtype)
            denoiser = exact_denoiser(data, schedule)
            found[f"{key}/{grid}: sample"] = samplers.sample(jax.random.key(0), denoiser, schedule, solver, x, ts)
        return found

    everything = {}
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            cases = {key: case.make() for key, case in SCHEDULES.items() if key not in SLOW}
            for name in NAMES:
                print(name, dtype, f"{time.process_time():.0f}", file=sys.stderr, flush=True)
                whole, solver, found = name in WHOLE_GRID, build(name), {}
                grids = {grid: jnp.asarray(ts, dtype) for grid, ts in ({"own": TIMES} if whole else GRIDS).items()}
                for key, grid in itertools.product(("cosine",) if whole else cases, grids):
                    try:
                        plan = solver.plan(cases[key], grids[grid])
                    except ValueError as error:
                        found[f"{key}/{grid}: {' '.join(str(error).split())[:150]}"] = np.zeros(0)
                        continue
                    for path, leaf in jax.tree_util.tree_leaves_with_path(plan):
                        found[f"{key}/{grid}{jax.tree_util.keystr(path)}"] = leaf
                chosen = {key: cases[key] for key in (SAMPLED if not whole else ("cosine",)) if name != "DPS"}
                found |= jax.jit(samples)(solver, chosen, dict([*grids.items()][:1]))
                everything |= {f"{dtype}/{name}/{key}": np.asarray(value) for key, value in found.items()}
    return everything


# ---- traces and times ------------------------------------------------------------------------------------------------


def traces():
    """How often a network is traced by a first call under jit, and by one with other hyper-parameter values."""
    import optax
    from rule_table import BASES, RULES, build
    from solver_table import NAMES, WHOLE_GRID, has_parameter
    from solver_table import build as build_solver

    from scorekit import likelihood, losses, samplers, schedules, times, training, weightings
    from scorekit.denoisers import denoiser_from_network

    count = []

    def network(x, t):
        count.append(t)
        return jnp.tanh(x)

    def counted(function, *values):
        called, found = jax.jit(function), []
        for value in values:
            count.clear()
            jax.block_until_ready(called(*value))
            found.append(len(count))
        return found

    found, key, x = {}, jax.random.key(0), jnp.ones((2, 4, 3))
    ts = jnp.linspace(0.9, 0.0, 4)
    for name in (n for n in NAMES if n not in WHOLE_GRID and n != "DPS"):
        eta = has_parameter(name, "eta")

        def draw(number, name=name, eta=eta):
            schedule = schedules.linear_vp(beta_max=10 * number)
            solver = build_solver(name, **({"eta": number} if eta else {}))
            return samplers.sample(key, denoiser_from_network(network, schedule, "v"), schedule, solver, x, ts)

        found[f"sample: {name}"] = counted(draw, (0.5,), (0.7,))
    for name in RULES:

        def guided(number, name=name):
            schedule = schedules.cosine(0.01 * number)
            branch = lambda: denoiser_from_network(network, schedule, "v")
            parts = dict.fromkeys(("cond", "uncond", "weak", "unwanted", "plain", "denoiser"), branch())
            parts |= {
                "schedule": schedule,
                "guidance_scale": number,
                "log_likelihood": lambda x, t: -jnp.sum(x**2, (1, 2)),
            }
            solver = build_solver("DPMSolverPP2M")
            return samplers.sample(key, build(name, parts), schedule, solver, x, ts)

        found[f"guided: {name} ({'base' if name in BASES else 'wrapper'})"] = counted(guided, (0.5,), (0.7,))

    def loss(number, target, weighting, argument):
        schedule, weighting = (
            schedules.linear_vp(beta_max=10 * number),
            functools.partial(weighting, **{argument: number}),
        )
        drawn = times.uniform(0.1 * number, 1.0)
        return losses.denoising_loss(key, network, schedule, x, target=target, weighting=weighting, times=drawn)[0]

    hyper = (("min_snr", "gamma"), ("p2", "gamma"), ("edm", "sigma_data"), ("sigmoid", "bias"))
    for target in ("v", "eps", "x0", "velocity"):
        for name, argument in hyper:
            run = functools.partial(loss, target=target, weighting=getattr(weightings, name), argument=argument)
            found[f"denoising_loss: {target}, {name}"] = counted(run, (0.5,), (0.7,))

    def solved(function, number):
        schedule = schedules.linear_vp(beta_max=10 * number)
        x_ = x[:, 0, :2]
        return function(denoiser_from_network(network, schedule, "v"), schedule, x_, rtol=1e-2 * number, atol=1e-2)

    density = functools.partial(likelihood.log_likelihood, None)
    for name, function in {"adaptive_ode": samplers.adaptive_ode, "log_likelihood": density}.items():
        found[name] = counted(functools.partial(solved, function), (0.5,), (0.7,))

    def example_loss(params, batch):
        return jnp.sum((network(batch["x"], 0.0) - params) ** 2, axis=1), {}

    optimizer = optax.inject_hyperparams(optax.adam)(1e-3)
    step = training.make_train_step(lambda key, batch: batch, example_loss, optimizer, mesh=training.make_mesh(1))
    state, counts = training.init_state(key, jnp.ones(3), optimizer, (0.9,)), []
    for _ in range(3):
        count.clear()
        state, _ = step(state, {"x": np.ones((4, 3), np.float32)})
        counts.append(len(count))
    found["train step: three steps"] = counts
    return found


def times():
    """CPU time of eager calls, over that of a thousand eager ``jnp.sin`` in the same process; the least of seven."""
    from scorekit import losses, samplers, schedules, solvers
    from scorekit.denoisers import denoiser_from_network

    schedule, x, key = schedules.cosine(), jnp.ones((4, 3)), jax.random.key(0)
    network = lambda x, t: x
    ts = solvers.grids.uniform(8)
    calls = {
        "sample, 8 steps": lambda: samplers.sample(
            key, denoiser_from_network(network, schedule, "v"), schedule, solvers.DPMSolverPP2M(), x, ts
        ),
        "denoising_loss": lambda: losses.denoising_loss(key, network, schedule, x, target="v")[0],
        "1,000 schedule calls": lambda: [schedule.alpha(0.5) for _ in range(1000)],
        "1,000 solvers with a bound": lambda: [solvers.Ancestral(eta=0.5) for _ in range(1000)] and 0,
    }
    unit = lambda: [jnp.sin(0.5) for _ in range(1000)]

    def least(function):
        taken = []
        for _ in range(7):
            start = time.thread_time()
            jax.block_until_ready(function())
            taken.append(time.thread_time() - start)
        return min(taken)

    reference = least(unit)
    return {name: round(least(call) / reference, 4) for name, call in calls.items()}


MEASURED = (bounds, rows, traces, times)
