"""The tables, pictures and report of :mod:`experiments.projects.ood.detect`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.scale import LogScale

from experiments.cli import progress
from experiments.cli.config import Config
from experiments.projects.ood.experiment import CALIBRATION, OWN, Ascent, Outcome
from experiments.projects.ood.scores import Separation
from experiments.reporting.curves import Line, Panel, curves, lines
from experiments.reporting.grids import grid
from experiments.reporting.report import ConfigSection, Figure, Heading, Section, Text, write_report
from experiments.reporting.tables import Table, tables_as_text
from scorekit.data import to_unit

HEADER = ("score", "AUROC", "from", "to", "AUPR", "FPR95")
READ = (
    "AUROC: the probability that an out-of-distribution image scores above a held-out in-distribution one, with a 95 % "
    "bootstrap interval (both sets resampled); 0.5 is chance; below it the score prefers the other set. AUPR counts "
    "out-of-distribution images as positive. FPR95: the share of them that is accepted when 95 % of the others are. "
    "All scores are calibrated on another half of the held-out in-distribution images, and on nothing else."
)


def tables(rows: Sequence[Separation]) -> dict[str, Table]:
    """One table for each out-of-distribution set, the best score first."""
    found = {}
    for name in dict.fromkeys(row.dataset for row in rows):
        mine = sorted((row for row in rows if row.dataset == name), key=lambda row: -row.auroc)
        found[name] = Table(HEADER, [[r.score, r.auroc, r.low, r.high, r.aupr, r.fpr95] for r in mine])
    return found


def batches_table(rejected: dict[str, list[float]], sizes: Sequence[int]) -> Table:
    """The power of Nalisnick's test by the size of the batch."""
    caption = (
        "The share of 200 batches of M images that the typicality test rejects at the 5 % level. The row of the "
        "in-distribution set should stay at 0.05; those of the other sets should rise with M."
    )
    return Table(["set", *(f"M = {m}" for m in sizes)], [[name, *shares] for name, shares in rejected.items()], caption)


EFFECT = (
    "The simplest set first, by the bits that PNG needs. More likely: the share of a set that is more likely than the "
    "median in-distribution image. Where the likelihood prefers another set, it is above 0.5 and the AUROC of the "
    "likelihood is below 0.5. Typical: the share whose -log p is no further from H than that of 95 % of the "
    "calibration images. Best: {best}."
)


def effect_table(outcome: Outcome) -> Table:
    """Whether the likelihood prefers simple images to in-distribution ones, and which other scores do not."""
    auroc = {(row.dataset, row.score): row.auroc for row in outcome.rows}
    log_p = {name: found["log p"][:, 0] for name, found in outcome.statistics.items()}
    typical = log_p[CALIBRATION].mean()
    width = np.quantile(np.abs(log_p[CALIBRATION] - typical), 0.95)
    rows, scores = [], ("likelihood", "typicality |-log p - H|", outcome.best)
    for name in (n for n in outcome.images if n != CALIBRATION):
        values, bits = outcome.images[name][0].size, outcome.statistics[name]["code length"]
        likelier, near = log_p[name] > np.median(log_p[OWN]), np.abs(log_p[name] - typical) <= width
        cells = [bits.mean() / values, log_p[name].mean() / values, np.mean(likelier), np.mean(near)]
        rows.append([name, *map(float, cells), *(None if name == OWN else auroc[name, score] for score in scores)])
    header = [
        "set",
        "PNG bits/value",
        "log p, nats/value",
        "more likely",
        "typical",
        "AUROC likelihood",
        "AUROC typicality",
        "AUROC best",
    ]
    return Table(header, sorted(rows, key=lambda row: row[1]), EFFECT.format(best=outcome.best))


def _text(table: Table) -> str:
    return tables_as_text([table]).rstrip()


def as_text(config: Config, outcome: Outcome) -> str:
    """All tables for a terminal."""
    lines = []
    for name, table in tables(outcome.rows).items():
        lines += [f"\n{config.in_distribution} (in) against {name} (out), {config.side} x {config.side}", _text(table)]
    effect = effect_table(outcome)
    lines += ["\nlikelihood and typicality of each set", _text(effect), effect.caption]
    lines += ["\nshare of batches of M images that the typicality test rejects at 5 %"]
    lines += [_text(batches_table(outcome.rejected, config.batches))]
    return "\n".join(lines)


def _ascent_table(ascent: Ascent) -> Table:
    columns = zip(ascent.log_p_before, ascent.log_p_after, ascent.p_before, ascent.p_after, strict=True)
    rows = [[f"{a:.0f}", f"{b:.0f}", f"{b - a:+.0f}", *p] for a, b, *p in columns]
    header = ["log p, image", "log p, end", "gain (nats)", "typicality p, image", "typicality p, end"]
    return Table(header, rows)


