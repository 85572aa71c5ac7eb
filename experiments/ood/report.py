"""What a run of :mod:`experiments.ood.detect` prints, draws and writes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.reporting import curves, plots
from experiments.cli import progress
from experiments.cli.config import Config
from experiments.ood.scores import Separation
from experiments.reporting.report import Config as Folded
from experiments.reporting.report import Figure, Heading, Section, Table, Text, tables_as_text, write_report
from scorekit.data import to_unit

HEADER = ("score", "AUROC", "from", "to", "AUPR", "FPR95")
READ = (
    "AUROC: the probability that a foreign image scores above a held-out in-distribution one, with a 95 % bootstrap "
    "interval (both sets drawn anew); 0.5 is chance, and below it the score prefers what is foreign. AUPR counts "
    "foreign images as positive. FPR95: the share of foreign images that pass when 95 % of the others do. "
    "All scores are calibrated on another half of the held-out in-distribution images, and on nothing else."
)


def tables(rows: Sequence[Separation]) -> dict[str, Table]:
    """One table for each foreign set, the best score first."""
    found = {}
    for outside in dict.fromkeys(row.outside for row in rows):
        mine = sorted((row for row in rows if row.outside == outside), key=lambda row: -row.auroc)
        found[outside] = Table(HEADER, [[r.score, r.auroc, r.low, r.high, r.aupr, r.fpr95] for r in mine])
    return found


def batches_table(rejected: dict[str, list[float]], sizes: Sequence[int]) -> Table:
    """The power of Nalisnick's test by the size of the batch."""
    caption = (
        "The share of 200 batches of M images that the typicality test rejects at the 5 % level. The row of the "
        "in-distribution set should stay at 0.05; those of foreign sets should rise with M."
    )
    return Table(["set", *(f"M = {m}" for m in sizes)], [[name, *shares] for name, shares in rejected.items()], caption)


EFFECT = (
    "The simplest set first, by the bits that PNG needs. More likely: the share of a set that is more likely than the "
    "median in-distribution image. Where the likelihood prefers a foreign set, it is above 0.5 and the AUROC of the "
    "likelihood is below 0.5. Typical: the share whose -log p is no further from H than that of 95 % of the "
    "calibration images. Best: {best}."
)


def effect_table(outcome) -> Table:
    """Whether the likelihood prefers simple images to the data that the model was made for, and what else does not."""
    auroc = {(row.outside, row.score): row.auroc for row in outcome.rows}
    log_p = {name: found["log p"][:, 0] for name, found in outcome.statistics.items()}
    known, own = log_p["calibration"], "inside"
    width = np.quantile(np.abs(known - known.mean()), 0.95)
    rows = []
    for name in (n for n in outcome.images if n != "calibration"):
        values = outcome.images[name][0].size
        scores = ("likelihood", "typicality |-log p - H|", outcome.best)
        rows.append([
            "in distribution" if name == own else name,
            float(outcome.statistics[name]["code length"].mean()) / values,
            float(log_p[name].mean()) / values,
            float(np.mean(log_p[name] > np.median(log_p[own]))),
            float(np.mean(np.abs(log_p[name] - known.mean()) <= width)),
            *(None if name == own else auroc[name, score] for score in scores),
        ])  # fmt: skip
    header = ["set", "PNG bits/value", "log p, nats/value", "more likely", "typical",
              "AUROC likelihood", "AUROC typicality", "AUROC best"]  # fmt: skip
    return Table(header, sorted(rows, key=lambda row: row[1]), EFFECT.format(best=outcome.best))


def _text(table: Table) -> str:
    return tables_as_text([table]).rstrip()


def as_text(config: Config, outcome) -> str:
    """All tables for a terminal; ``outcome`` is an :class:`experiments.ood.Outcome`."""
    lines = []
    for outside, table in tables(outcome.rows).items():
        lines += [f"\n{config.inside} (in) against {outside} (out), {config.side} x {config.side}", _text(table)]
    effect = effect_table(outcome)
    lines += ["\nlikelihood and typicality of each set", _text(effect), effect.caption]
    lines += ["\nshare of batches of M images that the typicality test rejects at 5 %"]
    lines += [_text(batches_table(outcome.rejected, config.batches))]
    return "\n".join(lines)


def _ascent_table(ascent) -> Table:
    rows = [
        [f"{before:.0f}", f"{after:.0f}", f"{after - before:+.0f}", p, q]
        for before, after, p, q in zip(
            ascent.log_p_before, ascent.log_p_after, ascent.p_before, ascent.p_after, strict=True
        )
    ]
    header = ["log p, image", "log p, top", "gain (nats)", "typicality p, image", "typicality p, top"]
    return Table(header, rows)


