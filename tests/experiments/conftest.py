"""Programs in this process: each defines its flags for a process of its own."""

import importlib
import sys

import pytest
from absl import flags


@pytest.fixture
def load_program(monkeypatch):
    """Imports a program of ``experiments`` anew, with the flags of all others put aside: two may name one alike."""
    values, loaded = flags.FLAGS, []

    def defined():
        return {k: list(v) for k, v in values.flags_by_module_dict().items() if k.startswith("experiments.")}

    def forget_all():
        for found in defined().values():
            for flag in found:
                delattr(values, flag.name)

    def load(name):
        forget_all()
        monkeypatch.delitem(sys.modules, name, raising=False)
        loaded.append(name)
        return importlib.import_module(name)

    ours = defined()
    yield load
    forget_all()
    for name in loaded:
        sys.modules.pop(name, None)
    for name, found in ours.items():
        for flag in found:
            values[flag.name] = flag
            values.register_flag_by_module(name, flag)
