"""Training on data that are not finite ends with a line that says so, whenever they come."""

from collections.abc import Iterator
from pathlib import Path

from robustness.processes import Case, start, verdict

_TRAIN = """
import runpy, sys
from experiments.data.points import Ring

value, sound = float(sys.argv.pop(1)), int(sys.argv.pop(1))
draw, drawn = Ring._points, []

def broken(self, key, n):
    part = {name: array.copy() for name, array in draw(self, key, n).items()}
    drawn.append(n)
    if len(drawn) > sound:
        part["x"][0, 0] = value
    return part

Ring._points = broken
runpy.run_module("experiments.train", run_name="__main__")
"""
"""``experiments.train`` on points of which one coordinate is not finite, after so many sets that are sound."""

SOUND = {"training set": 0, "test set": 1, "batch 3": 4}
"""A training set and a test set are drawn, then a batch a step."""


def broken_data(folder: Path) -> Iterator[Case]:
    """NaN and infinity in every set of points."""
    for value in ("nan", "inf"):
        for where, sound in SOUND.items():
            config = "--config=experiments/configs/points/mixture_2d.py"
            workdir = f"--workdir={folder / f'{value}{sound}'}"
            process = start(_TRAIN, value, str(sound), config, workdir)
            yield verdict(process, f"{value} in the {where}", ("is not finite",))
