"""Makes ``edm2.npz`` with dewml's EDM2: ``python tests/golden/make_edm2.py [folder]``; dewml brings its own jax.

Weights are drawn by their published names. dewml differs from the paper in the class: it embeds the normalised mean of
text states, which is the paper's embedding of a class where the state is a large one-hot vector, and that of no class
where it is zero.
"""

import jax
import jax.numpy as jnp
import numpy as np
import random_tensors
from dew.nn.backbones.edm2 import EDM2UNet
from dew.nn.dit import TextContext
from dew.nn.mp import Uncertainty

SIZES = {
    "output_channels": 3,
    "model_channels": 8,
    "channel_mult": (1, 2, 2),
    "num_blocks": 1,
    "attn_resolutions": (4,),
    "channels_per_head": 8,
}
CLASSES = 5
NAMES = {"frequencies": "freqs", "mp_kernel": "weight"}


def name_of(path, prefix):
    """The published name of a variable of dewml."""
    _, *parts = (key.key for key in path)  # the first is the collection
    parts[0] = parts[0].replace("enc_", "enc.").replace("dec_", "dec.")
    parts[-1] = NAMES.get(parts[-1], parts[-1])
    return prefix + ".".join(parts)


def drawn(variables, prefix):
    """The variables with values drawn by their published names, in the layout of PyTorch; and their shapes there."""
    shapes = {}

    def draw(path, leaf):
        name, shape = name_of(path, prefix), leaf.shape
        shapes[name] = (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape
        array = random_tensors.draw(name, shapes[name])
        return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array

    return jax.tree_util.tree_map_with_path(draw, variables), shapes


rng = np.random.RandomState(0)
x = rng.standard_normal((3, 3, 8, 8)).astype(np.float32)
noise, labels = np.array([-6.0, 0.4, 5.0], np.float32), np.array([0, 4, CLASSES])
hidden = 1e6 * (labels[:, None] == np.arange(CLASSES))[:, None]
inputs = jnp.moveaxis(x, 1, -1), noise, TextContext(jnp.asarray(hidden, jnp.float32), jnp.ones((3, 1)))
network, head = EDM2UNet(**SIZES), Uncertainty(channels=6)
variables, shapes = drawn(jax.eval_shape(network.init, jax.random.key(0), *inputs), "unet.")
of_head, shapes_of_head = drawn(jax.eval_shape(head.init, jax.random.key(0), noise), "logvar_")
output = np.moveaxis(jax.jit(network.apply)(variables, *inputs), -1, 1)
arrays = {"x": x, "noise": noise, "labels": labels, "output": output, "log_variance": head.apply(of_head, noise)}
about = random_tensors.versions("dewml", "jax") | {"sizes": SIZES}
random_tensors.save("edm2", shapes | shapes_of_head, about, **arrays)
