"""Programs of sounds name flags that are wrong, and runs that they do not take."""

import pytest
from programs import give

from experiments.cli.config import ConfigError
from experiments.configs.images import smoke
from experiments.configs.notes import notes, notes_smoke
from experiments.configs.phrases import phrases


@pytest.mark.parametrize(
    ("name", "module", "given", "fields", "message"),
    [
        ("perform", phrases, {"overlap": "1"}, {}, r"--overlap=1.0: must be in \[0, 1\)"),
        ("perform", phrases, {"seconds": "0"}, {}, "--seconds=0.0: must be finite and > 0"),
        ("perform", phrases, {"program": "5"}, {}, "--program=5: must be one of 0, 4, "),
        ("perform", phrases, {"octaves": "1"}, {}, "--octaves: must be left out without --midi, it would do nothing"),
        (
            "perform",
            phrases,
            {"midi": "x.mid", "num": "3"},
            {},
            "--num: must be left out with --midi, it would do nothing",
        ),
        (
            "perform",
            phrases,
            {},
            {"map.name": "none", "map.count": None},
            "config.data.map.name=none: must be piano_roll or tones: the model must be",
        ),
        ("vocode", notes_smoke, {"steps": "6,x"}, {}, "--steps=6,x: must be numbers of steps, as in 6,100"),
        ("vocode", notes_smoke, {"steps": "0"}, {}, "--steps=0: must be numbers"),
        ("vocode", notes_smoke, {}, {}, "config.data.map.name=none: must be log_mel or mel_magnitudes"),
        ("restore_sounds", notes, {"task": "gp"}, {}, r"--task=gp: must be one of gap, .* \(did you mean gap\?\)"),
        ("restore_sounds", notes, {"noise_std": "-1"}, {}, "--noise_std=-1.0: must be a finite number >= 0"),
        ("restore_sounds", notes, {"method": "mmsp"}, {}, r"=mmsp: must be one of .* \(did you mean mmps\?\)"),
        ("restore_sounds", notes, {"condition": "class"}, {}, "--condition=class: must be own or null"),
        ("restore_sounds", notes, {}, {}, "representation.name=log_magnitudes: must be waveform or controls"),
        ("restore_sounds", smoke, {}, {}, "must hold a run on sounds, and its data are sklearn_digits"),
        ("evaluate_notes", smoke, {}, {}, "must hold a run on notes, and its data are sklearn_digits"),
        ("timbre", smoke, {}, {}, "must hold a run on notes, and its data are sklearn_digits"),
        ("timbre", notes_smoke, {}, {"label": "family"}, "config.data.label=family: must be instrument: the class"),
    ],
)
def test_what_is_wrong_is_named(load_program, tmp_path, name, module, given, fields, message):
    program, config = load_program(f"experiments.projects.audio.sound.{name}"), module.get_config()
    give(workdir=tmp_path, **given)
    config.data.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=message):
        program.main(config)