def ascent_as_text(ascent) -> str:
    """The pairs of images and tops for a terminal."""
    return "\n".join(["\ngradient ascent on the density from held-out images", _text(_ascent_table(ascent)), ""])


def write(workdir: Path, config: Config, outcome, seconds: float) -> Path:
    """Draws the pictures and writes ``ood.html``; ``outcome`` is an :class:`experiments.ood.Outcome`."""
    separate, best = tables(outcome.rows), outcome.best
    sections: list[Section] = []
    for outside, table in separate.items():
        sections += [Heading(f"{config.inside} against {outside}"), table]
    sections += [Text(READ), Heading("Likelihood and typicality"), effect_table(outcome)]
    sections += _histograms(workdir, outcome)
    sections += [Heading("Batches"), batches_table(outcome.rejected, config.batches)]
    curve = curves.curve(
        workdir / "batches.png",
        config.batches,
        outcome.rejected,
        xlabel="images in a batch, M",
        ylabel="share rejected",
        log_x=True,
        lines={"level of the test": 0.05},
        title="Power of the typicality test",
    )
    sections += [Figure(curve, "The typicality test on batches: two-sided in the mean of -log p.")]
    sections += [Heading("Most and least typical images"), *_extremes(workdir, config, outcome)]
    sections += [Heading("The mode is not typical"), *_ascent(workdir, outcome.ascent)]
    if outcome.left_out:
        sections += [Heading("Left out"), Text("\n\n".join(outcome.left_out))]
    sections += [Folded((workdir / "config.json").read_text())]
    likelihood = {r.outside: r.auroc for r in outcome.rows if r.score == "likelihood"}
    summary = {
        "in distribution": f"{config.inside}, {config.side} × {config.side}, {config.levels} grey values",
        "model": outcome.model,
        "images in each half": len(outcome.images["inside"]),
        "best score on average": best,
        **{f"AUROC, {name}: best / likelihood": f"{table.rows[0][1]:.3f} / {likelihood[name]:.3f}"
           for name, table in separate.items()},
        "time": progress.duration(seconds),
    }  # fmt: skip
    return write_report(workdir / "ood.html", f"scorekit: what {config.inside} is not", summary, sections)


def _histograms(workdir: Path, outcome) -> list[Section]:
    shown = [name for name in outcome.statistics if name != "calibration"]
    log_p = {name: outcome.statistics[name]["log p"][:, 0] for name in shown}
    quantity = f"score: {outcome.best}"
    typical = float(outcome.statistics["calibration"]["log p"][:, 0].mean())
    panels = {"log p": log_p, quantity: {name: outcome.scores[name] for name in shown}}
    path = curves.histograms(
        workdir / "histograms.png",
        panels,
        xlabels={
            "log p": "log p of the image with the noise of the smallest level (nats)",
            quantity: f"{quantity} (larger is more foreign)",
        },
        lines={"log p": {"-H, the typical value": typical}},
    )
    caption = (
        "Above: the log-density. A set to the right of the in-distribution one is more likely to the model than its "
        f"own data. Below: the score that separates best on average, {outcome.best}. The outermost bars "
        "hold what lies beyond."
    )
    return [Figure(path, caption)]


def _extremes(workdir: Path, config: Config, outcome) -> list[Section]:
    rows, labels = [], []
    for name in (n for n in outcome.images if n != "calibration"):
        order = np.argsort(outcome.scores[name])
        for which, chosen in (("most", order[:10]), ("least", order[::-1][:10])):
            rows.append(np.resize(outcome.images[name][chosen], (10, *outcome.images[name].shape[1:])))
            labels.append(f"{name}: {which}")
    images = np.asarray(to_unit(np.concatenate(rows), config.levels))
    path = plots.image_grid(workdir / "extremes.png", images, columns=10, row_labels=labels)
    return [
        Figure(path, f"The most and least typical images of each set, by {outcome.best}; the extreme ones on the left.")
    ]


def _ascent(workdir: Path, ascent) -> list[Section]:
    cells = np.concatenate([ascent.before, ascent.after])
    path = plots.image_grid(
        workdir / "ascent.png", cells, columns=len(ascent.before), row_labels=["held-out image", "top of the ascent"]
    )
    text = (
        "From each held-out image, gradient ascent on the density, in the steps that the denoiser proposes, first at a "
        "larger noise level. Densities are those of images with the noise of the smallest level. The tops are far more "
        "likely than the images, and not typical: no image of that likelihood is ever drawn. p is two-sided: twice the "
        "share of calibration images whose log-density is at least as high, or as low if that is less."
    )
    return [Text(text), Figure(path, "Above: images. Below: what the ascent made of them."), _ascent_table(ascent)]
