"""Makes ``torch_files.npz`` with torch: the bytes of small checkpoints of every kind, and the arrays in them.

``python tests/golden/make_torch_files.py [folder]``, without jax. The pickle of the persistent class has the layout of
EDM's files: a record of class name, source code and state in place of the object.
"""

import argparse
import collections
import io
import pickle
import sys
import types

import numpy as np
import random_tensors
import torch


def module(name, **contents):
    """Makes an importable module, so that pickles refer to its contents."""
    made = sys.modules[name] = types.ModuleType(name)
    for key, value in contents.items():
        value.__module__ = name
        setattr(made, key, value)


def _reconstruct_persistent_obj(meta):
    raise AssertionError("never called")


class EasyDict(dict):
    pass


module(
    "torch_utils",
)
module("torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj)
module("dnnlib")
module("dnnlib.util", EasyDict=EasyDict)
SOURCE = "import pathlib\npathlib.Path('ran.txt').write_text('source code in a pickle must not run')\n"


class Persistent(torch.nn.Module):
    """Pickles as a persistent class does."""

    def __reduce__(self):
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": type(self).__name__}
        return _reconstruct_persistent_obj, ({**meta, "state": self.__dict__},)


class Net(Persistent):
    def __init__(self):
        super().__init__()
        self.enc = torch.nn.ModuleDict({"a": torch.nn.Conv2d(2, 3, 3), "b": torch.nn.Linear(3, 2)})
        self.register_buffer("freqs", torch.arange(4.0))


class EDMPrecond(Persistent):
    def __init__(self):
        super().__init__()
        self.sigma_data, self.sigma_min, self.sigma_max = 0.25, 0, float("inf")
        self.img_resolution, self.use_fp16, self.device = 8, True, torch.device("cpu")
        self.model = Net()


class Plain(torch.nn.Module):
    """A buffer and a frozen parameter are in the state, and not in the list of averages."""

    def __init__(self):
        super().__init__()
        self.register_buffer("sigmas", torch.arange(3.0))
        fourier, dense = torch.nn.Module(), torch.nn.Linear(4, 2)
        fourier.W = torch.nn.Parameter(torch.randn(2), requires_grad=False)
        self.all_modules = torch.nn.ModuleList([fourier, dense, torch.nn.Linear(2, 2)])


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def pickled(content):
    file = io.BytesIO()
    pickle.dump(content, file)
    return file.getvalue()


torch.manual_seed(0)
plain, precond = Plain(), EDMPrecond()
wrapped = collections.OrderedDict((f"module.{name}", value) for name, value in plain.state_dict().items())
trained = [p for p in plain.parameters() if p.requires_grad]
average = [0.5 * p.detach() for p in trained]
sgd = torch.optim.Adam(trained)
score_sde = {
    "optimizer": sgd.state_dict(),
    "model": wrapped,
    "ema": {"decay": 0.999, "num_updates": 5, "shadow_params": average},
    "step": 5,
}
base = torch.arange(24.0).reshape(4, 6)
kinds = {
    "half": base.half(),
    "bfloat": base.bfloat16(),
    "long": base.long(),
    "flag": base > 3,
    "view": base[1:, ::2].T,
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(2.5),
    "shared": base[2],
}
dit = {"model": plain.state_dict(), "ema": {k: 2 * v for k, v in plain.state_dict().items()}, "opt": {}}
dit["args"] = argparse.Namespace(lr=1e-4)
pickle_of_edm = {
    "ema": precond,
    "dataset_kwargs": EasyDict(path="x.zip", size=np.int64(3)),
    "mean": np.arange(6, dtype=np.float32).reshape(2, 3),
}
files = {
    "state_zip": saved(plain.state_dict()),
    "state_legacy": saved(plain.state_dict(), _use_new_zipfile_serialization=False),
    "kinds": saved(kinds),
    "kinds_legacy": saved(kinds, _use_new_zipfile_serialization=False),
    "score_sde": saved(score_sde),
    "dit": saved(dit),
    "edm": pickled(pickle_of_edm),
    "module_legacy": saved(torch.nn.Linear(2, 2), _use_new_zipfile_serialization=False),
}
arrays = {f"file.{name}": np.frombuffer(data, np.uint8) for name, data in files.items()}
arrays |= {f"plain.{name}": value.numpy() for name, value in plain.state_dict().items()}
arrays |= {f"edm.{name}": value.numpy() for name, value in precond.state_dict().items()}
arrays |= {f"average.{i}": value.numpy() for i, value in enumerate(average)}
arrays |= {f"kinds.{name}": value.float().numpy() for name, value in kinds.items()}
random_tensors.save("torch_files", {}, {"torch": torch.__version__}, **arrays)
