"""Checkpoints of PyTorch and pickles of EDM's kind, read without either; hostile pickles do nothing."""

import io
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from golden import random_tensors

from scorekit.io._pickles import Inert, read_pickle
from scorekit.io.reading import read_weights

ARRAYS = random_tensors.load("torch_files")[2]


def under(prefix):
    return {name.removeprefix(prefix): array for name, array in ARRAYS.items() if name.startswith(prefix)}


PLAIN = under("plain.")


@pytest.fixture
def write(tmp_path):
    def write(name, content=None, ending=".pt"):
        path = tmp_path / f"{name}{ending}"
        path.write_bytes(ARRAYS[f"file.{name}"].tobytes() if content is None else content)
        return path

    return write


def assert_same(named, expected):
    assert list(named) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(np.asarray(named[name]).astype(array.dtype), array)


@pytest.mark.parametrize("name", ["state_zip", "state_legacy"])
def test_states_of_both_containers_of_torch_are_read(write, name):
    assert_same(read_weights(write(name)).named, PLAIN)


@pytest.mark.parametrize("name", ["kinds", "kinds_legacy"])
def test_dtypes_views_and_shared_storages_are_read(write, name):
    named = read_weights(write(name)).named
    assert [np.asarray(named[k]).dtype.name for k in ("half", "bfloat", "long", "flag")] == [
        "float16",
        "bfloat16",
        "int64",
        "bool",
    ]
    assert_same(named, under("kinds."))


def test_averages_in_a_list_get_the_names_of_the_model(write):
    """The buffer and the frozen frequencies, which are not in the list, are those of the model."""
    path = write("score_sde", ending=".pth")
    named, averages = read_weights(path).named, [ARRAYS[f"average.{i}"] for i in range(4)]
    assert_same(
        named, {name: array for name, array in {**PLAIN, **dict(zip(list(PLAIN)[2:], averages, strict=True))}.items()}
    )
    assert_same(read_weights(path, key="model").named, PLAIN)
    with pytest.raises(ValueError, match="key must be one of optimizer, model, ema, step, got 'net'"):
        read_weights(path, key="net")


def test_nested_averages_are_preferred(write):
    path = write("dit")
    assert_same(read_weights(path).named, {name: 2 * array for name, array in PLAIN.items()})
    assert_same(read_weights(path, "model").named, PLAIN)


def test_a_persistent_class_becomes_a_record(write, tmp_path, monkeypatch):
    """Neither its source code runs, nor is anything imported."""
    monkeypatch.chdir(tmp_path)
    path = write("edm", ending=".pkl")
    before = set(sys.modules)
    named, facts = read_weights(path)
    assert_same(named, under("edm."))
    assert facts["class"] == "EDMPrecond"
    assert facts["sigma_data"] == 0.25
    content = read_pickle(path)
    np.testing.assert_array_equal(content["mean"], np.arange(6).reshape(2, 3))
    assert content["dataset_kwargs"].state == {"path": "x.zip", "size": 3}
    assert not (tmp_path / "ran.txt").exists()
    assert not {name for name in set(sys.modules) - before if name.startswith(("torch", "dnnlib"))}


def test_whole_modules_are_read(write):
    assert list(read_weights(write("module_legacy")).named) == ["weight", "bias"]


