"""Images and sounds that are written as files are read back as they were drawn."""

import numpy as np
from PIL import Image
from programs import tones

from experiments import data
from experiments.configs.images import smoke
from experiments.reporting.samples import write_samples
from scorekit import audio
from scorekit.audio import representations


def test_images_and_sounds_are_files_of_their_kind(tmp_path):
    sets = {"digits": data.build(smoke.get_config()), "tones": tones(representations.waveform())}
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "00009.png").touch()  # of an earlier call
    for name, dataset in sets.items():
        x = dataset.real(dataset.test)[:4]
        written = write_samples(tmp_path / name, dataset, "title", {"x": x, "label": np.zeros(4, np.int32)})
        assert written == f"{tmp_path}/{name}.png, {tmp_path}/{name}"
        first, *_, last = sorted((tmp_path / name).iterdir())
        assert (first.stem, last.stem) == ("00000", "00003")
        found = audio.read(last).x if name == "tones" else np.asarray(Image.open(last), float)[..., None] / 127.5 - 1
        np.testing.assert_allclose(found, x[3], atol=1 / 255 if name == "digits" else 0)
