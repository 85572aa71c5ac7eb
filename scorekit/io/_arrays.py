"""Arrays of a pickle: of PyTorch, read on access, and of numpy; numbers and booleans only."""

import math
import pickle
import re
from collections.abc import Callable
from typing import Any, Literal

import ml_dtypes
import numpy as np

_CODES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": ml_dtypes.bfloat16}
_CODES |= {"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?"}
DTYPES: dict[str, np.dtype] = {name: np.dtype(code) for name, code in _CODES.items()}
"""Types of PyTorch's storages."""


class Sealed:
    """What a pickle must not change once it is made: without this it may set any attribute of any object."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"refused to change a {type(self).__name__}")


class Storage(Sealed):
    """Numbers of one dtype, whose bytes ``read()`` gives, once the file has been read."""

    def __init__(self, dtype: np.dtype, size: int, read: Callable[[], bytes] | None = None):
        self.dtype, self.size, self.read = dtype, size, read

    def array(self) -> np.ndarray:
        if self.read is None:
            raise ValueError("the file ends before the numbers of a tensor")
        return np.frombuffer(self.read(), self.dtype, self.size)


class LazyArray(Sealed):
    """An array that is read from its file when it is asked for."""

    def __init__(self, storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        sizes = (offset, *shape, *strides)
        if (
            not isinstance(storage, Storage)
            or len(shape) != len(strides)
            or not all(type(n) is int and n >= 0 for n in sizes)
        ):
            raise pickle.UnpicklingError("a tensor of the file has no storage, or sizes that are no sizes")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if math.prod(shape) > storage.size or (math.prod(shape) and last >= storage.size):
            raise pickle.UnpicklingError(f"a tensor of the file reaches beyond its {storage.size} numbers")
        self.shape, self._storage, self._offset, self._strides = tuple(shape), storage, offset, tuple(strides)
        self.nbytes = math.prod(shape) * storage.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        numbers = self._storage.array()
        strides = [step * numbers.itemsize for step in self._strides]
        view = np.lib.stride_tricks.as_strided(numbers[self._offset :], self.shape, strides, writeable=False)
        return np.array(view, dtype)


class NumpyArray:
    """An array of numpy, which is empty until its state is read."""

    _array = np.zeros(0, np.float32)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, NumpyDtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of the file does not hold plain numbers")
        self._array = np.frombuffer(data, dtype.value()).reshape(shape, order="F" if fortran else "C")

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array, dtype)


class NumpyDtype:
    """A dtype of numpy: numbers and booleans only."""

    endian: Literal["<", ">"]

    def __init__(self, name: str, *flags: Any):
        self.name, self.endian = name.lstrip("<>=|"), "<"
        if not re.fullmatch(r"[fiub]\d{1,2}", self.name):
            raise pickle.UnpicklingError(f"an array of the file has the dtype {name}, which is not one of numbers")

    def __setstate__(self, state: Any) -> None:
        self.endian = ">" if state[1] == ">" else "<"

    def value(self) -> np.dtype:
        return np.dtype(self.name).newbyteorder(self.endian)


def scalar(dtype: NumpyDtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype.value(), 1)[0].item()
