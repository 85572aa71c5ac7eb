"""Makes ``post_hoc_ema.npz``: power-function averages and reconstructions of ``ema_pytorch.PostHocEMA``.

    python tests/golden/make_post_hoc_ema.py [folder]

Needs torch and ema-pytorch, and no jax. A parameter vector takes a random walk; the averages of two widths are stored
at every tenth step, and averages of other widths are reconstructed from them.
"""

import tempfile

import numpy as np
import torch
from ema_pytorch import PostHocEMA
from random_tensors import save, versions

STEPS, EVERY, STORED, WANTED = 60, 10, (0.05, 0.1), (0.03, 0.07, 0.15)


def _weight(average) -> np.ndarray:
    return average.ema_model.weight.detach().numpy().ravel().copy()


walk = np.cumsum(np.random.RandomState(0).standard_normal((STEPS, 5)), axis=0).astype(np.float32)
walk[:, 0] = 1.0  # its reconstruction is the sum of the weights
model = torch.nn.Linear(5, 1, bias=False)
averages: list[np.ndarray] = []
with tempfile.TemporaryDirectory() as folder:
    ema = PostHocEMA(
        model,
        sigma_rels=STORED,
        checkpoint_every_num_steps=EVERY,
        checkpoint_folder=folder,
        checkpoint_dtype=torch.float32,
        update_every=1,
    )
    for step, values in enumerate(walk, start=1):
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(values))
        ema.update()
        if step % EVERY == 0:
            averages.append(np.stack([_weight(each) for each in ema.ema_models]))
    found = np.stack([_weight(ema.synthesize_ema_model(sigma_rel=width)) for width in WANTED])
about = {"every": EVERY, "stored": STORED, "wanted": WANTED, "gammas": list(ema.gammas)}
about |= versions("ema-pytorch", "torch")
save("post_hoc_ema", {}, about, walk=walk, averages=np.stack(averages), reconstructed=found)
