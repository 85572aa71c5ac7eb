"""The networks whose features are compared, and what their metrics are called: only those of Inception are the FID."""

from collections.abc import Callable
from typing import NamedTuple

from scorekit import metrics
from scorekit.io.formats import inception, vgg
from scorekit.io.formats.inception import Loaded
from scorekit.metrics.resize import Convention
from scorekit.typing import Array, ArrayLike


class FeatureNetwork(NamedTuple):
    """Attributes:
    name: of the network, as metrics begin with it.
    load: from the path of a file of weights.
    prepare: from images and a convention to the input of the network.
    widths: the outputs that are kept, and their sizes, in the order of the columns.
    pool: the output of the Fréchet distance, the kernel distance, precision and recall.
    spatial: that of the sFID, None if there is none.
    logits: that of the Inception score, None if there is none.
    distance: what the Fréchet distance is called.
    kernel: what the kernel distance is called.
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
"""By the names of ``evaluation.fid.network``."""
