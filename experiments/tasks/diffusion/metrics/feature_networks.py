"""The networks whose features are compared, and the names of their metrics: only Inception gives the FID."""

from collections.abc import Callable
from typing import NamedTuple

from scorekit import metrics
from scorekit.io.formats import inception, vgg
from scorekit.io.formats.inception import Loaded
from scorekit.metrics import Convention
from scorekit.typing import Array, ArrayLike


class FeatureNetwork(NamedTuple):
    """Attributes:
    name: the network's name, with which metrics begin.
    load: loads the network from the path of a file of weights.
    prepare: takes images and a convention to the input of the network.
    widths: the outputs that are kept, and their sizes, in the order of the columns.
    pool: the output of the Fréchet distance, the kernel distance, precision and recall.
    spatial: the output of the sFID, None if there is none.
    logits: the output of the Inception score, None if there is none.
    distance: the name of the Fréchet distance.
    kernel: the name of the kernel distance.
    """

    name: str
    load: Callable[[str], Loaded]
    prepare: Callable[[ArrayLike, Convention], Array]
    widths: dict[str, int]
    pool: str
    spatial: str | None
    logits: str | None
    distance: str
    kernel: str


_INCEPTION = {"2048": 2048, "spatial": 2023, "logits_unbiased": 1008}
NETWORKS = {
    "inception": FeatureNetwork(
        "Inception", inception.load, metrics.inception_input, _INCEPTION, "2048", "spatial", "logits_unbiased", "FID",
        "KID",
    ),
    "vgg": FeatureNetwork(
        "VGG", vgg.load, metrics.vgg_input, {"relu5_3": 512}, "relu5_3", None, None,
        "Fréchet distance of VGG features", "kernel distance of VGG features",
    ),
}  # fmt: skip
"""The networks by the names of ``evaluation.fid.network``."""
