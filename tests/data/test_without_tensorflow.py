"""Official TFDS builders prepared from staged downloads, with no TensorFlow and no network."""

import gzip
import importlib.util
import io
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, resource
from tensorflow_datasets.core.utils import lazy_imports_utils
from tensorflow_datasets.image_classification import mnist

from scorekit.data import load
from scorekit.data.tfds import tensorflow_stand_in

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed: nothing is replaced"
)


def stage(data_dir, name, files):
    """Writes files, by the end of their URL, to the download cache of TFDS, which does not verify them again."""
    url_infos = {**checksums.get_all_url_infos(), **(tfds.builder_cls(name).url_infos or {})}
    folder = data_dir / "downloads" / name
    folder.mkdir(parents=True)
    for ending, content in files.items():
        (url,) = (u for u in url_infos if u.endswith(ending))
        path = folder / resource.get_dl_fname(url, url_infos[url].checksum)
        path.write_bytes(content)
        resource.write_info_file(
            url=url, path=path, dataset_name=name, original_fname=ending.split("/")[-1], url_info=url_infos[url]
        )


def random_images(n, shape, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), np.uint8), rng.integers(0, 10, n, np.uint8)


def assert_holds(loaded, x, label):
    """Equal up to TFDS's shuffle."""
    key = lambda x, y: sorted(bytes([c]) + image.tobytes() for image, c in zip(x, y, strict=True))
    assert key(loaded.x, loaded.label) == key(x, label)
    assert (loaded.bins, loaded.num_classes) == (256, 10)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes()
    return gzip.compress(header + array.tobytes())


@pytest.mark.parametrize(("name", "site"), [("mnist", "cvdf-datasets/mnist/"), ("fashion_mnist", "amazonaws.com/")])
def test_mnist_and_fashion_mnist(tmp_path, monkeypatch, name, site):
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 12)
    monkeypatch.setattr(mnist, "_TEST_EXAMPLES", 5)
    train, test = random_images(12, (28, 28, 1), 0), random_images(5, (28, 28, 1), 1)
    files = {}
    for part, (x, label) in {"train": train, "t10k": test}.items():
        files[f"{site}{part}-images-idx3-ubyte.gz"] = idx(x[..., 0])
        files[f"{site}{part}-labels-idx1-ubyte.gz"] = idx(label)
    stage(tmp_path, name, files)
    assert_holds(load(name, "train", tmp_path), *train)
    assert_holds(load(name, "test", tmp_path), *test)


def test_cifar10(tmp_path):
    parts = [random_images(3, (32, 32, 3), seed) for seed in range(6)]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:

        def add(name, content):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for i, (x, label) in enumerate(parts):
            records = [bytes([c]) + image.transpose(2, 0, 1).tobytes() for image, c in zip(x, label, strict=True)]
            add("test_batch.bin" if i == 5 else f"data_batch_{i + 1}.bin", b"".join(records))
        add("batches.meta.txt", "\n".join(f"class_{i}" for i in range(10)).encode())
    stage(tmp_path, "cifar10", {"/cifar-10-binary.tar.gz": buffer.getvalue()})
    train = [np.concatenate([part[i] for part in parts[:5]]) for i in (0, 1)]
    assert_holds(load("cifar10", "train", tmp_path), *train)
    assert_holds(load("cifar10", "test", tmp_path), *parts[5])


def test_svhn_cropped(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    files, sets = {}, {}
    for seed, part in enumerate(("train", "test", "extra")):
        x, label = sets[part] = random_images(4, (32, 32, 3), seed)
        buffer = io.BytesIO()
        savemat(buffer, {"X": x.transpose(1, 2, 3, 0), "y": np.where(label == 0, 10, label)[:, None]})
        files[f"/{part}_32x32.mat"] = buffer.getvalue()
    stage(tmp_path, "svhn_cropped", files)
    assert_holds(load("svhn_cropped", "train", tmp_path), *sets["train"])
    assert_holds(load("svhn_cropped", "test", tmp_path), *sets["test"])


def test_stub_is_removed_and_raises_for_other_attributes():
    with tensorflow_stand_in():
        with pytest.raises(ImportError, match=r"tf\.constant needs TensorFlow: pip install tensorflow-cpu"):
            _ = lazy_imports_utils.tensorflow.constant
        feature = tfds.features.Image(shape=(2, 2, 1))
        with pytest.raises(ValueError, match=r"uint8 \(H, W, C\), got float64"):
            feature.encode_example(np.zeros((2, 2, 1)))
    assert "_module" not in lazy_imports_utils.tensorflow.__dict__
    with pytest.raises(ImportError, match="tensorflow"):
        _ = lazy_imports_utils.tensorflow.io
