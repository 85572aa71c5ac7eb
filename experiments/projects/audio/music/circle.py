"""From piano rolls to sound and back: how many of the played notes a transcriber finds.

    python -m experiments.projects.audio.music.circle --performer=runs/phrases --transcriber=runs/transcriber
    python -m experiments.projects.audio.music.circle --performer=runs/phrases --transcriber=runs/transcriber \
        --midi=FOLDER_OR_FILES

Every roll is rendered by the SoundFont and performed by a model of phrases (a run of experiments.train with
``configs/phrases/phrases.py``); both sounds are transcribed and compared with the roll. Rolls come from MIDI files or
from held-out phrases. Prints the tables and writes ``report.html``, ``circle.json`` and, for each of ``--shown`` songs,
the played and the found notes as ``.mid`` alongside the sounds, into ``--out``.
"""

from pathlib import Path

from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_results
from experiments.data.phrases import Phrases
from experiments.projects.audio.music import reports, songs
from experiments.projects.audio.sound import drawing, long_sounds
from experiments.projects.audio.transcription import report as reporting
from experiments.projects.audio.transcription import transcription
from experiments.projects.audio.transcription.note_metrics import TOLERANCE, mean_and_error
from experiments.reporting.report import ConfigSection, Heading, write_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.task import facts
from scorekit.data.phrases import FRAME_RATE, PROGRAMS

_PERFORMER = flags.DEFINE_string("performer", None, "Folder of a run of experiments.train with a config of phrases.")
_TRANSCRIBER = flags.DEFINE_string("transcriber", None, "Folder of a run of a transcriber.")
_STEP, _SEED = shared.step("Checkpoint of the performer; the newest by default."), shared.seed()
_MIDI = flags.DEFINE_list("midi", None, "MIDI files, and folders of them, in place of held-out phrases.")
_OCTAVES = flags.DEFINE_bool("octaves", False, "Move notes of --midi into the keys of both models by octaves.")
_PROGRAM = flags.DEFINE_integer("program", None, "The instrument for --midi; by default the instrument of each file.")
_NUM = shared.count("num", 20, "Number of held-out phrases.")
_SHOWN = shared.count("shown", 4, "Number of songs with audio widgets and MIDI files.")
_OUT = shared.out("Folder for the results; circle in that of the performer by default.")
shared.reinterpret_weights()


def check(config: Config, other: Config) -> tuple[int, int]:
    """Validates the flags and both configs; returns the keys that both models know."""
    if _PROGRAM.value not in (None, *PROGRAMS):
        raise ConfigError(f"--program={_PROGRAM.value}: must be one of {', '.join(map(str, PROGRAMS))}")
    with shared.named("performer"):
        drawing.check_kind(Phrases, config, _PERFORMER.value)
        long_sounds.check_roll(config)
    tasks.check_fields(other)
    keys = long_sounds.keys_of(config)
    lowest, highest = max(keys[0], other.transcriber.lowest), min(keys[1], other.transcriber.highest)
    if lowest > highest:
        raise ConfigError(f"--transcriber={_TRANSCRIBER.value}: must know keys from {keys[0]} to {keys[1]}")
    return lowest, highest


def saved() -> Config:
    """The config of the performer."""
    with shared.named("performer"):
        return diffusion.saved(_PERFORMER.value)


def main(config: Config) -> Path:
    with shared.named("transcriber"):
        other = tasks.saved(_TRANSCRIBER.value, "transcriber")
    keys = check(config, other)
    files = songs.midi_files(_MIDI.value or ())
    scores = [long_sounds.read_notes(keys, str(path), _OCTAVES.value) for path in files]
    out = shared.results_folder(_OUT, shared.path(_PERFORMER) / "circle")
    with shared.named("transcriber"):
        found = transcription.open_transcriber(other, shared.path(_TRANSCRIBER))
    with shared.named("performer"):
        run, _ = drawing.open_kind(Phrases, config, _PERFORMER.value, _STEP.value, (config.sampling.guidance_scale,))
    rate, hop = run.dataset.sample_rate, long_sounds.hop_of(run, 0.5)
    programs = songs.programs_of(files) if _PROGRAM.value is None else [_PROGRAM.value] * len(files)
    played = songs.of_scores(files, scores, rate, programs) if files else songs.held_out(run.dataset, _NUM.value)
    seconds = sum(len(song.roll) - 1 for song in played) / FRAME_RATE
    print(f"{len(played)} songs, {seconds:.1f} s of music: performing …", flush=True)
    performed, together = songs.perform(config, run, played, hop, _SEED.value)
    cost = songs.cost(config, run, played[0], hop, _SEED.value, together)
    print("transcribing …", flush=True)
    versions = {"rendered": [song.rendered for song in played], "performed": performed}
    parts = songs.transcribe(found, played, versions, rate)
    means = {name: mean_and_error(part.rows) for name, part in parts.items()}
    rough = songs.roughness(played, performed, hop)
    tables = [reporting.transcription_table(means, len(played), TOLERANCE), rough, cost]
    results = {"metrics": reporting.transcription_values(means), "cost": cost.records(), "roughness": rough.records()}
    write_results(out / "circle.json", results)
    widgets = reports.circle_widgets(out, played, versions, parts, rate, _SHOWN.value)
    sections = [*tables, Heading("Songs"), widgets, ConfigSection(str(config.to_json()))]
    summary = {**facts(run), "guidance scale": config.sampling.guidance_scale, "solver steps": config.sampling.steps}
    summary |= {"songs": len(played), "seconds of music": seconds, "threshold of onsets": found.onset_threshold}
    summary["seed"] = _SEED.value
    for table in tables:
        print(f"{tables_as_text([table])}({table.caption})")
    return write_report(out / "report.html", "scorekit: from rolls to sound and back", summary, sections)


if __name__ == "__main__":
    command_line.run(main, saved, diffusion.check_fields)
