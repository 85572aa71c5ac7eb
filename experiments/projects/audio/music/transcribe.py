"""Transcribes a sound file: notes as MIDI, and a picture of the piano roll.

    python -m experiments.projects.audio.music.transcribe --workdir=runs/transcriber --sound=song.wav --out=song.mid
    python -m experiments.projects.audio.music.transcribe --workdir=runs/transcriber --sound=song.wav --program=73 \
        --config.evaluation.onset_threshold=0.5

Writes ``song.mid``, ``song.png`` and ``song.html``, which plays the sound beside the picture. The file may have any
length, sample rate and number of channels. A silent one becomes a MIDI file without notes of the same length.
"""

from pathlib import Path

from absl import flags

from experiments import tasks
from experiments.cli import command_line, outputs
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.projects.audio.piano_rolls import ROLL, roll
from experiments.projects.audio.transcription import transcription
from experiments.reporting.audio_widgets import write_sound
from experiments.reporting.grids import grid
from experiments.reporting.report import ConfigSection, Sound, Sounds, write_report
from scorekit import audio
from scorekit.data.midi import write_score

_WORKDIR = shared.workdir("Folder of a run of a transcriber.")
_STEP = shared.step()
_SOUND = flags.DEFINE_string("sound", None, "The sound file: WAV, FLAC, Ogg, MP3 or other.")
_OUT = shared.out("The MIDI file; by default that of the sound with the ending .mid.")
_PROGRAM = flags.DEFINE_integer("program", 0, "General MIDI instrument in the file.", lower_bound=0, upper_bound=127)


def main(config: Config) -> Path:
    workdir, path = shared.path(_WORKDIR), shared.path(_SOUND)
    if _OUT.value and not _OUT.value.endswith(".mid"):
        raise ConfigError(f"--out={_OUT.value}: must end in .mid")
    out = (shared.path(_OUT) if _OUT.value else path).with_suffix("")
    shared.check_writable(out.parent, f"--out={out}.mid")
    written = [Path(f"{out}{ending}") for ending in (".mid", ".png", ".html", "_sound.wav", "_sound.png")]
    given = f"--out={out}.mid" if _OUT.value else f"--sound={_SOUND.value}, whose notes go beside it without --out"
    outputs.check_files(given, written, shared.overwrite())
    try:
        sound = audio.read(path, mono=True)
    except ValueError as error:
        raise ConfigError(f"--sound={_SOUND.value}: {error}") from error
    transcriber = transcription.open_transcriber(config, workdir, _STEP.value)
    try:
        notes, remark = transcription.transcribe(transcriber, sound)
    except ValueError as error:
        raise ConfigError(f"--sound={_SOUND.value}: {error}") from error
    seconds = sound.x.shape[-1] / sound.sample_rate
    write_score(f"{out}.mid", notes, _PROGRAM.value, max([seconds, *(note.end for note in notes)]))
    image = grid(f"{out}.png", [[roll(notes, seconds)]], size=ROLL)
    widget = write_sound(out.parent / f"{out.name}_sound", sound.x, sound.sample_rate)
    cells = [widget, Sound(widget.wav, image)]
    facts = {"sound": path.name, "seconds": seconds, "sample rate, Hz": sound.sample_rate, "notes": len(notes)}
    sections = [Sounds(("sound", "transcribed"), [(path.name, cells)], remark), ConfigSection(str(config.to_json()))]
    print(f"{len(notes)} notes in {seconds:.3f} s → {out}.mid" + (f" ({remark})" if remark else ""))
    return write_report(f"{out}.html", f"scorekit: transcription of {path.name}", facts, sections)


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value, "transcriber"), tasks.check_fields)
