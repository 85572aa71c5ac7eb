"""Every module's examples run."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import jax
import pytest

import scorekit

ALL = sorted(m.name for m in pkgutil.walk_packages(scorekit.__path__, "scorekit.") if m.name != "scorekit._version")
SLOW = {
    "alignment": "matching",
    "audio": """
        ddsp.analysis ddsp.representation ddsp.synthesis fourier frequency mel_features mel_spectrograms
        music representations stft structure""",
    "autoregressive": "conditionals exact guidance models particles smoothing",
    "bridges": "diffrax numpyro",
    "data": "arrays augmentation",
    "densities": "mixture random_fields spectra",
    "discrete": "denoisers guidance losses process sampling solvers",
    "flow_maps": "adversarial consistency curricula divergence drifting matching progressive residuals",
    "forcing": "guidance losses rolling",
    "guidance": "inverse sequences several_observations",
    "interpolants": "couplings",
    "io": "loading",
    "likelihood": "bound densities exact",
    "losses": "contrastive denoising",
    "metrics": "calibration detection distances inception neighbours resize",
    "networks": """
        autoencoders.autoencoder autoencoders.translation autoencoder_kl causal codebooks causal.causal_transformer
        causal.causal_wavenet causal.pixel_cnn causal.tiered discriminators features flows intermediates
        flows.autoregressive_flow mlp text_encoder unets.encoders wavenet""",
    "samplers": "adaptive annealing chains editing inversion log_prob particles repaint sampling",
    "times": "samplers",
    "tuning": "tune tuned",
    "typicality": "_scores calibration exact statistics",
}
"""Modules, by package, whose examples take more than about 1.5 seconds of CPU time."""
SLOW_MODULES = {
    *("scorekit.alignment", "scorekit.networks"),
    *(f"scorekit.{each}.{name}" for each in SLOW for name in SLOW[each].split()),
}
NEEDED = {
    **{f"scorekit.bridges.{name}": name for name in ("diffrax", "numpyro")},
    **{f"scorekit.data.{name}": "pretty_midi" for name in ("phrases", "soundfont", "synthesis")},
    "experiments.projects.audio.note_evaluators": "parselmouth",
}
"""The package of an extra that the examples of a module need."""

EXPERIMENTS = Path(scorekit.__file__).parents[1] / "experiments"


def with_examples(root):
    """The modules of experiments with examples that define no flags, which are of one program each."""
    for path in sorted(root.rglob("*.py")):
        text = path.read_text()
        if ">>>" in text and not re.search(r"^_[A-Z_]+.* = (?:shared|flags)\.", text, re.MULTILINE):
            yield ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW_MODULES else ()) for n in ("scorekit", *ALL)]
)
def test_examples_run(name):
    pytest.importorskip(NEEDED.get(name, "jax"))
    # networks are shown with parameters of no particular values, which compile several times faster from rbg keys
    keys = jax.default_prng_impl("rbg" if ".networks" in name else "threefry2x32")
    with keys:
        results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


@pytest.mark.parametrize("name", [*with_examples(EXPERIMENTS)])
def test_examples_of_experiments_run(name):
    pytest.importorskip(NEEDED.get(name, "jax"))
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
