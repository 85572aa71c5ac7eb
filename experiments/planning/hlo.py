"""Bytes that a compiled program moves, read from its text: main memory and collectives, loops as often as they run.

Arrays in the fast memory of a TPU core (memory space 1) do not count. An array that is tiled counts with its padding.
"""

import functools
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:body|calls|to_apply|condition|branch_computations)=\{?((?:%[\w.\-]+(?:, )?)+)")
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_BITS = {"pred": 8, "s4": 4, "u4": 4, "c64": 64, "c128": 128, "bf16": 16, "token": 0}
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
         "opt-barrier", "while", "conditional", "call", "add-dependency"}  # fmt: skip
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


class Instruction(NamedTuple):
    """A line of a computation; ``shape``, ``arguments`` and ``rest`` are the texts of type, operands and attributes."""

    name: str
    shape: str
    kind: str
    operands: tuple[str, ...]
    arguments: str
    rest: str
    root: bool


class Collective(NamedTuple):
    """A collective operation of a program.

    Attributes:
      kind: one of :data:`COLLECTIVES`.
      moved: bytes of the full array, all calls together, for an all-reduce twice: on a ring of g devices each of them
        sends (g - 1) / g of these.
      calls: the number of times that it runs.
      overlaps: whether computation is scheduled between its start and its end.
      groups: the devices that take part, a tuple for each group; empty for all of them.
    """

    kind: str
    moved: float
    calls: int
    overlaps: bool
    groups: tuple[tuple[int, ...], ...]


def bytes_of(shape: str) -> int:
    """Bytes of the arrays of a type that are in main memory, with the padding of their tiles.

    >>> bytes_of("(f32[16,72]{1,0:T(8,128)}, bf16[8,128]{1,0:T(8,128)(2,1)S(1)}, s32[])")
    8196
    """
    return sum(_bytes(*found) for found in _ARRAY.findall(shape) if "S(" not in found[3])


