"""Layouts of checkpoints: each golden file is recognised as one layout, its own."""

import importlib

import pytest
from golden import random_tensors

from scorekit.io.formats import FORMATS, find_format

GOLDEN = {
    "adm": ("adm_legacy", "adm_new", "adm_upsampler"),
    "autoencoder_kl": ("autoencoder_kl",),
    "ddpm": ("ddpm",),
    "dhariwal": ("dhariwal",),
    "dit": ("dit",),
    "edm2": ("edm2",),
    "score_sde": ("score_sde_ddpmpp", "score_sde_ncsnpp"),
    "song_unet": ("song_unet_ddpmpp", "song_unet_ncsnpp"),
}


def test_every_layout_has_a_golden_file():
    assert GOLDEN.keys() == FORMATS.keys()


@pytest.mark.parametrize(("layout", "file"), [(layout, file) for layout, files in GOLDEN.items() for file in files])
def test_names_are_recognised_as_one_layout(layout, file):
    prefix = {"autoencoder_kl": "quant.", "ddpm": "tokens."}.get(layout, "")  # these files are of several networks
    names = {n.removeprefix(prefix) for n in random_tensors.load(file)[0] if n.startswith(prefix)}
    assert find_format(names)[0] == layout
    recognised = [name for name in FORMATS if importlib.import_module(f"scorekit.io.formats.{name}").recognises(names)]
    assert recognised == [layout]
