"""The handwritten digits of scikit-learn as a TensorFlow Datasets builder: real scans, without a download.

Importing this module registers the builder under the TFDS name ``sklearn_digits``.

The scans are ordered by the thirteen writers, who are not identified. A random split may underrepresent a writer or a
class in one part, and a split by position would test on writers that are not in the training set. The 297 test scans
are therefore a systematic sample: the scans are sorted by (class, position) and the test scans are taken from that list
at equal strides. Both splits then contain all classes (29 or 30 test scans each) and all parts of the file, hence all
writers, and the split does not depend on a random generator.
"""

import numpy as np
import tensorflow_datasets as tfds

BINS = 17
TEST_SIZE = 297

_DESCRIPTION = """\
1,797 handwritten digits by 13 writers, scanned as 32x32 bitmaps and reduced to 8x8 by counting the ink of each 4x4
block: integers 0..16. This is the copy that scikit-learn carries of the test part of the UCI data set "Optical
Recognition of Handwritten Digits". Split here into train (1,500) and test (297), both with all classes and writers.
"""

_CITATION = """\
@misc{optical_recognition_of_handwritten_digits_80,
  author = {Alpaydin, Ethem and Kaynak, Cenk},
  title  = {Optical Recognition of Handwritten Digits},
  year   = {1998},
  note   = {UCI Machine Learning Repository},
  doi    = {10.24432/C50P49}
}
"""


class SklearnDigits(tfds.core.GeneratorBasedBuilder):
    """The ``sklearn_digits`` data set: ``image`` (8, 8, 1) uint8 in 0..16 and ``label`` 0..9."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8, encoding="bytes"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/",
            citation=_CITATION,
            license="CC BY 4.0 (UCI); distributed with scikit-learn under BSD-3-Clause",
            metadata=tfds.core.MetadataDict(levels=BINS),
        )

    def _split_generators(self, dl_manager):
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        scans = pixels.astype(np.uint8).reshape(-1, 8, 8, 1)
        train, test = split_indices(labels)
        return {
            "train": self._generate_examples(scans, labels, train),
            "test": self._generate_examples(scans, labels, test),
        }

    def _generate_examples(self, scans, labels, indices):
        for i in indices:
            yield int(i), {"image": scans[i], "label": int(labels[i])}


def split_indices(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ``N - 297`` train and the 297 test positions in the file, both increasing; ``labels`` are in its order."""
    by_class = np.lexsort((np.arange(len(labels)), labels))
    strides = (2 * np.arange(TEST_SIZE) + 1) * len(labels) // (2 * TEST_SIZE)
    test = np.sort(by_class[strides])
    return np.setdiff1d(np.arange(len(labels)), test), test
