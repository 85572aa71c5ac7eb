"""Every public module's examples run, and every public function has one."""

import doctest
import importlib
import pkgutil

import jax
import pytest

import scorekit

CORE = ("typing", "trees", "schedules", "predictions", "weightings", "times", "densities", "process", "denoisers")
CORE += ("losses", "guidance", "solvers", "likelihood", "typicality", "flow_maps")
CORE += ("discrete", "autoregressive", "forcing")
ALL = sorted(m.name for m in pkgutil.walk_packages(scorekit.__path__, "scorekit.") if m.name != "scorekit._version")
MODULES = [name for name in ALL if not any(part.startswith("_") for part in name.split("."))]


SLOW = {
    "scorekit.audio.ddsp.analysis",
    "scorekit.audio.ddsp.synthesis",
    "scorekit.audio.ddsp.representation",
    "scorekit.audio.frequency",
    "scorekit.audio.mel_features",
    "scorekit.audio.representations",
    "scorekit.audio.stft",
    "scorekit.audio.structure",
    "scorekit.autoregressive.exact",
    "scorekit.autoregressive.models",
    "scorekit.autoregressive.smoothing",
    "scorekit.bridges.diffrax",
    "scorekit.data.augmentation",
    "scorekit.densities.mixture",
    "scorekit.discrete.denoisers",
    "scorekit.discrete.guidance",
    "scorekit.discrete.losses",
    "scorekit.discrete.sampling",
    "scorekit.discrete.solvers",
    "scorekit.flow_maps.adversarial",
    "scorekit.flow_maps.consistency",
    "scorekit.flow_maps.curricula",
    "scorekit.flow_maps.matching",
    "scorekit.flow_maps.progressive",
    "scorekit.flow_maps.residuals",
    "scorekit.forcing.losses",
    "scorekit.forcing.rolling",
    "scorekit.guidance.inverse",
    "scorekit.guidance.sequences",
    "scorekit.io.loading",
    "scorekit.likelihood.bound",
    "scorekit.likelihood.exact",
    "scorekit.losses.denoising",
    "scorekit.metrics.detection",
    "scorekit.metrics.inception",
    "scorekit.metrics.resize",
    "scorekit.metrics.vgg",
    "scorekit.networks",
    "scorekit.networks.autoencoder",
    "scorekit.networks.autoencoder_kl",
    "scorekit.networks.causal.causal_transformer",
    "scorekit.networks.causal.causal_wavenet",
    "scorekit.networks.causal.tiered",
    "scorekit.networks.discriminators",
    "scorekit.networks.features",
    "scorekit.networks.mlp",
    "scorekit.networks.text_encoder",
    "scorekit.networks.unets.encoders",
    "scorekit.networks.wavenet",
    "scorekit.densities.random_fields",
    "scorekit.samplers.adaptive_stochastic",
    "scorekit.samplers.chains",
    "scorekit.samplers.editing",
    "scorekit.samplers.inversion",
    "scorekit.samplers.log_prob",
    "scorekit.samplers.parallel",
    "scorekit.samplers.particles",
    "scorekit.samplers.repaint",
    "scorekit.samplers.sampling",
    "scorekit.densities.spectra",
    "scorekit.times.samplers",
    "scorekit.tuning.tune",
    "scorekit.typicality._scores",
    "scorekit.typicality.calibration",
    "scorekit.typicality.exact",
    "scorekit.typicality.statistics",
}
"""Modules whose examples take more than about 1.5 seconds of CPU time."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in ("scorekit", *ALL)]
)
def test_examples_run(name):
    # networks are shown with parameters of no particular values, which compile several times faster from rbg keys
    keys = jax.default_prng_impl("rbg" if ".networks" in name else "threefry2x32")
    with keys:
        results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
