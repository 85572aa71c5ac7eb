"""Loops and collectives of a compiled program and the bytes that it moves, read from its text.

A loop's body counts as often as it runs. Main memory is counted with the padding of tiles and without arrays in the
fast memory of a TPU core (memory space 1).
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:body|calls|to_apply|condition|branch_computations)=\{?((?:%[\w.\-]+(?:, )?)+)")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_BITS = {"pred": 8, "s4": 4, "u4": 4, "c64": 64, "c128": 128, "bf16": 16, "token": 0}
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
         "opt-barrier", "while", "conditional", "call", "add-dependency"}  # fmt: skip
_SLICES = ("dynamic-slice", "slice", "slice-start", "gather")
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


class Instruction(NamedTuple):
    """A line of a computation; ``shape``, ``arguments`` and ``attributes`` are its texts."""

    name: str
    shape: str
    kind: str
    arguments: str
    attributes: str
    root: bool

    @property
    def operands(self) -> list[str]:
        """The names of the operands."""
        return _NAME.findall(self.arguments)

    @property
    def called(self) -> list[str]:
        """The names of the computations that it runs."""
        return [name for group in _CALLED.findall(self.attributes) for name in _NAME.findall(group)]


Computation = dict[str, Instruction]


class Collective(NamedTuple):
    """A collective operation of a program.

    Attributes:
      kind: one of :data:`COLLECTIVES`.
      moved: bytes of the full array, all calls together, for an all-reduce twice: on a ring of g devices each of them
        sends (g - 1) / g of these.
      calls: the number of times that it runs.
      groups: the devices that take part, a tuple for each group; empty for all of them.
    """

    kind: str
    moved: float
    calls: int
    groups: tuple[tuple[int, ...], ...]


def bytes_of(shape: str, anywhere: bool = False) -> list[int]:
    """Bytes of each array of a type, 0 of one that is not in main memory unless ``anywhere``.

    >>> bytes_of("(f32[16,72]{1,0:T(8,128)}, bf16[8,128]{1,0:T(8,128)(2,1)S(1)}, s32[])")
    [8192, 0, 4]
    """
    return [_bytes(*array) if anywhere or "S(" not in array[3] else 0 for array in _ARRAY.findall(shape)]


def _bytes(dtype: str, dims: str, order: str, layout: str) -> int:
    bits = _BITS.get(dtype) or int(re.sub(r"^\D+|\D.*$", "", dtype) or 0)
    sizes = [int(n) for n in dims.split(",") if n]
    minor_first = [sizes[int(i)] for i in order.split(",") if i] if order else sizes[::-1]
    if tile := re.search(r"T\(([\d,]+)\)", layout):
        sides = [int(n) for n in reversed(tile[1].split(","))][: len(minor_first)]
        minor_first[: len(sides)] = [-(-n // side) * side for n, side in zip(minor_first, sides, strict=False)]
    return math.prod(minor_first) * bits // 8


class Program:
    """The computations of a compiled program, from ``compiled.as_text()``."""

    def __init__(self, text: str):
        self._computations: dict[str, Computation] = {}
        self._entry, current = "", Computation()
        for line in text.splitlines():
            if heading := _COMPUTATION.match(line):
                current = self._computations[heading[2]] = {}
                self._entry = heading[2] if heading[1] else self._entry
            elif match := _INSTRUCTION.match(line):
                root, name, shape, kind, tail = match.groups()
                arguments, _, attributes = tail.partition("), ")
                current[name] = Instruction(name, shape, kind, arguments.removesuffix(")"), attributes, bool(root))

    def calls(self) -> Iterator[tuple[Computation, int]]:
        """Computations whose instructions run one after the other, and how often each of them runs."""
        pending = [(self._entry, 1)]
        while pending:
            name, times = pending.pop()
            lines = self._computations.get(name, {})
            yield lines, times
            for each in lines.values():
                if each.kind in ("while", "conditional", "call"):
                    turns = self._turns(lines, each) if each.kind == "while" else 1
                    pending += [(called, times * turns) for called in each.called]

    def _turns(self, lines: Computation, loop: Instruction) -> int:
        """How often a loop runs: as the compiler says, or from the constants that its condition compares; else 1."""
        if known := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.attributes):
            return int(known[1])
        condition = self._computations[re.findall(r"condition=%([\w.\-]+)", loop.attributes)[0]]
        compare = next((x for x in condition.values() if "direction=LT" in x.attributes), None)
        first, end = (_constant(lines, loop, condition, x) for x in compare.operands) if compare else (None, None)
        return 1 if first is None or end is None else max(end - first, 0)

    def memory_bytes(self) -> int:
        """Bytes that a device reads from and writes to its main memory; of an array that is sliced, the slices."""
        return sum(times * self._moved(lines, each) for lines, times in self.calls() for each in lines.values())

    def _moved(self, lines: Computation, each: Instruction) -> int:
        if each.kind in _FREE or each.kind.endswith("-done"):
            return 0
        if each.kind.endswith("-start") and each.kind not in _SLICES:
            return sum(bytes_of(each.shape))  # its result holds operand and result
        read = sum(self._read({"": each}, x, sum(bytes_of(lines[x].shape))) for x in {*each.operands} & {*lines})
        return read if each.kind == "slice-start" else read + self._written(lines, each)

    def _read(self, lines: Computation, value: str, full: int) -> int:
        """Bytes that instructions read of a value of ``full`` bytes."""
        total = 0
        for each in lines.values():
            for place in [i for i, x in enumerate(each.operands) if x == value] if full else []:
                if each.kind in _SLICES and place == 0:
                    total += max(bytes_of(each.shape, anywhere=True)[-2 if each.kind == "slice-start" else 0 :])
                elif each.kind == "bitcast":
                    total += self._read(lines, each.name, full)
                elif each.kind == "fusion":
                    inner = self._computations[each.called[0]]
                    parameters = {x.arguments: x.name for x in inner.values() if x.kind == "parameter"}
                    total += self._read(inner, parameters[str(place)], full)
                elif each.kind != "dynamic-update-slice" or place:  # its first operand is updated in place
                    total += full
        return min(total, full)

    def _written(self, lines: Computation, each: Instruction) -> int:
        """Bytes that an instruction writes: of an array that is updated in place, the update."""
        sizes, results = bytes_of(each.shape), [each]
        if each.kind == "fusion":
            lines = self._computations[each.called[0]]
            root = next(x for x in lines.values() if x.root)
            results = [lines[x] for x in root.operands] if root.kind == "tuple" else [root]
        for i, result in enumerate(results if len(results) == len(sizes) else []):
            while result.kind == "bitcast":
                result = lines[result.operands[0]]
            if result.kind == "dynamic-update-slice":
                sizes[i] = min(sizes[i], sum(bytes_of(lines[result.operands[1]].shape, anywhere=True)))
        return sum(sizes)

    def collectives(self) -> list[Collective]:
        """The collectives. One that a TPU spreads over several fusions counts where it starts."""
        result = []
        for lines, times in self.calls():
            for each in lines.values():
                inside = [each]
                if each.kind == "fusion":
                    inside = list(self._computations[each.called[0]].values())
                    ends = any("AsyncCollectiveDone" in x.attributes for x in inside)
                    if ends or each.called[0].startswith("async_collective_fusion"):
                        continue
                result += [_collective(x, times) for x in inside if x.kind.removesuffix("-start") in COLLECTIVES]
        return result


def _constant(lines: Computation, loop: Instruction, condition: Computation, value: str) -> int | None:
    """The whole constant that a value of a loop's condition is, or starts with; None if it is none."""
    each: Instruction | None = condition[value]
    if each.kind == "get-tuple-element":
        initial = lines.get(loop.operands[0])
        place = int(re.findall(r"index=(\d+)", each.attributes)[0])
        each = lines.get(initial.operands[place]) if initial and initial.kind == "tuple" else None
        while each and each.kind in ("copy", "bitcast", "copy-done", "copy-start"):
            each = lines.get(each.operands[0])
    return int(each.arguments) if each and each.kind == "constant" and each.shape.startswith(("s", "u")) else None


