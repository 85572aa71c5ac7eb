"""Tensors drawn from their names: a golden file holds names, shapes, inputs and outputs, and no weights.

Every parameter is random: freshly initialised networks output almost zero, and comparing zeros proves nothing. Imports
numpy only, so that the scripts that make the golden files may run in environments without jax.
"""

import importlib.metadata
import json
import pathlib
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

FOLDER = pathlib.Path(__file__).parent


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 of standard deviation ``fan_in ** -0.5`` for matrices and windows, 0.2 around 1 for the weights of norms,
    0.2 for other vectors, 0.5 for scalars, and positive for what is named a running variance; the same on every machine
    and in every version of numpy."""
    normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        return (0.5 * np.exp(0.3 * normal)).astype(np.float32)
    if len(shape) >= 2:
        scale, mean = np.prod(shape[1:]) ** -0.5, 0.0
    else:
        scale, mean = (0.2 if shape else 0.5), float(name.endswith("weight"))
    return (mean + scale * normal).astype(np.float32)


def draw_all(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """One tensor for each name."""
    return {name: draw(name, tuple(shape)) for name, shape in shapes.items()}


def fill(
    network: Any, prefix: str = "", chosen: Callable[[str], bool] = lambda name: True
) -> dict[str, tuple[int, ...]]:
    """Draws the state of a network of torch by its names after ``prefix``; returns the shapes of what is drawn."""
    import torch

    state = network.state_dict()
    shapes = {prefix + name: tuple(value.shape) for name, value in state.items() if chosen(name)}
    drawn = {name.removeprefix(prefix): torch.tensor(value) for name, value in draw_all(shapes).items()}
    network.load_state_dict(state | drawn, assign=True)
    return shapes


def run(network: Any, *inputs: np.ndarray, **options: np.ndarray) -> Any:
    """The output of a network of torch for arrays, without gradients."""
    import torch

    with torch.no_grad():
        return network(*map(torch.from_numpy, inputs), **{k: torch.from_numpy(v) for k, v in options.items()})


def versions(*packages: str) -> dict[str, str]:
    """The versions of the packages that are installed, by name."""
    return {name: importlib.metadata.version(name) for name in packages}


def save(name: str, shapes: dict[str, tuple[int, ...]], about: dict[str, Any], **arrays: np.ndarray) -> None:
    """Writes ``<name>.npz``, to the folder that the command line of the script names, if it names one.

    Args:
      name: of the file.
      shapes: of the foreign tensors, by name.
      about: packages with their versions, and the arguments of the foreign network.
      arrays: inputs and outputs.
    """
    header = json.dumps({"shapes": {k: list(v) for k, v in shapes.items()}, "about": about}, sort_keys=True)
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    np.savez_compressed(folder / f"{name}.npz", header=np.array(header), **arrays)


def load(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, np.ndarray]]:
    """Tensors by their foreign names, what the file says about itself, and its arrays."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays.pop("header")))
    return draw_all(header["shapes"]), header["about"], arrays
