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


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_arrays_of_numpy_are_read_by_their_order_and_byte_order(write, protocol):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {"c": x, "f": np.asfortranarray(x), "big": x.astype(">i2"), "scalar": np.float64(0.5), "zero": x[0, 1]}
    found = read_pickle(write("numpy", pickle.dumps(arrays, protocol)))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    objects = pickle.dumps({"o": np.array([None], object)}, protocol)
    with pytest.raises(ValueError, match="has the dtype O8, which is not one of numbers"):
        read_pickle(write("objects", objects))


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
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_do_nothing(write, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    data, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        read_pickle(write("hostile", data, ".pkl"))
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.pkl"]


def tensor(offset, shape, strides, count=2):
    """The opcodes of a tensor in an older file."""
    storage = b"(" + pickle.dumps("storage")[2:-1] + glob("torch FloatStorage") + pickle.dumps("0")[2:-1]
    storage += pickle.dumps("cpu")[2:-1] + b"M" + struct.pack("<H", count) + b"NtQ"
    arguments = b"".join(pickle.dumps(x, 2)[2:-1] for x in (offset, shape, strides, False, {}))
    return glob("torch._utils _rebuild_tensor_v2") + b"(" + storage + arguments + b"tR"


def numbers(body, count=2):
    """An older file with tensors of the numbers 1, 2, ..."""
    head = b"".join(pickle.dumps(x) for x in (0x1950A86A20F9469CFC6C, 1001, {}))
    end = pickle.dumps(["0"]) + struct.pack(f"<q{count}f", count, *range(1, count + 1))
    return head + b"\x80\x02" + body + b"." + end


def tensor_of(*sizes):
    return numbers(tensor(*sizes))


def persistent(reference):
    """An older file of PyTorch with a reference."""
    return legacy(b"\x80\x02" + reference + b"Q.")


def module(name, *inner):
    """A module with these within, each one that has been put into the memo."""
    put = b"".join(b"X\x01\x00\x00\x00" + bytes([97 + i]) + b"h" + bytes([n]) + b"s" for i, n in enumerate(inner))
    state = b"}X\x08\x00\x00\x00_modules}" + put + b"s"
    return glob("torch.nn.modules.container Sequential") + b")\x81q" + bytes([name]) + state + b"b"


def deflated():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bytes(10**7)))
    return file.getvalue()


def shared(count):
    """A state of many tensors, all of the same numbers."""
    items = b"".join(pickle.dumps(str(i), 2)[2:-1] + b"h\xffs" for i in range(count))
    return numbers(tensor(0, (1000,), (1,), 1000) + b"q\xff0}" + items, 1000)


SHARING = b")" + b"2\x86" * 60
"""A tuple of two of itself, sixty times: 2 ** 60 parts."""
TEXT = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6
NESTED = b"N."
for _ in range(12):  # each opens the one within ten times
    opening = glob("torch.storage _load_from_bytes") + b"q\x00B" + struct.pack("<I", len(NESTED)) + NESTED + b"q\x01"
    NESTED = opening + b"](" + b"h\x00h\x01\x85R" * 10 + b"e."
LARGE = {
    "nested tuples": (b"\x80\x02" + SHARING + b".", "holds no tensors by name, but a tuple"),
    "values": (b"\x80\x02}K\x01" + SHARING + b"s.", "holds no tensors"),
    "attributes": (glob("argparse Namespace") + b")R" + SHARING + b"K\x01s.", "holds no tensors"),
    "storage": (persistent(b"(K\x01K\x02" + SHARING + b"K\x03K\x04t"), "refused the reference"),
    "base": (glob("copyreg _reconstructor") + SHARING + b"NN\x87R.", "refused to rebuild"),
    "memo": (b"Nr\xff\xff\xff\x7f.", "refused the place 2,147,483,647 in the memo"),
    "memo in text": (b"Np268435456\n.", "refused the place 268,435,456 in the memo"),
    "bytes": (b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"x.", "damaged"),
    "calls": (glob("_codecs encode") + b"q\x00" + TEXT + b"q\x01](" + b"h\x00h\x01\x85R" * 1000 + b"e.", "8 times"),
    "files within files": (NESTED, "8 times"),
    "lists": (b"]" * 10**5 + b"a" * (10**5 - 1) + b".", "no tensors by name, but a list"),
    "deflated": (deflated(), "refused the compressed member 'archive/data.pkl'"),
    "itself": (b"}q\x00X\x03\x00\x00\x00emah\x00s.", "damaged .RecursionError"),
    "a module of itself": (b"\x80\x02" + module(0, 0) + b".", "damaged .RecursionError"),
    "modules": (b"\x80\x02" + module(0) + b"".join(module(n, n - 1, n - 1) for n in range(1, 40)) + b".", "65,536 mod"),
    "tensors": (shared(1000), "its tensors take 4,000,000 bytes, more than 8 times those of the file, "),
}


@pytest.mark.parametrize("name", LARGE)
def test_small_files_do_not_take_much_memory(write, name):
    data, message = LARGE[name]
    with pytest.raises(ValueError, match=rf"large.pt: .*{message}"):
        read_weights(write("large", data))


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
