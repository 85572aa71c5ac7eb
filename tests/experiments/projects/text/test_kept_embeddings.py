"""Embeddings that are kept beside an encoder: what is damaged is made anew."""

import os
import types

import numpy as np
import pytest

from experiments.tasks.contrastive import embeddings

X = np.zeros((3, 2, 2, 1), np.uint8)


def encoder(seen):
    embed = lambda x: seen.append(len(x)) or np.eye(3, dtype=np.float32)
    return types.SimpleNamespace(params={}, embed_pictures=embed)


def damage(path, content):
    path.unlink()
    os.mkfifo(path) if content is None else path.write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY", None])
def test_damaged_embeddings_are_made_anew(tmp_path, content):
    seen, pictures = [], types.SimpleNamespace(to_model=lambda x: x)
    find = lambda: embeddings._embedded(encoder(seen), tmp_path, pictures, X)
    first = find()
    np.testing.assert_array_equal(find(), first)
    assert len(seen) == 1
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    damage(path, content)
    np.testing.assert_array_equal(find(), first)
    assert path.read_bytes() == good
    np.save(path, first[:2])  # of other pictures
    np.testing.assert_array_equal(find(), first)
    assert len(seen) == 3