def _bytes(dtype: str, dims: str, order: str, layout: str) -> int:
    bits = _BITS.get(dtype) or int(re.sub(r"^\D+|\D.*$", "", dtype) or 0)
    sizes = [int(n) for n in dims.split(",") if n]
    minor_first = [sizes[int(i)] for i in order.split(",") if i] if order else sizes[::-1]
    if tile := re.search(r"T\(([\d,]+)\)", layout):
        for i, t in enumerate(int(n) for n in reversed(tile[1].split(","))):
            if i < len(minor_first):
                minor_first[i] = -(-minor_first[i] // t) * t
    return math.prod(minor_first) * bits // 8


def _split(text: str, start: int) -> int:
    """The index after the parenthesis that closes the one at ``start``."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i + 1
    return len(text)


def _instruction(line: str) -> Instruction | None:
    name, found, value = line.strip().partition(" = ")
    if not found or not name.lstrip("RO T").startswith("%"):
        return None
    end = _split(value, 0) if value.startswith("(") else value.index(" ")
    shape, body = value[:end], value[end:].lstrip()
    opening = body.index("(")
    closing = _split(body, opening)
    arguments, root = body[opening:closing], line.strip().startswith("ROOT")
    operands = tuple(_NAME.findall(arguments))
    return Instruction(name.split("%")[1], shape, body[:opening], operands, arguments, body[closing:], root)


class Program:
    """The computations of a compiled program.

    Args:
      text: the text of ``compiled.as_text()``, after scheduling.

    >>> program = Program('''
    ... ENTRY %main (p: f32[8]) -> f32[8] {
    ...   %p = f32[8]{0} parameter(0)
    ...   ROOT %a = f32[8]{0} all-reduce(%p), replica_groups={{0,1},{2,3}}, to_apply=%add
    ... }''')
    >>> program.memory_bytes(), [(each.kind, each.moved, each.groups) for each in program.collectives()]
    (64, [('all-reduce', 64.0, ((0, 1), (2, 3)))])
    """

    def __init__(self, text: str):
        self._computations: dict[str, dict[str, Instruction]] = {}
        self._entry, current = "", {}
        for line in text.splitlines():
            if found := _COMPUTATION.match(line):
                current = self._computations[found[2]] = {}
                self._entry = found[2] if found[1] else self._entry
            elif " = " in line and (instruction := _instruction(line)):
                current[instruction.name] = instruction

    def calls(self) -> Iterator[tuple[str, int]]:
        """Computations whose instructions run one after the other, by name, and how often each of them runs."""
        pending = [(self._entry, 1)]
        while pending:
            name, times = pending.pop()
            yield name, times
            for each in self._computations.get(name, {}).values():
                if each.kind in ("while", "conditional", "call"):
                    trips = self._trips(name, each) if each.kind == "while" else 1
                    pending += [(called, times * trips) for called in self._called(each)]

    def _trips(self, name: str, loop: Instruction) -> int:
        """How often a loop runs: as the compiler says, or from the constants that its condition compares; else 1."""
        if found := _TRIPS.search(loop.rest):
            return int(found[1])
        condition = self._computations.get(re.findall(r"condition=%([\w.\-]+)", loop.rest)[0], {})
        compare = next((x for x in condition.values() if x.kind == "compare" and "direction=LT" in x.rest), None)
        ends = [self._carried(name, loop, condition, x) for x in compare.operands] if compare else [None]
        return 1 if None in ends else max(int(ends[1]) - int(ends[0]), 0)  # type: ignore[arg-type]

    def _carried(self, name: str, loop: Instruction, condition: dict[str, Instruction], value: str) -> int | None:
        """The constant that a value of a condition is, or that a loop starts with there."""
        each, lines = condition[value], condition
        if each.kind == "get-tuple-element":
            lines = self._computations[name]
            initial = lines.get(loop.operands[0])
            place = int(re.findall(r"index=(\d+)", each.rest)[0])
            each = lines.get(initial.operands[place]) if initial and initial.kind == "tuple" else None
            while each is not None and each.kind in ("copy", "bitcast", "copy-done", "copy-start"):
                each = lines.get(each.operands[0])
        found = re.match(r"\((-?\d+)\)", each.arguments) if each is not None and each.kind == "constant" else None
        return int(found[1]) if found else None

    @staticmethod
    def _called(each: Instruction) -> list[str]:
        return [name for group in _CALLED.findall(each.rest) for name in _NAME.findall(group)]

    # ---- main memory -----------------------------------------------------------------------------------------------

    def memory_bytes(self) -> int:
        """Bytes that a device reads from and writes to its main memory."""
        return sum(
            times * self._moved(name, each)
            for name, times in self.calls()
            for each in self._computations.get(name, {}).values()
        )

    def _moved(self, name: str, each: Instruction) -> int:
        lines = self._computations[name]
        if each.kind in _FREE or each.kind.endswith("-done"):
            return 0
        if each.kind == "slice-start":
            return min(_unplaced(part) for part in _parts(each.shape) if _unplaced(part) > 8)
        if each.kind.endswith("-start"):
            return bytes_of(each.shape)  # its result holds operand and result
        if each.kind == "fusion":
            inner = self._called(each)[0]
            read = sum(self._read(inner, i, bytes_of(lines[x].shape)) for i, x in enumerate(each.operands))
            return read + self._written(inner, each)
        if each.kind == "dynamic-update-slice":
            return 2 * bytes_of(lines[each.operands[1]].shape)
        if each.kind in ("dynamic-slice", "gather", "slice"):
            return 2 * bytes_of(each.shape)
        return bytes_of(each.shape) + sum(bytes_of(lines[x].shape) for x in each.operands if x in lines)

    def _read(self, name: str, index: int, full: int) -> int:
        """Bytes that a fusion reads of an operand of ``full`` bytes: of one that is sliced, the slices."""
        parameter = self._parameter(name, index)
        return 0 if not full or parameter is None else min(full, self._used(name, parameter, full))

    @functools.cache  # noqa: B019
    def _parameter(self, name: str, index: int) -> str | None:
        lines = self._computations.get(name, {})
        return next((x.name for x in lines.values() if x.kind == "parameter" and x.arguments == f"({index})"), None)

    def _used(self, name: str, value: str, full: int) -> int:
        total = 0
        for each in self._computations[name].values():
            if value not in each.operands:
                continue
            if each.kind in ("dynamic-slice", "slice", "gather") and each.operands[0] == value:
                total += _unplaced(each.shape)
            elif each.kind == "dynamic-update-slice" and each.operands[0] == value:
                total += 0  # updated in place
            elif each.kind == "bitcast":
                total += self._used(name, each.name, full)
            elif each.kind == "fusion":
                inner, places = self._called(each)[0], [i for i, x in enumerate(each.operands) if x == value]
                total += sum(self._read(inner, i, full) for i in places)
            else:
                return full
        return total

    def _written(self, name: str, fusion: Instruction) -> int:
        """Bytes that a fusion writes: of an array that is updated in place, the update."""
        lines = self._computations.get(name, {})
        root = next((x for x in lines.values() if x.root), None)
        shapes = _parts(fusion.shape)
        results = list(root.operands) if root is not None and root.kind == "tuple" else [root.name if root else ""]
        if len(results) != len(shapes):
            return bytes_of(fusion.shape)
        total = 0
        for shape, result in zip(shapes, results, strict=True):
            each = lines.get(result)
            while each is not None and each.kind == "bitcast":
                each = lines.get(each.operands[0])
            in_place = each is not None and each.kind == "dynamic-update-slice" and each.operands[1] in lines
            full = bytes_of(shape)
            total += min(full, _unplaced(lines[each.operands[1]].shape)) if each and in_place else full
        return total

    # ---- collectives -----------------------------------------------------------------------------------------------

    def collectives(self) -> list[Collective]:
        """The collectives. One that a TPU spreads over several fusions counts where it starts."""
        found: list[Collective] = []
        for name, times in self.calls():
            lines = list(self._computations.get(name, {}).values())
            for i, each in enumerate(lines):
                kind = each.kind.removesuffix("-start")
                if kind in COLLECTIVES:
                    overlaps = each.kind != kind and _computes_before_the_end(each, lines[i + 1 :])
                    found.append(_collective(each, times, overlaps))
                elif each.kind == "fusion":
                    called = self._called(each)[0]
                    inside = list(self._computations.get(called, {}).values())
                    targets = " ".join(x.rest for x in inside if x.kind == "custom-call")
                    if "AsyncCollectiveDone" not in targets and not called.startswith("async_collective_fusion"):
                        overlaps = "AsyncCollectiveStart" in targets
                        found += [_collective(x, times, overlaps) for x in inside if x.kind in COLLECTIVES]
        return found


_COMPUTES = ("fusion", "dot", "convolution", "custom-call", "while", "call")


def _computes_before_the_end(start: Instruction, later: list[Instruction]) -> bool:
    for each in later:
        if start.name in each.operands:
            return False
        if each.kind in _COMPUTES:
            return True
    return False


def _unplaced(shape: str) -> int:
    """Bytes of a type wherever it is: a slice inside a fusion has no place of its own."""
    return bytes_of(re.sub(r"S\(\d+\)", "", shape))


def _parts(shape: str) -> list[str]:
    return [found[0] for found in re.finditer(r"[a-z]\w*\[[\d,]*\](?:\{[^}]*\})?", shape)]


def _collective(each: Instruction, times: int, overlaps: bool) -> Collective:
    kind = each.kind.removesuffix("-start")
    groups, parts = groups_of(each.rest), [_unplaced(part) for part in _parts(each.shape)]
    full = max(parts, default=0) if each.kind != kind and kind != "all-reduce" else sum(parts)
    if kind == "reduce-scatter" and each.kind == kind:  # its result is the part of one device
        full *= len(groups[0]) if groups else 1
    return Collective(kind, float(times * full * (2 if kind == "all-reduce" else 1)), times, overlaps, groups)


def groups_of(attributes: str) -> tuple[tuple[int, ...], ...]:
    """The groups of devices of a collective: a list, or the compact form ``[groups,size]<=[dims]T(order)``.

    >>> groups_of("replica_groups={{0,1},{2,3}}"), groups_of("replica_groups=[2,2]<=[2,2]T(1,0)")
    (((0, 1), (2, 3)), ((0, 2), (1, 3)))
    """
    if found := re.search(r"replica_groups=\{(\{[\d,{}]*\})\}", attributes):
        return tuple(tuple(int(n) for n in group.split(",")) for group in re.findall(r"\{([\d,]+)\}", found[1]))
    found = re.search(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes)
    if found is None:
        return ()
    rows, columns = int(found[1]), int(found[2])
    ids = _permuted([int(n) for n in found[3].split(",")], found[4])
    return tuple(tuple(ids[i * columns : (i + 1) * columns]) for i in range(rows))


def _permuted(dims: Sequence[int], order: str | None) -> list[int]:
    axes = [int(n) for n in order.split(",")] if order else list(range(len(dims)))
    strides = [math.prod(dims[i + 1 :]) for i in range(len(dims))]
    return [
        sum(a * b for a, b in zip(place, (strides[i] for i in axes), strict=True))
        for place in itertools.product(*(range(dims[i]) for i in axes))
    ]
