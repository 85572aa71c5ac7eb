"""The images of the README and of pages: samples of a run on digits, paths, errors, divergences, guidance.

python -m docs.figures runs/digits     (from the root of a checkout; three minutes)
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import scorekit as sk
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_score
from scorekit.solvers import grids

OUT = Path(__file__).parent / "images"
draw = jax.jit(sk.sample)
plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})


def save(figure, name: str) -> None:
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / name, dpi=110, bbox_inches="tight", pil_kwargs={"optimize": True})
    print(OUT / name, (OUT / name).stat().st_size // 1024, "kB")


def samples(workdir: Path) -> None:
    """A column of ten samples of each digit: ``experiments.sample --labels=0,1,2,3,4,5,6,7,8,9 --num=100``."""
    (path,) = sorted(workdir.glob("samples/*.npz"))[-1:]
    with np.load(path) as file:
        images, labels = np.asarray(file["x"]), np.asarray(file["label"])
    order = np.argsort(labels, kind="stable")
    rows = np.pad(images[order].reshape(10, 10, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1.0)
    figure, axis = plt.subplots(figsize=(2.6, 2.6))
    axis.imshow(rows.transpose(1, 2, 0, 3).reshape(100, 100), cmap="gray_r", interpolation="nearest")
    axis.axis("off")
    save(figure, "digits.png")


def paths() -> None:
    """From the same noise: one sample of the ODE, any sample of the SDE."""
    data, schedule = sk.densities.ring(), sk.schedules.RectifiedFlow()
    denoiser = sk.denoisers.exact_denoiser(data, schedule)
    noise = sk.sample_prior(jax.random.key(0), schedule, jnp.zeros((14, 2)))
    runs = {
        "ODE, 8 steps": (*sk.samplers.recommended(schedule, 8),),
        "SDE, 60 steps": (sk.solvers.Ancestral(), grids.uniform(60)),
    }
    points = np.asarray(data.sample(jax.random.key(1), (1500,)))
    figure, axes = plt.subplots(1, 2, figsize=(5.2, 2.6), sharex=True, sharey=True)
    for axis, (title, (solver, ts)) in zip(axes, runs.items(), strict=True):
        key = jax.random.key(2) if solver.stochastic else None
        _, states = jax.jit(sk.samplers.trajectory)(denoiser, schedule, solver, noise, ts, key=key)
        path = np.concatenate([noise[None], states])[:, : 4 if solver.stochastic else None]
        axis.scatter(*points.T, s=1, color="0.85")
        for k in range(path.shape[1]):
            axis.plot(*path[:, k].T, lw=0.8, color=f"C{k % 4}")
        axis.plot(*path[0].T, "x", ms=4, color="black")
        axis.plot(*path[-1].T, "o", ms=3, color="black")
        axis.set(title=title, aspect="equal", xticks=[], yticks=[], xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
    save(figure, "paths.png")


def errors() -> None:
    """RMSE to the exact end of the path by evaluations, each solver on the grid it is used with."""
    data, schedule = sk.densities.ring(), sk.schedules.Cosine()
    denoiser = sk.denoisers.exact_denoiser(data, schedule)
    noise = sk.sample_prior(jax.random.key(0), schedule, jnp.zeros((512, 2)))
    exact = draw(denoiser, schedule, sk.solvers.RK4(), noise, grids.uniform(800))
    evaluations = (5, 8, 12, 20, 32, 50)
    solvers = {
        "recommended": lambda n: sk.samplers.recommended(schedule, n),
        "DPM-Solver++(2M), Karras": lambda n: (sk.solvers.DPMSolverPP2M(), grids.karras(schedule, n)),
        "Heun, Karras": lambda n: (sk.solvers.Heun(coordinate="sigma"), grids.karras(schedule, n // 2)),
        "DDIM, equal steps": lambda n: (sk.solvers.Euler(), grids.uniform(n)),
    }
    figure, axis = plt.subplots(figsize=(3.4, 2.6))
    for name, make in solvers.items():
        found = []
        for n in evaluations:
            solver, ts = make(n)
            start = sk.sample_prior(jax.random.key(0), schedule, noise, t=ts[0])
            x = draw(denoiser, schedule, solver, start, ts)
            found.append(float(jnp.sqrt(jnp.mean((x - exact) ** 2))))
        print(name, [f"{value:.1e}" for value in found])
        axis.loglog(evaluations, found, "o-", ms=3, lw=1, label=name)
    axis.set(xlabel="network evaluations", ylabel="RMSE to the exact end", xticks=evaluations, xticklabels=evaluations)
    axis.set_ylim(5e-4, 2.0)
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=7)
    save(figure, "errors.png")


def divergences() -> None:
    """A normal student of a mixture: maximum likelihood covers the modes, KL(student || mixture) seeks one."""
    data = sk.densities.mixture(
        jnp.array([0.6, 0.4]), [sk.densities.gaussian(jnp.array([m]), std=0.5) for m in (-2.0, 2.0)]
    )
    x = jnp.linspace(-20.0, 20.0, 10001)
    log_p, width = data.log_density(x[:, None]), x[1] - x[0]
    student = (
        lambda mean, log_std: -0.5 * jnp.square((x - mean) * jnp.exp(-log_std)) - log_std - 0.5 * jnp.log(2 * jnp.pi)
    )
    divergence = lambda log_p, log_q: jnp.sum(jnp.exp(log_p) * (log_p - log_q)) * width
    mean = jnp.sum(jnp.exp(log_p) * x) * width
    std = jnp.sqrt(jnp.sum(jnp.exp(log_p) * jnp.square(x - mean)) * width)
    seeking = jax.grad(lambda q: divergence(student(*q), log_p))
    found = jax.lax.fori_loop(0, 4000, lambda _, q: q - 0.02 * seeking(q), jnp.array([-0.5, -1.0]))
    students = {"maximum likelihood": (mean, jnp.log(std)), "distilled": tuple(found)}
    figure, axis = plt.subplots(figsize=(3.4, 2.6))
    axis.fill_between(x, jnp.exp(log_p), color="0.85", label="mixture")
    for name, q in students.items():
        log_q = student(*q)
        both = divergence(log_p, log_q), divergence(log_q, log_p)
        print(
            f"{name}: mean {q[0]:.2f}, std {jnp.exp(q[1]):.2f}, KL(p || q) {both[0]:.2f}, KL(q || p) {both[1]:.2f} nats"
        )
        axis.plot(x, jnp.exp(log_q), label=name)
    axis.set(xlabel="x", ylabel="density", xlim=(-5, 5), ylim=(0, None))
    axis.legend(frameon=False)
    save(figure, "divergences.png")


def trade_off(workdir: Path, num: int = 500) -> None:
    """Class accuracy, precision and recall of the run on digits by guidance scale, and by temperature of the score."""
    config, labels = diffusion.saved(str(workdir)), np.arange(num, dtype=np.int32) % 10
    scales, temperatures = (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0), (1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    figure, axes = plt.subplots(1, 2, figsize=(5.8, 2.6), sharey=True)

    def measure(run, scale):
        real = run.dataset.real(run.dataset.test)
        train = run.dataset.train
        classifier = sk.metrics.fit_reference_classifier(run.dataset.real(train), train["label"])
        x = np.asarray(run.generate(run.params, 0, labels, scale))
        near = sk.metrics.precision_recall(real.reshape(len(real), -1), x.reshape(num, -1))
        return float(sk.metrics.class_accuracy(classifier, x, labels)), float(near.precision), float(near.recall)

    guided = open_score(config, workdir, None, scales)
    rows = {"guidance scale γ": [measure(guided, scale) for scale in scales], "temperature of the score τ": []}
    for tau in temperatures:
        cooled = config.copy_and_resolve_references()
        cooled.guidance = ("conditional", "temperature")
        cooled.rules.temperature.tau = tau
        rows["temperature of the score τ"].append(measure(open_score(cooled, workdir, None, (1.0,)), 1.0))
    for axis, (name, found), at in zip(axes, rows.items(), (scales, temperatures), strict=True):
        for label, values in zip(("class accuracy", "precision", "recall"), zip(*found, strict=True), strict=True):
            print(name, label, [f"{a:g}: {value:.3f}" for a, value in zip(at, values, strict=True)])
            axis.plot(at, values, "o-", ms=3, lw=1, label=label)
        axis.set(xlabel=name, ylim=(0, 1.02))
    axes[0].set_ylabel("fraction of 500 samples (recall: of scans)")
    axes[0].legend(frameon=False, loc="lower right")
    save(figure, "trade_off.png")


if __name__ == "__main__":
    paths()
    errors()
    divergences()
    samples(Path(sys.argv[1]))
    trade_off(Path(sys.argv[1]))
