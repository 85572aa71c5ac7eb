"""Pickles of other code bases without running their code: tensors are rebuilt, everything else is data or is refused.

A pickle names functions and classes of any package, which an ordinary unpickler imports and calls. Here a name is
looked up in a table of this file and nothing is ever imported: the functions of PyTorch and numpy that rebuild arrays
are replaced by our own, classes of PyTorch modules and the persistent classes of EDM and StyleGAN by :class:`Inert`
records of their state, whose source code in the file is not read. Any other name raises an error that names it.

Three containers are read: plain pickles, PyTorch's zip archives, and PyTorch's older files of several pickles.

Small files that would take much memory are errors: functions make no more than a multiple of the bytes of the file,
the memo has no more places than the file has operations, and archives are not compressed, as PyTorch writes them.
Time has no limit: to hash a key of tuples within tuples may take for ever.
"""

import io
import pickle
import pickletools
import reprlib
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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
        made = object.__new__(cls)
        made.state = {}
        return made

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):  # with slots there are two
            self.state.update({k: v for k, v in part.items() if isinstance(k, str)} if isinstance(part, dict) else {})

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str):  # of subclasses of dict
            self.state[key] = value


class _Budget:
    """The bytes that the functions of a pickle may still take and make."""

    def __init__(self, size: int):
        self._left = 2**20 + 8 * size

    def spend(self, *values: Any) -> None:
        self._left -= sum(map(sys.getsizeof, values))
        if self._left < 0:
            raise pickle.UnpicklingError("refused: its objects take more than 8 times the bytes of the file")


class Function(Sealed):
    """A function in the table of names, whose arguments and result are taken from a budget."""

    def __init__(self, function: Callable[..., Any], budget: _Budget):
        self._function, self._budget = function, budget

    def __call__(self, *args: Any) -> Any:
        made = self._function(*args)
        self._budget.spend(*args, made)
        return made


class _Dict(dict):
    """A dictionary whose attributes (``_metadata`` of a state) are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(storage: Any, offset: int, shape: tuple, strides: tuple, *_: Any) -> LazyArray:
    return LazyArray(storage, offset, shape, strides)


def _persistent(meta: dict[str, Any], *_: Any) -> Inert:
    """The record that a persistent class of EDM and StyleGAN leaves; its ``module_src`` is ignored."""
    name = meta.get("class_name")
    made = _inert(name if isinstance(name, str) else "")()
    made.__setstate__(meta.get("state"))
    return made


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


_NUMPY_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUILTINS = ("builtins", "__builtin__")
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("copyreg", "_reconstructor"): _rebuilt,
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch", "device"): _first,
    ("torch", "Size"): tuple,
    ("collections", "OrderedDict"): _Dict,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    **{(module, "set"): set for module in _BUILTINS},
    **{(core, "_reconstruct"): lambda *_: NumpyArray() for core in _NUMPY_CORES},
    **{(core, "scalar"): scalar for core in _NUMPY_CORES},
}
"""The functions that a name in a pickle stands for."""
_OTHERS: dict[tuple[str, str], Any] = {
    **{(module, "object"): object for module in _BUILTINS},
    **{("torch", f"{name}Storage"): _StorageType(dtype) for name, dtype in DTYPES.items()},
    ("numpy", "dtype"): NumpyDtype,
    ("numpy", "ndarray"): NumpyArray,
    ("dnnlib.util", "EasyDict"): _inert("dnnlib.util.EasyDict"),
    ("argparse", "Namespace"): _inert("argparse.Namespace"),
}
"""The classes, and types of storages."""


class _Unpickler(pickle.Unpickler):
    """Looks names up in the tables; ``storage(key, dtype, size)`` answers the references to numbers."""

    def __init__(self, file: Any, budget: _Budget, storage: Callable[[str, np.dtype, int], Storage] | None = None):
        _check_memo(file)
        super().__init__(file, encoding="latin1")
        self._storage, self._budget = storage, budget

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = module_name, global_name
        if name == ("torch.storage", "_load_from_bytes"):
            return Function(lambda data: _unpickle(io.BytesIO(data), self._budget), self._budget)
        if name in _FUNCTIONS:
            return Function(_FUNCTIONS[name], self._budget)
        if name in _OTHERS:
            return _OTHERS[name]
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


def _check_memo(file: Any) -> None:
    """Refuses a place in the memo beyond the number of operations so far: the unpickler allocates all before it."""
    start = file.tell()
    for count, (opcode, place, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (place or 0) > count + 1000:
            raise pickle.UnpicklingError(f"refused the place {place:,} in the memo after {count:,} operations")
    file.seek(start)


def read_pickle(path: str | Path) -> Any:
    """The content of a pickle or of a file of ``torch.save``, without importing or running anything that it names.

    Dictionaries, lists and numbers are as they are; tensors :class:`LazyArray`, arrays of numpy :class:`NumpyArray`,
    other objects :class:`Inert`.
    """
    check_regular(path)
    size = Path(path).stat().st_size
    if not size:
        raise ValueError(f"{path}: it is empty")
    budget = _Budget(size)
    try:
        if zipfile.is_zipfile(path):
            return _from_zip(zipfile.ZipFile(path), path, budget)
        with open(path, "rb") as file:
            if file.read(4) == b"PK\3\4":
                raise ValueError("refused an incomplete zip file (was its download cut off?)")
            file.seek(0)
            return _unpickle(file, budget)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        why = "" if str(error).startswith("refused") else "damaged, or not a file of PyTorch or pickle: "
        raise ValueError(f"{path}: {why}{error or type(error).__name__}") from error


def _unpickle(file: Any, budget: _Budget) -> Any:
    storages: dict[str, Storage] = {}

    def storage(key: str, dtype: np.dtype, size: int) -> Storage:
        return storages.setdefault(key, Storage(dtype, size))

    first = _Unpickler(file, budget).load()
    if first != _MAGIC:
        return first
    for _ in range(2):  # the version of the protocol, and the sizes of the machine
        _Unpickler(file, budget).load()
    content = _Unpickler(file, budget, storage).load()
    for key in _Unpickler(file, budget).load():
        count, here = int.from_bytes(file.read(8), "little"), storages[key]
        data = file.read(count * here.dtype.itemsize) if count == here.size else b""
        if len(data) != here.size * here.dtype.itemsize:
            raise ValueError("the file ends before the numbers of a tensor")
        here.read = lambda data=data: data
    return content


def _from_zip(archive: zipfile.ZipFile, path: str | Path, budget: _Budget) -> Any:
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

    return _Unpickler(io.BytesIO(archive.read(name)), budget, storage).load()
