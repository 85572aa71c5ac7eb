"""Phrases drawn by runs of any kind, compared with the held-out phrases: discrete and continuous models side by side.

    python -m experiments.projects.audio.music.evaluate_phrases --runs=runs/phrases_vq_masked,runs/phrases_vq_rounded

``--runs`` are runs of experiments.train on the same phrases: of samples, spectra, latents, or codes. Each draws
``--clips`` phrases with the instruments of the held-out ones, at ``--scale`` and with the sampling that it was saved
with. Columns: Fréchet distances to the held-out phrases of the autocorrelation of onsets, of the self-similarity of the
chroma, and of log-mel statistics (:mod:`~experiments.projects.audio.sound.phrase_statistics`), which depend on the
number of phrases;
CPU seconds of a phrase of all cores together, without compilation. ``decoded`` are the held-out phrases through the
autoencoder of a run, and through its codes if it has any: what a model of latents cannot exceed. Prints a table;
``--out`` is a JSON file of it.
"""

from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.cli.outputs import write_results
from experiments.projects.audio.music import drawn_phrases
from experiments.reporting.tables import tables_as_text

_RUNS = shared.define(flags.DEFINE_list, "runs", [], "Folders of runs of experiments.train on the same phrases.")
_CLIPS = shared.count("clips", 200, "Phrases to draw of each.", 2)
_SCALE = flags.DEFINE_float("scale", 1.0, "Guidance scale of all runs.", lower_bound=0.0)
_SEED = shared.seed()
_OUT = shared.out("JSON file of the table; none by default.")


def main(_) -> None:
    if not _RUNS.value:
        raise ConfigError("--runs=… must be given: folders of runs of experiments.train on phrases")
    out = shared.results(_OUT, None, "") if _OUT.value else None
    found = drawn_phrases.table(_RUNS.value, _CLIPS.value, _SCALE.value, _SEED.value)
    print(tables_as_text([found]))
    if out is not None:
        print(f"wrote {write_results(out, found.records())}")


if __name__ == "__main__":
    command_line.run(main)
