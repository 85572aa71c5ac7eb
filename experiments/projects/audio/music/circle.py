"""From piano rolls to sound and back: how many of the played notes a transcriber finds.

    python -m experiments.projects.audio.music.circle --performer=runs/phrases --transcriber=runs/transcriber

The rolls of held-out phrases are rendered by the SoundFont and performed by a model of phrases (a run of
experiments.train with ``projects/audio/configs/phrases.py``); both sounds are transcribed and compared with the roll.
What is lost of rendered sounds is lost by the transcriber, the rest by the performer. Prints the table and writes
``report.html``, with players and the notes that were found, and ``circle.json`` into ``--out``.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.outputs import write_results
from experiments.data.dataset import evenly
from experiments.data.sound_sets import Phrases
from experiments.projects.audio.sound import long_sounds, runs
from experiments.projects.audio.transcription import transcription
from experiments.projects.audio.transcription.report import transcription_table, transcription_widgets
from experiments.reporting.report import ConfigSection, Heading, write_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import facts
from scorekit import audio

_PERFORMER = flags.DEFINE_string("performer", None, "Folder of a run of experiments.train with a config of phrases.")
_TRANSCRIBER = flags.DEFINE_string("transcriber", None, "Folder of a run of a transcriber.")
_STEP, _SEED = shared.step("Checkpoint of the performer; the newest by default."), shared.seed()
_NUM = shared.count("num", 20, "Number of held-out phrases.", 2)
_SHOWN = shared.count("shown", 4, "Number of phrases with audio widgets.")
_OUT = shared.out("Folder for the results; circle in that of the performer by default.")
shared.reinterpret_weights()


def saved() -> Config:
    """The config of the performer."""
    with shared.named("performer"):
        return diffusion.saved(_PERFORMER.value)


def main(config: Config) -> Path:
    with shared.named("transcriber"):
        other = tasks.saved(_TRANSCRIBER.value, "transcriber")
    with shared.named("performer"):
        folder = runs.check_kind(Phrases, config, _PERFORMER.value)
        long_sounds.keys_of(config)
    tasks.check_fields(other)
    out = shared.results_folder(_OUT, folder / "circle")
    with shared.named("transcriber"):
        transcriber = transcription.open_transcriber(other, shared.path(_TRANSCRIBER))
    with shared.named("performer"):
        run = runs.open_sounds(config, folder, _STEP.value, (config.sampling.guidance_scale,))
    rate, phrases = run.dataset.sample_rate, run.dataset.load(run.dataset.test_split)
    rolls, x = phrases.roll[: _NUM.value], phrases.x[: _NUM.value]
    print(f"{len(rolls)} phrases of {x.shape[1] / rate:.3f} s: performing …", flush=True)
    programs, hop = np.asarray(phrases.instrument[: len(rolls)], np.int32), long_sounds.hop_of(run, 0.5)
    performed = long_sounds.perform(config, run, rolls, programs, hop, _SEED.value)
    print("transcribing …", flush=True)
    versions = {"rendered": np.asarray(audio.pcm_to_float(x)), "performed": performed}
    parts = {}
    for name, sounds in versions.items():
        results = [transcription.transcribe(transcriber, audio.Sound(each, rate)) for each in sounds]
        for i, (_, remark) in enumerate(results):
            if remark:
                print(f"phrase {i}, {name}: {remark}", flush=True)
        parts[name] = transcription.compare(rolls, [notes for notes, _ in results])
    table, values = transcription_table(parts)
    write_results(out / "circle.json", values)
    widgets = transcription_widgets(out, versions, parts, rate, evenly(len(rolls), _SHOWN.value))
    sections = [table, Heading("Phrases"), widgets, ConfigSection(str(config.to_json()))]
    summary = {**facts(run), "guidance scale": config.sampling.guidance_scale, "solver steps": config.sampling.steps}
    summary |= {"threshold of onsets": transcriber.onset_threshold, "seed": _SEED.value}
    print(f"{tables_as_text([table])}({table.caption})")
    return write_report(out / "report.html", "scorekit: from rolls to sound and back", summary, sections)


if __name__ == "__main__":
    command_line.run(main, saved, diffusion.check_fields)