def ascent_as_text(ascent: Ascent) -> str:
    """The images and the ends of the ascent for a terminal."""
    return "\n".join(["\ngradient ascent on the density from held-out images", _text(_ascent_table(ascent)), ""])


def write(workdir: Path, config: Config, outcome: Outcome, seconds: float) -> Path:
    """Draws the pictures and writes ``ood.html``."""
    separate = tables(outcome.rows)
    sections: list[Section] = []
    for name, table in separate.items():
        sections += [Heading(f"{config.in_distribution} against {name}"), table]
    sections += [Text(READ), Heading("Likelihood and typicality"), effect_table(outcome)]
    sections += _histograms(workdir, outcome)
    sections += [Heading("Batches"), batches_table(outcome.rejected, config.batches)]
    panel = Panel(
        lines(config.batches, outcome.rejected),
        "images in a batch, M",
        "share rejected",
        "Power of the typicality test",
        levels={"level of the test": 0.05},
        axes={"xscale": LogScale(None, base=2), "xticks": config.batches, "xticklabels": config.batches},
    )
    curve = curves(workdir / "batches.png", [panel])
    sections += [Figure(curve, "The typicality test on batches: two-sided in the mean of -log p.")]
    sections += [Heading("Most and least typical images"), *_extremes(workdir, config, outcome)]
    sections += [Heading("The mode is not typical"), *_ascent(workdir, outcome.ascent)]
    if outcome.left_out:
        sections += [Heading("Left out"), Text("\n\n".join(outcome.left_out))]
    sections += [ConfigSection((workdir / "config.json").read_text())]
    likelihood = {r.dataset: r.auroc for r in outcome.rows if r.score == "likelihood"}
    summary = {
        "in distribution": f"{config.in_distribution}, {config.side} × {config.side}, {config.bins} grey values",
        "model": outcome.model,
        "seed": config.seed,
        "images in each half": len(outcome.images[OWN]),
        "best score on average": outcome.best,
    }
    for name, table in separate.items():
        summary[f"AUROC, {name}: best / likelihood"] = f"{table.rows[0][1]:.3f} / {likelihood[name]:.3f}"
    title = f"scorekit: out-of-distribution detection, {config.in_distribution}"
    return write_report(workdir / "ood.html", title, {**summary, "time": progress.duration(seconds)}, sections)


def _histograms(workdir: Path, outcome: Outcome) -> list[Section]:
    shown = [name for name in outcome.statistics if name != CALIBRATION]
    log_p = {name: outcome.statistics[name]["log p"][:, 0] for name in shown}
    quantity = f"score: {outcome.best}"
    typical = float(outcome.statistics[CALIBRATION]["log p"][:, 0].mean())
    xlabel = "log p of the image with the noise of the smallest level (nats)"
    above = Panel(histograms(log_p), xlabel, "density", places={"-H, the typical value": typical})
    scores = histograms({name: outcome.scores[name] for name in shown})
    below = Panel(scores, f"{quantity} (larger is further out of distribution)", "density")
    path = curves(workdir / "histograms.png", [above, below], columns=1, size=(7.2, 2.9))
    caption = (
        "Above: the log-density. A set to the right of the in-distribution one is more likely to the model than its "
        f"own data. Below: the score that separates best on average, {outcome.best}. The outermost bars "
        "hold the values beyond."
    )
    return [Figure(path, caption)]


def histograms(sets: dict[str, np.ndarray], bins: int = 50) -> dict[str, Line]:
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


def _extremes(workdir: Path, config: Config, outcome: Outcome) -> list[Section]:
    rows, labels = [], []
    for name in (n for n in outcome.images if n != CALIBRATION):
        order = np.argsort(outcome.scores[name])
        for which, chosen in (("most", order[:10]), ("least", order[::-1][:10])):
            images = np.resize(outcome.images[name][chosen], (10, *outcome.images[name].shape[1:]))
            rows.append(np.asarray(to_unit(images, config.bins)))
            labels.append(f"{name}: {which}")
    path = grid(workdir / "extremes.png", rows, labels)
    caption = f"The most and least typical images of each set, by {outcome.best}; the extreme ones on the left."
    return [Figure(path, caption)]


def _ascent(workdir: Path, ascent: Ascent) -> list[Section]:
    path = grid(workdir / "ascent.png", [ascent.before, ascent.after], ["held-out image", "end of the ascent"])
    text = (
        "From each held-out image, gradient ascent on the density, in the steps that the denoiser proposes, first at a "
        "larger noise level. Densities are those of images with the noise of the smallest level. The ends are far more "
        "likely than the images, and not typical: no image of that likelihood is ever drawn. p is two-sided: twice the "
        "share of calibration images whose log-density is at least as high, or as low if that is less."
    )
    return [Text(text), Figure(path, "Above: images. Below: the ends of the ascent."), _ascent_table(ascent)]