def _collective(each: Instruction, times: int) -> Collective:
    kind = each.kind.removesuffix("-start")
    groups, parts = groups_of(each.attributes), bytes_of(each.shape, anywhere=True)
    full = max(parts) if each.kind != kind and kind != "all-reduce" else sum(parts)
    if kind == "reduce-scatter" and each.kind == kind:  # its result is the part of one device
        full *= len(groups[0]) if groups else 1
    return Collective(kind, float(times * full * (2 if kind == "all-reduce" else 1)), times, groups)


def groups_of(attributes: str) -> tuple[tuple[int, ...], ...]:
    """The groups of devices of a collective: a list, or the compact form ``[groups,size]<=[dims]T(order)``.

    >>> groups_of("replica_groups={{0,1},{2,3}}"), groups_of("replica_groups=[2,2]<=[2,2]T(1,0)")
    (((0, 1), (2, 3)), ((0, 2), (1, 3)))
    """
    numbers = lambda text: [int(n) for n in text.split(",")]
    if listed := re.search(r"replica_groups=\{(\{[\d,{}]*\})\}", attributes):
        return tuple(tuple(numbers(group)) for group in re.findall(r"\{([\d,]+)\}", listed[1]))
    compact = re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes)
    if compact is None:
        return ()
    dims = numbers(compact[2])
    ids = np.arange(math.prod(dims)).reshape(dims).transpose(numbers(compact[3]) if compact[3] else None)
    return tuple(map(tuple, ids.reshape(numbers(compact[1])).tolist()))
