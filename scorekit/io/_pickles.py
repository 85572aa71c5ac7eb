"""Pickles of other code bases without running their code: tensors are rebuilt, everything else is data or is refused.

A pickle names functions and classes of any package, which an ordinary unpickler imports and calls. Here a name is
looked up in a table of this file and nothing is ever imported: the functions of PyTorch and numpy that rebuild arrays
are replaced by our own, classes of PyTorch modules and the persistent classes of EDM and StyleGAN by :class:`Inert`
records of their state, whose source code in the file is not read. Any other name raises an error that names it.

Three containers are read: plain pickles, PyTorch's zip archives, and PyTorch's older files of several pickles.

Small files that would take much time or memory are errors: what is hashed holds no nested tuples, calls make no more
than a multiple of the bytes of the file, and archives are not compressed, as PyTorch writes them.
"""

import io
import pickle
import reprlib
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from scorekit.io._arrays import DTYPES, LazyArray, NumpyArray, NumpyDtype, Sealed, Storage, scalar
from scorekit.io._naming import naming
from scorekit.io.files import check_regular

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of PyTorch's older files


class Inert:
    """An object whose class was not imported: the name of that, and the attributes by name."""

    name = ""
    state: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any):
        found = object.__new__(cls)
        found.state = {}
        return found

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):  # with slots there are two
            self.state.update({str(k): v for k, v in part.items()} if isinstance(part, dict) else {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self.state[str(key)] = value  # of subclasses of dict


class Function(Sealed):
    """A function in the table of names."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


class _Dict(dict):
    """A dictionary whose attributes (``_metadata`` of a state) are dropped."""

    def __init__(self, items: Any = ()):
        super().__init__((_key(key), value) for key, value in items)

    def __setstate__(self, state: Any) -> None:
        pass


def _key(key: Any) -> Any:
    """What may be hashed: the time is exponential for tuples of tuples that share their parts."""
    nested = tuple | frozenset
    if isinstance(key, nested) and any(isinstance(part, nested) for part in key):
        raise pickle.UnpicklingError("refused a key of nested tuples")
    return key


def _tensor(storage: Any, offset: int, shape: tuple, strides: tuple, *_: Any) -> LazyArray:
    return LazyArray(storage, offset, shape, strides)


def _persistent(meta: dict[str, Any], *_: Any) -> Inert:
    """The record that a persistent class of EDM and StyleGAN leaves; its ``module_src`` is ignored."""
    name = meta.get("class_name")
    found = _inert(name if isinstance(name, str) else "")()
    found.__setstate__(meta.get("state"))
    return found


def _rebuilt(kind: Any, base: Any = object, state: Any = None) -> Any:
    if not (isinstance(kind, type) and issubclass(kind, Inert)):
        raise pickle.UnpicklingError(f"refused to rebuild an object of {reprlib.repr(kind)}")
    return kind()


def _inert(name: str) -> type[Inert]:
    return type("Inert", (Inert,), {"name": name})


class _StorageType(NamedTuple):
    dtype: np.dtype


def _first(value: Any, *_: Any) -> Any:
    return value


def _nested(data: bytes) -> Any:
    return _unpickle(io.BytesIO(data), len(data))


_NUMPY_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("copyreg", "_reconstructor"): _rebuilt,
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch.storage", "_load_from_bytes"): _nested,
    ("torch", "device"): _first,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    **{(core, "_reconstruct"): lambda *_: NumpyArray() for core in _NUMPY_CORES},
    **{(core, "scalar"): scalar for core in _NUMPY_CORES},
}
_KNOWN: dict[tuple[str, str], Any] = {
    **{name: Function(function) for name, function in _FUNCTIONS.items()},
    **{(module, "set"): Function(lambda items=(): set(map(_key, items))) for module in ("builtins", "__builtin__")},
    **{(module, "object"): object for module in ("builtins", "__builtin__")},
    **{("torch", f"{name}Storage"): _StorageType(dtype) for name, dtype in DTYPES.items()},
    ("collections", "OrderedDict"): _Dict,
    ("torch", "Size"): tuple,
    ("numpy", "dtype"): NumpyDtype,
    ("numpy", "ndarray"): NumpyArray,
    ("dnnlib.util", "EasyDict"): _inert("dnnlib.util.EasyDict"),
    ("argparse", "Namespace"): _inert("argparse.Namespace"),
}
"""The object that a name in a pickle stands for."""


_Base: Any = pickle._Unpickler
"""The unpickler in Python: the C one allocates memory for any index of the memo, and hashes keys unchecked."""


def _hashing(opcode: bytes, keys: slice) -> Callable[[Any], None]:
    """The operation, once the part ``keys`` of the stack was checked, which it hashes."""

    def operation(self: Any) -> None:
        for key in self.stack[keys]:
            _key(key)
        _Base.dispatch[opcode[0]](self)

    return operation


def _calling(opcode: bytes) -> Callable[[Any], None]:
    """The operation, whose arguments and result are taken from the budget of bytes."""

    def operation(self: Any) -> None:
        arguments = self.stack[-1] if self.stack and isinstance(self.stack[-1], tuple) else ()
        _Base.dispatch[opcode[0]](self)
        self.budget -= sum(map(sys.getsizeof, (*arguments, self.stack[-1])))
        if self.budget < 0:
            raise pickle.UnpicklingError("refused: its objects take more than 8 times the bytes of the file")

    return operation


_HASHED = {
    pickle.SETITEM: slice(-2, -1),
    pickle.SETITEMS: slice(None, None, 2),
    pickle.DICT: slice(None, None, 2),
    pickle.ADDITEMS: slice(None),
    pickle.FROZENSET: slice(None),
}
_CALLS = (pickle.REDUCE, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.OBJ, pickle.INST)


def _sized(self: Any) -> None:
    """The operation BYTEARRAY8, which would allocate as many bytes as the file states."""
    stated = int.from_bytes(self.read(8), "little")
    if stated > self._size:
        raise pickle.UnpicklingError(f"refused {stated:,} bytes in a file of {self._size:,}")
    self.append(bytearray(self.read(stated)))


class _Unpickler(_Base):
    """Looks names up in :data:`_KNOWN`; ``storage(key, dtype, size)`` answers the references to numbers."""

    dispatch: ClassVar = {
        **_Base.dispatch,
        **{opcode[0]: _hashing(opcode, keys) for opcode, keys in _HASHED.items()},
        **{opcode[0]: _calling(opcode) for opcode in _CALLS},
        pickle.BYTEARRAY8[0]: _sized,
    }

    def __init__(self, file: Any, size: int, storage: Callable[[str, np.dtype, int], Storage] | None = None):
        super().__init__(file, encoding="latin1")
        self._storage, self.budget = storage, 2**20 + 8 * size
        self._size = size

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) in _KNOWN:
            return _KNOWN[module_name, global_name]
        if module_name.startswith("torch.nn.modules."):
            return _inert(f"{module_name}.{global_name}")
        if module_name == "torch" and global_name.startswith(("float", "int", "bfloat", "uint", "bool")):
            return global_name  # a dtype
        raise pickle.UnpicklingError(f"refused {module_name}.{global_name}: a file of weights needs no such name")

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 2 or self._storage is None:
            raise pickle.UnpicklingError(f"refused the reference {reprlib.repr(pid)}")
        if pid[0] == "module":
            return pid[1]  # a class, and its source
        kind, key, size = pid[1], pid[2], pid[4]
        if pid[0] != "storage" or not isinstance(kind, _StorageType) or not isinstance(key, str | int):
            raise pickle.UnpicklingError(f"refused the reference {reprlib.repr(pid)}")
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("refused a storage that is a view of another one")
        return self._storage(str(key), kind.dtype, int(size))


def read_pickle(path: str | Path) -> Any:
    """The content of a pickle or of a file of ``torch.save``, without importing or running anything that it names.

    Dictionaries, lists and numbers are as they are; tensors :class:`LazyArray` and numpy arrays, other objects
    :class:`Inert`.
    """
    check_regular(path)
    size = Path(path).stat().st_size
    if not size:
        raise ValueError(f"{path}: it is empty")
    try:
        if zipfile.is_zipfile(path):
            return _from_zip(zipfile.ZipFile(path), path, size)
        with open(path, "rb") as file:
            if file.read(4) == b"PK\3\4":
                raise ValueError("refused an incomplete zip file (was its download cut off?)")
            file.seek(0)
            return _unpickle(file, size)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        why = "" if str(error).startswith("refused") else "damaged, or not a file of PyTorch or pickle: "
        raise ValueError(f"{path}: {why}{error or type(error).__name__}") from error


def _unpickle(file: Any, size: int) -> Any:
    storages: dict[str, Storage] = {}

    def storage(key: str, dtype: np.dtype, size: int) -> Storage:
        return storages.setdefault(key, Storage(dtype, size))

    found = _Unpickler(file, size).load()
    if found != _MAGIC:
        return _finish(found)
    for _ in range(2):  # the version of the protocol, and the sizes of the machine
        _Unpickler(file, size).load()
    found = _Unpickler(file, size, storage).load()
    for key in _Unpickler(file, size).load():
        count, here = int.from_bytes(file.read(8), "little"), storages[_key(key)]
        data = file.read(min(count * here.dtype.itemsize, size))
        if count != here.size or len(data) != count * here.dtype.itemsize:
            raise ValueError("the file ends before the numbers of a tensor")
        here.read = lambda data=data: data
    return _finish(found)


def _from_zip(archive: zipfile.ZipFile, path: str | Path, size: int) -> Any:
    compressed = next((m.filename for m in archive.infolist() if m.compress_type != zipfile.ZIP_STORED), None)
    if compressed is not None:
        raise ValueError(f"refused the compressed member {compressed!r}: PyTorch writes none")
    name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
    if name is None:
        raise ValueError("the archive has no data.pkl")
    root = name.removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("it was written on a machine of other byte order")

    def storage(key: str, dtype: np.dtype, count: int) -> Storage:
        member = archive.getinfo(f"{root}data/{key}")
        if member.file_size < count * dtype.itemsize:
            raise ValueError("the file ends before the numbers of a tensor")

        def read() -> bytes:
            with naming(path):
                return archive.read(member)

        return Storage(dtype, count, read)

    return _finish(_Unpickler(io.BytesIO(archive.read(name)), size, storage).load())


def _finish(found: Any, seen: dict[int, Any] | None = None) -> Any:
    """The object with arrays of numpy in place of those that were being rebuilt.

    Each object is visited once; ``seen`` holds it beside its result, so that its id is not used again.
    """
    seen = {} if seen is None else seen
    if id(found) in seen:
        return seen[id(found)][1]
    if isinstance(found, dict):
        seen[id(found)] = found, found
        for key in list(found):
            found[key] = _finish(found[key], seen)
    elif isinstance(found, Inert):
        seen[id(found)] = found, found
        _finish(found.state, seen)
    elif isinstance(found, list):
        seen[id(found)] = found, found
        found[:] = [_finish(value, seen) for value in found]
    elif isinstance(found, NumpyArray):
        seen[id(found)] = found, found.array()
    elif isinstance(found, tuple) and not isinstance(found, _StorageType):
        seen[id(found)] = found, tuple(_finish(value, seen) for value in found)
    return seen[id(found)][1] if id(found) in seen else found
