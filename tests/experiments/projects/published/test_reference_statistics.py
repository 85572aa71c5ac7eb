"""The statistics of the features of a folder of images, as a file for the FID."""

import numpy as np
import small_inception
from PIL import Image
from programs import fails, succeeds
from small_inception import CHECKSUM, IMAGES

from experiments.tasks.diffusion.metrics import inception


def test_the_statistics_of_a_folder_are_written(monkeypatch, tmp_path):
    small = small_inception.install(monkeypatch, tmp_path)
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{i:02d}.png")
    out = tmp_path / "reference.npz"
    wanted = [f"--data={tmp_path}", f"--weights={small}", f"--out={out}", "--features=4", "--resize=torch"]
    printed = succeeds("projects.published.reference_statistics", *wanted)
    assert f"20 images, resize torch, weights {CHECKSUM}" in printed
    extract = inception.Extractor(str(small), "torch", "")
    with np.load(out) as file:
        np.testing.assert_allclose(file["sigma"], np.cov(extract.of_bytes(IMAGES)[:, :5], rowvar=False), rtol=1e-4)
        assert file["features"].shape == (4, 5)
        assert file["mu_s"].shape == (4,)
    err = fails(
        "projects.published.reference_statistics", *wanted[1:], "--overwrite", "--data=no_such_set", at_once=False
    )
    assert err.startswith("error: --data=no_such_set: ")
