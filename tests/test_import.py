"""What ``import scorekit`` offers."""

import importlib
import pkgutil

import pytest

import scorekit

PACKAGES = ["scorekit", *(f"scorekit.{m.name}" for m in pkgutil.iter_modules(scorekit.__path__))]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_names_exist_once(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert all(hasattr(module, n) for n in names)


def test_the_package_offers_floors_0_to_3():
    modules = {n for n in scorekit.__all__ if isinstance(getattr(scorekit, n), type(scorekit))}
    light = {m.name for m in pkgutil.iter_modules(scorekit.__path__)} - {"_version", "networks", "audio"}
    assert modules == light - {"metrics", "training", "data"}
    assert scorekit.sample is scorekit.solvers.sample
    assert scorekit.denoising_loss is scorekit.losses.denoising_loss
    assert scorekit.Prediction is scorekit.typing.Prediction


def test_version_is_the_packaged_one():
    from importlib import metadata

    try:
        packaged = metadata.version("scorekit")
    except metadata.PackageNotFoundError:
        pytest.skip("scorekit is not installed")
    assert scorekit.__version__ == packaged
