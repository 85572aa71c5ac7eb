"""Out-of-distribution detection: a run of images scores its own held-out images against other sets, by every statistic.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.projects.ood.detect --workdir=runs/digits
    python -m experiments.projects.ood.detect --workdir=runs/digits --far=photos,mnist,fashion_mnist --examples=250

Prints a table for each other set and writes ``ood.html``, ``ood.json`` and pictures into ``--out``. The other sets are
small changes of the images themselves (``--near``) and sets of other images (``--far``), which are brought to the
resolution and the grey values of the run. Half of the held-out images calibrate the scores; the other half is scored.
The same command goes on where it was stopped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.models.samples import digest_of
from experiments.projects.ood import model, scores
from experiments.projects.ood.data import CALIBRATION, NEAR, OWN, gather
from experiments.projects.ood.scores import Separation
from experiments.projects.ood.statistics import Settings, Statistics, measure
from experiments.reporting.curves import Line, Panel, curves
from experiments.reporting.report import ConfigSection, Figure, Heading, Section, Text, write_report
from experiments.reporting.tables import Cell, Table, tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_score

_WORKDIR, _STEP = shared.workdir("Folder of the run of a model of images."), shared.step()
_NEAR = flags.DEFINE_list("near", list(NEAR), "Small changes of the held-out images.")
_FAR = flags.DEFINE_list("far", ["photos"], "Other sets: photos, or TFDS names.")
_EXAMPLES = shared.count("examples", 500, "At most so many images of each set.", 2)
_STEPS = shared.count("likelihood_steps", 10, "Steps of the likelihood, of four evaluations each.")
_PROBES = shared.count("probes", 4, "Random directions of divergence and curvature, for each image.")
_BATCH = shared.count("batch_size", 250, "Images that are measured at once.")
_SEED = shared.seed("Seed of the halves, the probes and the noise.")
_OUT = shared.out("Folder of the results; ood in that of the run by default.")
BATCHES = (1, 2, 4, 8, 16, 32)
"""Sizes of the batches that the typicality test is tried on."""
READ = (
    "AUROC: the probability that an out-of-distribution image scores above a held-out in-distribution one, with a 95 % "
    "bootstrap interval (both sets resampled); 0.5 is chance; below it the score prefers the other set. AUPR counts "
    "out-of-distribution images as positive. FPR95: the fraction of them that is accepted when 95 % of the others are. "
    "All scores are calibrated on another half of the held-out in-distribution images, and on nothing else."
)
EFFECT = (
    "The simplest set first, by the bits that PNG needs. More likely: the fraction of a set that is more likely than "
    "the median in-distribution image. Where the likelihood prefers another set, it is above 0.5 and the AUROC of the "
    "likelihood is below 0.5. Typical: the fraction whose -log p is no further from H than that of 95 % of the "
    "calibration images."
)
POWER = (
    "The fraction of 200 batches of M images that the typicality test rejects at the 5 % level: two-sided in the mean "
    "of -log p. The row of the in-distribution set should stay at 0.05; those of the other sets should rise with M."
)


def separation_tables(rows: Sequence[Separation]) -> dict[str, Table]:
    """One table for each out-of-distribution set, the best score first."""
    tables = {}
    for name in dict.fromkeys(row.dataset for row in rows):
        mine = sorted((row for row in rows if row.dataset == name), key=lambda row: -row.auroc)
        cells = [[r.score, r.auroc, r.low, r.high, r.aupr, r.fpr95] for r in mine]
        tables[name] = Table(["score", "AUROC", "from", "to", "AUPR", "FPR95"], cells)
    return tables


def effect_table(statistics: Mapping[str, Statistics], rows: Sequence[Separation], values: int) -> Table:
    """Whether the likelihood prefers simple images of ``values`` values to in-distribution ones."""
    auroc = {(row.dataset, row.score): row.auroc for row in rows}
    log_p = {name: stats["log p"][:, 0] for name, stats in statistics.items()}
    typical = log_p[CALIBRATION].mean()
    width = np.quantile(np.abs(log_p[CALIBRATION] - typical), 0.95)
    cells: list[list[Cell]] = []
    for name in (n for n in statistics if n != CALIBRATION):
        bits, likelier = statistics[name]["code length"].mean() / values, np.mean(log_p[name] > np.median(log_p[OWN]))
        near = np.mean(np.abs(log_p[name] - typical) <= width)
        areas = [auroc.get((name, score)) for score in ("likelihood", "typicality |-log p - H|")]
        cells.append([name, float(bits), float(log_p[name].mean() / values), float(likelier), float(near), *areas])
    header = ["set", "PNG bits/value", "log p, nats/value", "more likely", "typical"]
    header += ["AUROC likelihood", "AUROC typicality"]
    return Table(header, sorted(cells, key=lambda row: float(str(row[1]))), EFFECT)


def histograms(sets: Mapping[str, np.ndarray], bins: int = 50) -> dict[str, Line]:
    """Densities of sets of values ``(N,)``, with the number of values in their names.

    The axis reaches five times the range of the first set (between its 0.5 % and 99.5 % quantiles) to either side, or
    as far as there is anything; values beyond it are put in the outermost bins.
    """
    ends = np.array([np.quantile(x, (0.005, 0.995)) for x in sets.values()])
    reach = 5 * (ends[0, 1] - ends[0, 0])
    low, high = max(ends[:, 0].min(), ends[0, 0] - reach), min(ends[:, 1].max(), ends[0, 1] + reach)
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    density = lambda x: np.histogram(np.clip(x, edges[0], edges[-1]), edges, density=True)[0]
    return {f"{name} ({len(x):,})": Line(edges, density(x)) for name, x in sets.items()}


def figure_of(out: Path, statistics: Mapping[str, Statistics], best: str, score: scores.Score) -> Figure:
    """Histograms of the log-density and of the score that separates best on average."""
    shown = {name: stats for name, stats in statistics.items() if name != CALIBRATION}
    log_p = histograms({name: stats["log p"][:, 0] for name, stats in shown.items()})
    typical = {"-H, the typical value": float(statistics[CALIBRATION]["log p"].mean())}
    xlabel = "log p of the image with the noise of the smallest level (nats)"
    above = Panel(log_p, xlabel, "density", places=typical)
    below = Panel(histograms({name: score(stats) for name, stats in shown.items()}), f"score: {best}", "density")
    path = curves(out / "histograms.png", [above, below], columns=1)
    caption = (
        "Above: the log-density. A set to the right of the in-distribution one is more likely to the model than its "
        "own data. Below: the score that separates best on average. The outermost bars hold the values beyond."
    )
    return Figure(path, caption)


def main(config: Config) -> Path:
    near, workdir = shared.chosen("near", _NEAR.value, NEAR), shared.path(_WORKDIR)
    if not near and not _FAR.value:
        raise ConfigError("--near=, --far=: must name at least one set")
    out = shared.results_folder(_OUT, workdir / "ood", continues=".ood")
    run = open_score(config, workdir, _STEP.value)
    scored = model.of_run(run, _STEPS.value, _PROBES.value)
    sets = gather(run.dataset, near, _FAR.value, _EXAMPLES.value, _SEED.value)
    settings = Settings(probes=_PROBES.value, batch_size=_BATCH.value, seed=_SEED.value)
    about = {"model": digest_of(config.to_dict(), jax.device_get(run.params)), "density": f"{_STEPS.value} steps"}
    statistics = measure(scored, run.dataset, sets, out / "statistics", settings, about)

    fitted = scores.make_scores(statistics[CALIBRATION])
    others = {name: stats for name, stats in statistics.items() if name not in (CALIBRATION, OWN)}
    rows = scores.separate(fitted, statistics[OWN], others, _SEED.value)
    best = max(fitted, key=lambda name: float(np.mean([row.auroc for row in rows if row.score == name])))
    tested = {name: stats for name, stats in statistics.items() if name != CALIBRATION}
    rejected = scores.rejected_by_batch(statistics[CALIBRATION], tested, BATCHES, _SEED.value)

    sections: list[Section] = []
    for name, table in separation_tables(rows).items():
        sections += [Heading(f"{run.dataset.name} against {name}"), table]
    power = Table(["set", *(f"M = {m}" for m in BATCHES)], [[name, *each] for name, each in rejected.items()], POWER)
    sections += [Text(READ), Heading("Likelihood and typicality")]
    sections += [effect_table(statistics, rows, sets[OWN][0].size), figure_of(out, statistics, best, fitted[best])]
    sections += [Heading("Batches"), power]
    for section in sections:
        if isinstance(section, Heading):
            print(f"\n{section.text}")
        elif isinstance(section, Table):
            print(tables_as_text([section]).rstrip())
    write_results(out / "ood.json", {f"{row.dataset}/{row.score}": row.auroc for row in rows})
    sections += [ConfigSection(config.to_json_best_effort(indent=2))]
    facts = {"in distribution": run.dataset.name, "model": f"{workdir.name}, step {run.step:,}", "seed": _SEED.value}
    facts |= {"images in each half": len(sets[OWN]), "best score on average": best}
    title = f"scorekit: out-of-distribution detection, {run.dataset.name}"
    return write_report(out / "ood.html", title, facts, sections)


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
