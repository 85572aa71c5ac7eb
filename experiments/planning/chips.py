"""Accelerators by name: published speeds, and the devices of a topology that is described and not at hand.

Operations a second are of dense products in bfloat16.

Sources: the pages v4, v5e, v5p and v6e of https://cloud.google.com/tpu/docs, data sheets of NVIDIA A100 80 GB and H100
SXM (312 and 989 T/s).
"""

import math
import os
import re
from typing import Any, NamedTuple

import jax

from experiments.cli.config import ConfigError


class Chip(NamedTuple):
    """An accelerator: the platform of JAX that compiles for it, beginnings of ``device.device_kind``, and its speed.

    ``peak`` is in bfloat16 and ``single`` the fraction of it in float32 with JAX's default precision, ``memory`` bytes
    that a program may use, ``axes`` of a topology (1 of GPUs).
    """

    platform: str
    kinds: tuple[str, ...]
    peak: float
    memory: float
    axes: int
    single: float = 1.0

    def peak_of(self, dtype: str | None) -> float:
        """Operations a second of products of this dtype; None is float32."""
        return self.peak * (self.single if dtype in (None, "float32") else 1.0)


_GIB = 2**30
CHIPS = {
    "v4": Chip("tpu", ("TPU v4",), 275e12, 31.75 * _GIB, 3),
    "v5e": Chip("tpu", ("TPU v5 lite", "TPU v5e"), 197e12, 15.75 * _GIB, 2),
    "v5p": Chip("tpu", ("TPU v5p", "TPU v5"), 459e12, 95 * _GIB, 3),
    "v6e": Chip("tpu", ("TPU v6 lite", "TPU v6e"), 918e12, 31.25 * _GIB, 2),
    "a100": Chip("cuda", ("NVIDIA A100",), 312e12, 75e9, 1, 0.5),
    "h100": Chip("cuda", ("NVIDIA H100 80GB",), 989e12, 75e9, 1, 0.5),
}
"""By the name before the colon of a topology. TF32 products of GPUs have half the speed of bfloat16."""

MACHINE = 8
"""GPUs of one machine."""

_COMMON = """
    threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 threads_per_core_limit: 2048
    block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
    registers_per_core_limit: 65536 registers_per_block_limit: 65536"""
_DEVICES = {
    "h100": """
        shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128 memory_bandwidth: 3352320000000
        l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84929347584
        shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }""",
    "a100": """
        shared_memory_per_core: 167936 core_count: 108 fpus_per_core: 64 memory_bandwidth: 2039000000000
        l2_cache_size: 41943040 clock_rate_ghz: 1.41 device_memory_size: 85167243264
        shared_memory_per_block_optin: 166912 cuda_compute_capability { major: 8 }""",
}
"""Properties of devices as the driver of CUDA reports them (deviceQuery), in the format of XLA's descriptions."""


class Topology(NamedTuple):
    """Chips in a shape, as ``v5e:4x4``, ``2*v5e:16x16`` (slices) or ``h100:8``."""

    name: str
    chip: Chip
    shape: str
    slices: int

    @property
    def kind(self) -> str:
        """The name of the chip in :data:`CHIPS`."""
        return self.name.split("*")[-1].split(":")[0]

    @property
    def size(self) -> int:
        """The number of chips."""
        return self.slices * math.prod(map(int, self.shape.split("x")))

    def devices(self) -> list[Any]:
        """Devices to compile for, by the compiler of this platform, which must be installed.

        Raises:
          ConfigError: if it is not installed, or does not know the shape.
        """
        from jax.experimental import topologies

        try:
            if self.chip.platform == "tpu":
                os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
                os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")  # of no effect on a description
                os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
                os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
                further: dict[str, Any] = {"num_slices": self.slices} if self.slices > 1 else {}
                further |= {"chip_config_name": "megacore"} if self.kind == "v4" else {}  # one device a chip
                further |= {"chips_per_host_bounds": (1, 1, 1)} if self.size == 1 else {}
                return list(topologies.get_topology_desc(f"{self.kind}:{self.shape}", "tpu", **further).devices)
            shape = f"1x{-(-self.size // MACHINE)}x{min(self.size, MACHINE)}"
            described = topologies.get_topology_desc("", "cuda", target_config=_target(self.kind), topology=shape)
            return list(described.devices)
        except (ModuleNotFoundError, RuntimeError, NotImplementedError) as error:
            says = str(error).partition("\n")[0]
            raise ConfigError(
                f"--topology={self.name}: its compiler says: {says}; install "
                f"it into an environment of its own with pip install {_packages(self.chip.platform)}"
            ) from error


def _packages(platform: str) -> str:
    cuda = (f"jax-cuda12-{part}=={jax.__version__}" for part in ("plugin", "pjrt"))
    return "'.[tpu]'" if platform == "tpu" else " ".join([*cuda, "nvidia-cuda-nvcc-cu12"])


def _target(kind: str) -> str:
    version = "runtime_version { major: 12 minor: 9 } dnn_version_info { major: 9 minor: 10 }"
    return f'gpu_device_info {{ {_COMMON} {_DEVICES[kind]} }} platform_name: "CUDA" {version}'


def topology(name: str) -> Topology:
    """The topology of a name.

    >>> topology("2*v5e:16x16").size, topology("h100:16").size
    (512, 16)
    """
    parts = re.fullmatch(r"(?:([1-9]\d{0,3})\*)?(\w+):([1-9]\d{0,3}(?:x[1-9]\d{0,3})*)", name)
    if parts and (chip := CHIPS.get(parts[2])) and parts[3].count("x") == chip.axes - 1:
        result = Topology(name, chip, parts[3], int(parts[1] or 1))
        machines = parts[1] is None and (result.size <= MACHINE or result.size % MACHINE == 0)
        if chip.platform == "tpu" or machines:
            return result
    raise ConfigError(
        f"--topology={name}: must be a chip and a shape, such as v5e:4x4, 2*v5e:16x16 (slices), v5p:2x2x4 or h100:8 "
        f"(up to {MACHINE} GPUs, or machines of {MACHINE}); chips are {', '.join(CHIPS)}"
    )


def named(kind: str) -> Chip | None:
    """The chip of a kind of device, as JAX names it; None if it is not in the table.

    >>> named("NVIDIA H100 80GB HBM3").peak / 1e12, named("cpu")
    (989.0, None)
    """
    return next((chip for chip in CHIPS.values() if kind.startswith(chip.kinds)), None)
