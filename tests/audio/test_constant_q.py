"""The constant-Q transform: its defining sum, exact inversion, its transpose, energies, and tones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.audio import constant_q, constant_q_frame, inverse_constant_q

FRAMES = {
    "even": constant_q_frame(2000, 8000, f_min=220.0),
    "odd": constant_q_frame(1601, 8000, f_min=150.0, f_max=1500.0, bins_per_octave=6, columns=600),
    "one band": constant_q_frame(101, 8000, f_min=1000.0, f_max=1000.0, bins_per_octave=1),
}


@pytest.fixture(scope="module", params=FRAMES)
def case(request):
    frame = FRAMES[request.param]
    x = jax.random.normal(jax.random.key(0), (2, frame.length))
    spare = jax.random.normal(jax.random.key(1), (2, *frame.bins.shape), jnp.complex64)

    @jax.jit
    def everything(x, spare, frame):
        c, pullback = jax.vjp(lambda x: constant_q(x, frame), x)
        (transposed,) = pullback(jnp.conj(spare))  # jax's convention: the pullback of conj(c) is the real transpose
        return c, inverse_constant_q(c, frame), transposed, inverse_constant_q(spare, frame)

    return frame, x, everything(x, spare, frame)


@pytest.mark.slow
def test_inverse_constant_q_is_exact(case):
    _, x, (_, back, _, _) = case
    assert back.shape == x.shape
    np.testing.assert_allclose(back, x, atol=3e-6)


@pytest.mark.slow
def test_inverse_constant_q_is_the_transpose(case):
    _, _, (_, _, transposed, inverse) = case
    np.testing.assert_allclose(inverse, transposed, atol=3e-5)


def test_constant_q_matches_the_defining_sum(case):
    """The transform times the filter as the module writes it, moved down by the centre, summed at the times m L / M."""
    frame, x, (c, _, _, _) = case
    length, columns = frame.length, frame.bins.shape[1]
    spectrum = np.fft.rfft(np.asarray(x[0], np.float64))
    j = np.arange(len(spectrum))
    f = j * 8000 / length
    bands = np.asarray(frame.frequencies)[1:-1]
    per_octave = 1 / np.log2(bands[1] / bands[0]) if len(bands) > 1 else 1
    energy = np.where((j == 0) | (2 * j == length), 1.0, 2.0) / length
    m = np.arange(columns)
    for k in (0, len(bands) // 2, len(bands) - 1):
        d = np.abs(np.log2(np.maximum(f, 1e-9) / bands[k])) * per_octave
        g = np.where(d < 1, np.sin(np.pi / 2 * np.cos(np.pi / 2 * np.minimum(d, 1)) ** 2), 0)
        shift = j - round(bands[k] * length / 8000)
        turns = np.exp(2j * np.pi * np.outer(m, shift) / columns)
        naive = turns @ (g * np.sqrt(energy) * spectrum) / np.sqrt(columns)
        np.testing.assert_allclose(c[0, k + 1], naive, atol=1e-5)


@pytest.mark.slow
def test_float64_is_exact_to_1e_13():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (2000,), jnp.float64)
        back = inverse_constant_q(constant_q(x, FRAMES["even"]), FRAMES["even"])
        np.testing.assert_allclose(back, x, atol=1e-13)
