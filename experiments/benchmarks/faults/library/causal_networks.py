"""Autoregressive networks: their attributes are checked when they are made or traced."""

# pyright: reportArgumentType=false

from experiments.benchmarks.faults.calls import Call, Choice, Count, Data, Number, call
from experiments.benchmarks.faults.library.networks import SIGNALS, applied, shapes
from scorekit import networks

_CAUSAL_SIZES = {"outputs": 2, "channels": 4, "layers": 1, "cycle": 1}
_CAUSAL_WAVENET = networks.CausalWaveNet(**_CAUSAL_SIZES)
_CAUSAL_DIT_SIZES = {"outputs": 2, "depth": 1, "width": 4, "heads": 2, "window": 2}
_CAUSAL_DIT = networks.CausalTransformer(**_CAUSAL_DIT_SIZES)
_TIERED = {"upper": networks.CausalWaveNet(**_CAUSAL_SIZES), "lower": _CAUSAL_WAVENET.clone(map_size=1)}
_ONLY_X = {"x": Data(SIGNALS)}

ROWS: dict[str, Call] = {
    "networks.CausalWaveNet": call(lambda x: applied(_CAUSAL_WAVENET, x), **_ONLY_X),
    "networks.CausalWaveNet/attributes": call(
        lambda **given: shapes(networks.CausalWaveNet(**{**_CAUSAL_SIZES, **given}), SIGNALS),
        outputs=Count(2),
        channels=Count(4),
        layers=Count(1),
        cycle=Count(1),
        dilation_base=Count(2),
        taps=Count(2, least=2),
    ),
    "networks.CausalTransformer": call(lambda x: applied(_CAUSAL_DIT, x), **_ONLY_X),
    "networks.CausalTransformer/attributes": call(
        lambda **given: shapes(networks.CausalTransformer(**{**_CAUSAL_DIT_SIZES, **given}), SIGNALS),
        outputs=Count(2),
        depth=Count(1),
        width=Count(4),
        heads=Count(2),
        window=Count(2),
        mlp_ratio=Number(4.0, low=0.0),
        pattern=Choice("local"),
    ),
    "networks.TieredNetwork": call(lambda x: applied(networks.TieredNetwork(**_TIERED, factor=2), x), **_ONLY_X),
    "networks.TieredNetwork/attributes": call(
        lambda factor: shapes(networks.TieredNetwork(**_TIERED, factor=factor), SIGNALS), factor=Count(2)
    ),
}

EXEMPT: dict[str, str] = {}
