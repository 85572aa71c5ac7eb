"""Writes ``inception.npz``: features, resized images and metrics of torch-fidelity, pytorch-fid and clean-fid.

    python tests/golden/make_inception.py [folder]

Needs torch, torch-fidelity, pytorch-fid and clean-fid, and no download: the weights are drawn from their names.
"""

import unittest.mock

import numpy as np
import pytorch_fid.inception as pytorch_fid
import torch
from cleanfid.resize import make_resizer
from random_tensors import fill, save, versions
from torch_fidelity import feature_extractor_inceptionv3 as fidelity
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

NAMES = ("64", "192", "768", "2048", "logits_unbiased", "logits")
SIZES = {"larger": 13, "smaller": 5}


def images(height: int, width: int, count: int = 1) -> np.ndarray:
    """Smooth colours with some noise: other images give other features."""
    rng = np.random.RandomState(0)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(rng.uniform(2, 12, 3) * x[..., None] + rng.uniform(2, 12, 3) * y[..., None]) for _ in range(count)]
    noise = rng.normal(0, 20, (count, height, width, 3))
    return np.clip(128 + 90 * np.stack(waves) + noise, 0, 255).astype(np.uint8)


def inception() -> tuple[fidelity.FeatureExtractorInceptionV3, dict[str, tuple[int, ...]]]:
    """torch-fidelity's network with weights drawn from their names, and their shapes."""
    with (
        unittest.mock.patch.object(fidelity, "load_state_dict_from_url", return_value={}),
        unittest.mock.patch.object(fidelity.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        network = fidelity.FeatureExtractorInceptionV3("inception", list(NAMES))
    return network, fill(network, chosen=lambda name: not name.endswith("num_batches_tracked"))


def resized() -> dict[str, np.ndarray]:
    """A picture that is not square, at a larger and a smaller size, by each convention."""
    found = {"resize/input": images(7, 9)}
    x = torch.tensor(found["resize/input"]).permute(0, 3, 1, 2).float()
    back = lambda y: y.permute(0, 2, 3, 1).numpy()
    for name, side in SIZES.items():
        size = (side, side)
        found[f"resize/tf1/{name}"] = back(interpolate_bilinear_2d_like_tensorflow1x(x, size, align_corners=False))
        found[f"resize/torch/{name}"] = back(torch.nn.functional.interpolate(x, size, mode="bilinear"))
        clean = make_resizer("PIL", False, "bicubic", size)
        found[f"resize/clean/{name}"] = np.stack([clean(image) for image in found["resize/input"]])
    return found


def metrics() -> dict[str, np.ndarray]:
    """Of features that the file holds: FID of more and of fewer examples than features, KID, IS, precision, recall."""
    rng = np.random.RandomState(1)
    fake, real, logits = rng.normal(0.3, 1, (60, 8)), rng.normal(0, 1.2, (50, 8)) ** 2, rng.normal(0, 2, (45, 12))
    found = {"metrics/fake": fake, "metrics/real": real, "metrics/logits": logits}
    for name, rows in {"many": 50, "few": 6}.items():
        both = [metric_fid.fid_features_to_statistics(torch.tensor(part[:rows])) for part in (fake, real)]
        found[f"metrics/fid/{name}"] = metric_fid.fid_statistics_to_metric(*both, False)[metric_fid.KEY_METRIC_FID]
    pair = torch.tensor(fake), torch.tensor(real)
    options = {"kid_subsets": 7, "kid_subset_size": 20, "rng_seed": 2020, "verbose": False}
    kid = metric_kid.kid_features_to_metric(*pair, **options)
    found["metrics/kid"] = [kid[name] for name in (metric_kid.KEY_METRIC_KID_MEAN, metric_kid.KEY_METRIC_KID_STD)]
    score = metric_isc.isc_features_to_metric(torch.tensor(logits), splits=4, shuffle=False)
    found["metrics/isc"] = [score[name] for name in (metric_isc.KEY_METRIC_ISC_MEAN, metric_isc.KEY_METRIC_ISC_STD)]
    near = metric_prc.prc_features_to_metric(*pair, prc_neighborhood=3, verbose=False)
    found["metrics/precision_recall"] = [near["precision"], near["recall"]]
    return {name: np.asarray(value) for name, value in found.items()}


def features(network: fidelity.FeatureExtractorInceptionV3) -> dict[str, np.ndarray]:
    """The outputs of torch-fidelity for uint8 images, that of the sFID, and the last ones of pytorch-fid."""
    x = images(32, 32, 2)
    pixels, spatial = torch.tensor(x).permute(0, 3, 1, 2), []
    first = network.Mixed_6d.branch1x1.register_forward_hook(lambda *args: spatial.append(args[2]))
    with torch.no_grad():
        found = dict(zip((f"tf1/{name}" for name in NAMES), network(pixels), strict=True))
        first.remove()
        found["tf1/spatial"] = spatial[0][:, :7].permute(0, 2, 3, 1).reshape(2, -1)
        state = network.state_dict()
        with unittest.mock.patch.object(pytorch_fid, "load_state_dict_from_url", return_value=state):
            other = pytorch_fid.InceptionV3().eval()
        found["torch/2048"] = other(pixels.float() / 255)[0][..., 0, 0]
    return {"images": x, **{name: value.numpy() for name, value in found.items()}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    network, shapes = inception()
    about = versions("torch", "torch-fidelity", "pytorch-fid", "clean-fid", "pillow")
    save("inception", shapes, about, **features(network), **resized(), **metrics())
