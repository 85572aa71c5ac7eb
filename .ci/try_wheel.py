"""Installs a wheel where nothing else is but jax, numpy and what these need, and samples: try_wheel.py FILE.whl

The empty environment is a folder of links to the packages of this one: no index is asked, and nothing is compiled."""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "scorekit"
PROGRAM = """
import importlib.util, jax, scorekit as sk
assert not any(map(importlib.util.find_spec, ("flax", "optax", "experiments"))), "the environment is not empty"
data, schedule = sk.densities.ring(), sk.schedules.Cosine()
solver, ts = sk.samplers.recommended(schedule, 8, sigma_data=1.0)
noise = sk.sample_prior(jax.random.key(0), schedule, data.sample(jax.random.key(1), (256,)))
x = jax.jit(sk.sample)(sk.denoisers.exact_denoiser(data, schedule), schedule, solver, noise, ts)
radius = float((x**2).sum(-1).mean() ** 0.5)
assert abs(radius - 1.4) < 0.1, radius
print("sampled with scorekit", sk.__version__, "from", sk.__file__, "radius", round(radius, 2))
"""


def needed(names: list[str], requires: Callable = importlib.metadata.requires) -> set[str]:
    """These distributions, as ``name`` or ``name[extra]``, and all that they require by their metadata."""
    found: set[str] = set()
    todo = {str(Requirement(name)) for name in names}
    while todo - found:
        found.add(line := (todo - found).pop())
        one = Requirement(line)
        for other in map(Requirement, requires(one.name) or ()):
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                todo.add(f"{canonicalize_name(other.name)}[{','.join(sorted(other.extras))}]".replace("[]", ""))
    return {Requirement(line).name for line in found}


def link(name: str, folder: Path) -> None:
    """Links every top-level file and folder of an installed distribution into ``folder``."""
    for file in importlib.metadata.files(name) or ():
        top = file.parts[0]
        if top != ".." and top != "__pycache__" and not (folder / top).exists():
            (folder / top).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)


def main(wheel: str) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = sorted({name.split("/")[0] for name in names})
    print("top level:", ", ".join(tops))
    assert [top for top in tops if not top.endswith(".dist-info")] == [OURS], tops
    assert f"{OURS}/py.typed" in names, "py.typed is missing"
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "site").mkdir()
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
        subprocess.run([*command, str(root / "site"), wheel], check=True)
        required = [line for line in metadata_of(root / "site") if "extra ==" not in line]
        assert sorted(re.match(r"\w+", line)[0] for line in required) == ["jax", "numpy"], required
        for name in sorted(needed(required)):
            link(name, root / "site")
        # -S and -I: no other packages, neither those of this environment nor the checkout in the current folder
        start = f"import sys; sys.path.append({str(root / 'site')!r})\n{PROGRAM}"
        subprocess.run([sys.executable, "-I", "-S", "-c", start], check=True, cwd=root)


def metadata_of(folder: Path) -> list[str]:
    (distribution,) = importlib.metadata.distributions(name=OURS, path=[str(folder)])
    return distribution.requires or []


if __name__ == "__main__":
    main(*sys.argv[1:])
