"""Autoregressive networks: a position sees those before it.

>>> import jax
>>> import jax.numpy as jnp
>>> x, sizes = jnp.array([[0, 3, 2, 1], [1, 1, 0, 2]]), {"outputs": 4, "num_codes": 4}
>>> transformer = CausalTransformer(**sizes, depth=1, width=8, heads=2, pattern="strided", window=2)
>>> wavenet = CausalWaveNet(**sizes, channels=8, layers=2, cycle=2, map_size=3)
>>> upper = CausalWaveNet(outputs=2 * 3, channels=4, layers=1, cycle=1)
>>> pixels = PixelCNN(columns=2, **sizes, channels=8, layers=2)
>>> for network in (transformer, wavenet, pixels, TieredNetwork(upper=upper, lower=wavenet, factor=2)):
...     outputs, params = jax.jit(network.init_with_output)(jax.random.key(0), x)
...     state = network.apply(params, 2, 4, method=network.init_state)
...     output, state = jax.jit(lambda state: network.apply(params, state, x[:, 0], method=network.step))(state)
...     print(outputs.shape, output.shape)
(2, 4, 4) (2, 4)
(2, 4, 4) (2, 4)
(2, 4, 4) (2, 4)
(2, 4, 4) (2, 4)
"""

from scorekit.networks.causal.causal_transformer import CausalTransformer
from scorekit.networks.causal.causal_wavenet import CausalWaveNet
from scorekit.networks.causal.pixel_cnn import PixelCNN
from scorekit.networks.causal.tiered import TieredNetwork

__all__ = ["CausalTransformer", "CausalWaveNet", "PixelCNN", "TieredNetwork"]
