"""The cache of compiled programs: where it is, and when it stays off."""

import jax
import pytest
from absl import flags

from experiments.cli import compilation_cache


@pytest.fixture
def updates(monkeypatch):
    """The settings of jax that are changed, recorded in place of being made."""
    found = {}
    monkeypatch.setattr(jax.config, "update", found.__setitem__)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    parsed = flags.FLAGS.is_parsed()
    flags.FLAGS.mark_as_parsed()
    yield found
    if not parsed:
        flags.FLAGS.unparse_flags()


def test_the_cache_lies_in_a_folder_and_stays_off_with_several_processes_or_one_of_the_environment(
    updates, monkeypatch, tmp_path
):
    monkeypatch.setenv("SCOREKIT_CACHE", str(tmp_path))
    assert compilation_cache.enable()
    assert updates.pop("jax_compilation_cache_dir") == str(tmp_path / "compiled")
    updates.clear()
    assert not compilation_cache.enable(distributed=True)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    assert not compilation_cache.enable()
    assert updates == {}
