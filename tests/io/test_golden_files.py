"""Each golden file is what its script writes, where the packages that the script compares with are installed."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from golden import random_tensors

PORTED = ("azula", "diffusers", "hackable_diffusion", "k_diffusion")
SCRIPTS = {
    "adm": (["azula"], ["adm_legacy", "adm_new", "adm_upsampler"], 1e-4, 1e-4),
    "dhariwal": (["physicsnemo"], ["dhariwal"], 1e-4, 1e-4),
    "autoencoder_kl": (["torch", "diffusers"], ["autoencoder_kl"], 1e-4, 1e-5),
    "ddpm": (["torch", "diffusers"], ["ddpm"], 1e-4, 1e-5),
    "dit": (["diffusers"], ["dit"], 1e-4, 1e-4),
    "edm2": (["dew"], ["edm2"], 1e-5, 1e-5),
    "edm2_karras_unet": (["denoising_diffusion_pytorch"], ["edm2_karras_unet"], 1e-5, 1e-5),
    "song_unet": (["physicsnemo.models.diffusion_unets"], ["song_unet_ddpmpp", "song_unet_ncsnpp"], 1e-4, 1e-4),
    "score_sde": (["sgmse"], ["score_sde_ddpmpp", "score_sde_ncsnpp"], 1e-4, 1e-4),
    "inception": (["torch", "torch_fidelity", "pytorch_fid", "cleanfid"], ["inception"], 1e-4, 1e-5),
    "post_hoc_ema": (["ema_pytorch"], ["post_hoc_ema"], 1e-5, 1e-6),
    **{f"ports {name}": ([name], [f"ports_{name}"], 0.0, 1e-9) for name in PORTED},
    "ports flow_matching": (["flow_matching", "torchdyn"], ["ports_flow_matching"], 0.0, 1e-9),
    **{f"ports {name}": ([f"PORTS/{name}"], [f"ports_{name}"], 0.0, 1e-9) for name in ("edm", "score_sde")},
}
"""By script, and its argument: the packages, the files, and how far arrays may be off, relatively and absolutely."""


def is_installed(package):
    if package.startswith("PORTS/"):  # a clone
        return "PORTS" in os.environ
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a package that would hold it
        return False


@pytest.mark.external
@pytest.mark.parametrize("script", SCRIPTS)
def test_golden_files_are_reproduced(script, tmp_path):
    packages, files, rtol, atol = SCRIPTS[script]
    if not all(map(is_installed, packages)):
        pytest.skip(f"needs {', '.join(packages)}")
    name, *arguments = script.split()
    command = [sys.executable, random_tensors.FOLDER / f"make_{name}.py", tmp_path, *arguments]
    subprocess.run(command, check=True, timeout=3600)
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == files
    for name in files:
        with np.load(tmp_path / f"{name}.npz") as made, np.load(random_tensors.FOLDER / f"{name}.npz") as stored:
            assert set(made) == set(stored)
            for array in set(stored) - {"header"}:
                np.testing.assert_allclose(made[array], stored[array], rtol=rtol, atol=atol)
