"""Class-conditional images: a diffusion model, guided samples as a PNG, and bits per dimension.

    python examples/images.py        # or with other steps and another folder: python examples/images.py 500 runs/mine

Four CPU minutes: held-out digits cost at most 1.90 bits a pixel, and the samples show the digit of their row.

The data are the 8 x 8 digits of scikit-learn; ``load_images`` is the function to replace by your own images. A command
that was stopped continues from the checkpoint in ``runs/examples/images``: other data need another folder. The average
of the weights, which draws the samples, needs some 500 steps. Under ``jax.set_mesh(jax.make_mesh((n,), ("data",)))``
each of the n devices has a part of every batch. Needs ``pip install 'scorekit[experiments]'``.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jax.sharding import PartitionSpec

import scorekit as sk
from scorekit.networks import ABSENT, Masked, UNet

SCHEDULE = sk.schedules.Cosine()  # x_t = alpha(t) x0 + sigma(t) eps, from data at t = 0 to noise at t = 1
LEARNING_RATE, EMA_DECAY, DROP_CLASS, GUIDANCE_SCALE = 3e-3, 0.995, 0.1, 2.0
SAMPLING_STEPS, SAMPLES_OF_A_CLASS, CHECKPOINT_EVERY = 20, 8, 500


# Data: replace this function.


def load_images():
    """Integers ``(N, H, W, C)`` from 0 to ``values - 1``, labels ``(N,)`` from 0, and the number ``values``.

    Of photographs: uint8 and 256. The last sixth is held out.
    """
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    return np.reshape(x, (-1, 8, 8, 1)).astype(int), np.asarray(labels), 17


def split(batch):
    """The batch, in parts on the devices of the mesh where one is set."""
    mesh = jax.sharding.get_abstract_mesh()
    return batch if mesh.empty else jax.device_put(batch, PartitionSpec("data"))


# Network, loss and step.


def conditioned(network, params, condition):
    """The network as scorekit takes it, ``(x_t, t) -> v``: it is called with the noise level in place of the time."""
    apply = lambda x, noise: network.apply(params, x, noise, vector=condition)
    return sk.denoisers.condition_on_log_snr(apply, SCHEDULE)


def loss(params, network, key, x0, classes):
    """``E |v - v_hat(x_t, t, class)|^2 / D`` over times and noise; one example in ten has no class, for guidance."""
    for_classes, for_noise = jax.random.split(key)
    present = jax.random.bernoulli(for_classes, 1 - DROP_CLASS, classes.shape[:1])
    predict = conditioned(network, params, Masked(classes, present))
    losses, _ = sk.denoising_loss(for_noise, predict, SCHEDULE, x0, target="v")
    return losses.mean()


@partial(jax.jit, static_argnums=(0, 1))
def train_step(network, optimizer, state, key, x0, classes):
    """The next state, with an exponential moving average of the parameters, and the loss."""
    value, gradient = jax.value_and_grad(loss)(state["params"], network, key, x0, classes)
    updates, moments = optimizer.update(gradient, state["moments"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    average = optax.incremental_update(params, state["average"], 1 - EMA_DECAY)
    return {"params": params, "average": average, "moments": moments}, value


# Samples and bits.


@partial(jax.jit, static_argnums=0)
def draw(network, params, noise, classes, guidance_scale):
    """From noise to images of the classes: ``uncond + guidance_scale (cond - uncond)`` in every step of the solver."""
    given = lambda condition: conditioned(network, params, condition)
    cond = sk.denoiser_from_network(given(Masked(classes)), SCHEDULE, "v")
    uncond = sk.denoiser_from_network(given(ABSENT), SCHEDULE, "v")
    guided = sk.guidance.classifier_free(cond, uncond, guidance_scale)
    solver, ts = sk.samplers.recommended(SCHEDULE, SAMPLING_STEPS)
    return sk.sample(guided, SCHEDULE, solver, noise, ts)


@partial(jax.jit, static_argnums=(0, 5))
def bits_per_dim(network, params, key, x0, classes, values):
    """The variational bound on the code length of images given their class, in bits a pixel and channel."""
    denoiser = sk.denoiser_from_network(conditioned(network, params, Masked(classes)), SCHEDULE, "v")
    bound = sk.likelihood.variational_bound(key, denoiser, SCHEDULE, x0, bins=values)
    return sk.likelihood.bits_per_dim(-bound.total, x0.size // len(x0)).bits_per_dim.mean()


def save_png(path, images):
    """Rows of images ``(rows, columns, H, W, C)`` in [-1, 1] as one picture; needs pillow."""
    from PIL import Image

    rows, columns, height, width, channels = images.shape
    grid = images.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
    pixels = np.clip(127.5 * (grid + 1), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    picture.resize((4 * picture.width, 4 * picture.height), Image.Resampling.NEAREST).save(path)


def main(steps=2500, folder="runs/examples/images", batch_size=128, channels=24):
    images, labels, values = load_images()
    x, classes = (2 * images / (values - 1) - 1).astype(np.float32), np.eye(labels.max() + 1, dtype=np.float32)[labels]
    held_out = len(x) // 48 * 8  # a multiple of 8, so that up to eight devices have equal parts
    network = UNet(channels=channels, vector_size=classes.shape[1])
    rate = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, steps // 25, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    # The state; jit puts it on all devices of a mesh.
    @jax.jit
    def init(key):
        params = network.init(key, x[:1], jnp.zeros(1), vector=Masked(classes[:1]))
        return {"params": params, "average": params, "moments": optimizer.init(params)}

    state, start = init(jax.random.key(0)), 0
    checkpoints = ocp.CheckpointManager(Path(folder).absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=1))
    if last := checkpoints.latest_step():
        start = last
        state = checkpoints.restore(start, args=ocp.args.StandardRestore(state))

    # The loop: batch and noise of a step depend on its number alone, also after a restart.
    for i in range(start, steps):
        rows = np.random.default_rng(i).integers(len(x) - held_out, size=batch_size)
        key = jax.random.fold_in(jax.random.key(1), i)
        state, value = train_step(network, optimizer, state, key, *split((x[rows], classes[rows])))
        if (i + 1) % 100 == 0:
            print(f"step {i + 1}: loss {value:.4f}", flush=True)
        if (i + 1) % CHECKPOINT_EVERY == 0 or i + 1 == steps:
            checkpoints.save(i + 1, args=ocp.args.StandardSave(state))
    checkpoints.close()

    key, params = jax.random.key(2), state["average"]
    bits = float(bits_per_dim(network, params, key, *split((x[-held_out:], classes[-held_out:])), values))
    wanted = np.repeat(np.eye(classes.shape[1], dtype=np.float32), SAMPLES_OF_A_CLASS, axis=0)
    noise = sk.sample_prior(key, SCHEDULE, jnp.zeros((len(wanted), *x.shape[1:])))
    samples = np.asarray(draw(network, params, *split((noise, wanted)), GUIDANCE_SCALE))
    print(f"held-out images: at most {bits:.3f} bits per dimension")
    save_png(Path(folder) / "samples.png", samples.reshape(-1, SAMPLES_OF_A_CLASS, *x.shape[1:]))
    print(f"samples, a row for each class, guidance scale {GUIDANCE_SCALE}: {folder}/samples.png")
    return {"bits": bits, "samples": samples}


if __name__ == "__main__":
    arguments = dict(zip(("steps", "folder"), sys.argv[1:], strict=False))
    main(int(arguments.get("steps", 2500)), arguments.get("folder", "runs/examples/images"))