# ---- what is refused -----------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def glob(name):
    """The opcode that looks a name up."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def legacy(data):
    """An older file of PyTorch around a pickle."""
    return b"".join(pickle.dumps(x) for x in (0x1950A86A20F9469CFC6C, 1001, {})) + data + pickle.dumps([])


def zipped(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return file.getvalue()


MARK = "open('ran.txt', 'w').close()"
INNER = pickle.dumps((pickle.dumps(Call(eval, MARK)),))[2:-1]
DOTTED = b"\x80\x04\x8c\x0ctorch._utils\x8c\x1b_rebuild_tensor_v2.__init__\x93."
OBJECT = glob("copyreg _reconstructor") + glob("builtins set") + glob("builtins object") + b"N\x87R."
HOSTILE = {
    "system": (pickle.dumps(Call(__import__("os").system, "touch ran.txt")), r"refused (posix|nt).system"),
    "eval": (pickle.dumps(Call(eval, MARK)), "refused builtins.eval"),
    "nested": (pickle.dumps({"ema": [{"a": (Call(exec, MARK),)}]}), "refused builtins.exec"),
    "bytes": (glob("torch.storage _load_from_bytes") + INNER + b"R.", "refused builtins.eval"),
    "getattr": (glob("builtins getattr") + b".", "refused builtins.getattr"),
    "dotted": (DOTTED, "refused torch._utils._rebuild_tensor_v2.__"),
    "torch": (glob("torch load") + b".", "refused torch.load"),
    "module": (glob("torch.nn.functional conv2d") + b".", "refused torch.nn.functional.conv2d"),
    "change": (glob("torch._utils _rebuild_tensor_v2") + b"}b.", "refused to change a Function"),
    "legacy": (legacy(pickle.dumps(Call(eval, MARK))), "refused builtins.eval"),
    "zip": (zipped(pickle.dumps(Call(eval, MARK))), "refused builtins.eval"),
    "reference": (b"\x80\x02X\x03\x00\x00\x00abcQ.", "refused the reference 'abc'"),
    "object": (OBJECT, "refused to rebuild"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_do_nothing(write, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    data, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        read_pickle(write("hostile", data, ".pkl"))
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.pkl"]


def tensor_of(offset, shape, strides):
    """An older file with one tensor of two numbers."""
    storage = b"(" + pickle.dumps("storage")[2:-1] + glob("torch FloatStorage") + pickle.dumps("0")[2:-1]
    storage += pickle.dumps("cpu")[2:-1] + b"K\x02NtQ"
    arguments = b"".join(pickle.dumps(x, 2)[2:-1] for x in (offset, shape, strides, False, {}))
    body = b"\x80\x02" + glob("torch._utils _rebuild_tensor_v2") + b"(" + storage + arguments + b"tR."
    head = b"".join(pickle.dumps(x) for x in (0x1950A86A20F9469CFC6C, 1001, {}))
    return head + body + pickle.dumps(["0"]) + struct.pack("<q2f", 2, 1.0, 2.0)


def test_a_tensor_does_not_reach_beyond_its_storage(write):
    np.testing.assert_array_equal(read_pickle(write("good", tensor_of(1, (1,), (1,)))), [2.0])
    for case in [
        (0, (3,), (1,)),
        (0, (2,), (2,)),
        (2, (1,), (1,)),
        (-1, (1,), (1,)),
        (0, (10**9,), (0,)),
        (0, (2.0,), (1,)),
    ]:
        with pytest.raises(ValueError, match=r"reaches beyond|no sizes"):
            read_pickle(write("bad", tensor_of(*case)))
    with pytest.raises(ValueError, match="ends before the numbers"):
        read_pickle(write("short", tensor_of(0, (2,), (1,))[:-1]))


def test_damaged_files_are_named(write):
    whole = ARRAYS["file.state_zip"].tobytes()
    for name, data in {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a pickle"}.items():
        with pytest.raises(ValueError, match=f"{name}.pt"):
            read_weights(write(name, data))
    with pytest.raises(ValueError, match="holds no tensors"):
        read_weights(write("nothing", pickle.dumps({"epoch": 3})))
    with pytest.raises(ValueError, match=r"path must end in .safetensors, .pt"):
        read_weights(write("model", b"", ".onnx"))


def test_numpy_arrays_of_objects_are_refused(write):
    with pytest.raises(ValueError, match="not one of numbers"):
        read_pickle(write("objects", pickle.dumps(np.array([None, 1], object))))


def test_records_of_modules_keep_their_attributes_only(write):
    data = b"\x80\x02" + glob("torch.nn.modules.linear Linear") + b")\x81}X\x01\x00\x00\x00aK\x01sb."
    pickletools.dis(data, io.StringIO())
    found = read_pickle(write("record", data))
    assert isinstance(found, Inert)
    assert (found.name, found.state) == ("torch.nn.modules.linear.Linear", {"a": 1})


@pytest.mark.external
def test_the_golden_file_is_what_torch_writes(tmp_path):
    pytest.importorskip("torch")
    subprocess.run([sys.executable, random_tensors.FOLDER / "make_torch_files.py", tmp_path], check=True)
    with np.load(tmp_path / "torch_files.npz") as file:
        assert set(ARRAYS) == set(file) - {"header"}
        for name in ARRAYS:
            if not name.startswith("file."):
                np.testing.assert_allclose(file[name], ARRAYS[name], rtol=1e-6)
            else:
                (tmp_path / "again.pt").write_bytes(file[name].tobytes())
                assert list(read_weights(tmp_path / "again.pt").named)
