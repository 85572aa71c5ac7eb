"""Mel scales, filter banks and spectrograms against numbers that librosa computed once.

All golden numbers: librosa 0.11.0, ``librosa.filters.mel(sr=8000, n_fft=256, n_mels=20, fmin=60, fmax=3800, htk=,
norm=)`` and ``librosa.feature.melspectrogram(..., hop_length=80, pad_mode="constant", power=)`` of the float64 signal
below. librosa is no dependency, not even of the tests.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.audio import hann, hz_to_mel, log_mel, mel_filter_bank, mel_spectrogram, mel_to_hz

RANGE = {"f_min": 60.0, "f_max": 3800.0}


def test_mel_scales_match_librosa():
    frequencies = [60.0, 999.0, 1001.0, 5000.0]
    np.testing.assert_allclose(hz_to_mel(frequencies), [0.9, 14.985, 15.014537811, 38.409400787], rtol=1e-9)
    np.testing.assert_allclose(
        hz_to_mel(frequencies, "htk"), [92.681858132, 999.322404328, 1000.648279988, 2363.465836633], rtol=1e-9
    )
    np.testing.assert_allclose(mel_to_hz([3.0, 15.5, 40.0]), [200.0, 1034.9735685, 5577.800011749], rtol=1e-9)
    np.testing.assert_allclose(
        mel_to_hz([300.0, 1500.0, 2500.0], "htk"), [213.492479792, 1949.309654315, 5734.120301266], rtol=1e-9
    )
    f = np.linspace(0, 12000, 301)
    for scale in ("slaney", "htk"):
        np.testing.assert_allclose(mel_to_hz(hz_to_mel(f, scale), scale), f, atol=1e-8)
        assert np.all(np.diff(hz_to_mel(f, scale)) > 0)


SLANEY = {
    "bins": range(26, 33),
    "filter": [0.00067448, 0.003425279, 0.006176077, 0.008926876, 0.007070615, 0.00433827, 0.001605925],
    "sums": [0.031768146, 0.031699527, 0.032044512],
    "log_mel": [
        [-1.834950445801226, -6.427360606492771, -8.778570555770804, -3.002864895165935],
        [-2.6776943056688096, -1.3505199160970451, -6.370073678755514, -2.5881337191081624],
        [-4.532453428034712, -7.746830449758479, -11.512925464970229, -4.249204975165903],
        [-5.649006540037478, -11.512925464970229, -11.063696560813998, -4.3873627111778815],
    ],
}
HTK = {
    "bins": range(22, 30),
    "filter": [
        *(0.103459984, 0.360624968, 0.617789952, 0.874954937),
        *(0.878608744, 0.642326584, 0.406044423, 0.169762263),
    ],
    "sums": [2.284347415, 3.483421266, 11.227646251],
    "log_mel": [
        [4.9445244731923905, -6.500283294904413, -10.643432133015846, 1.5463514715016453],
        [6.210054522829558, 7.0547454265115475, 7.043888746156336, 6.130807683518416],
        [-0.3976972321054945, -3.805109962808315, -11.512925464970229, 0.11936868450099032],
        [-2.004105923453255, -11.512925464970229, -11.512925464970229, 0.6836543043889308],
    ],
}


@pytest.mark.parametrize(("golden", "scale", "norm", "power"), [(SLANEY, "slaney", "slaney", 1), (HTK, "htk", None, 2)])
def test_bank_and_log_mel_match_librosa(golden, scale, norm, power):
    bank = mel_filter_bank(8000, 256, 20, **RANGE, scale=scale, norm=norm)
    np.testing.assert_allclose(bank.sum(axis=0)[[0, 5, 19]], golden["sums"], rtol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(bank[:, 7]), golden["bins"])
    np.testing.assert_allclose(bank[golden["bins"], 7], golden["filter"], rtol=1e-5)
    n = np.arange(2000)
    x = 0.5 * np.sin(2 * np.pi * 440 / 8000 * n) + 0.3 * np.cos(0.001 * n * n)
    ours = np.asarray(jax.jit(lambda x: log_mel(x, bank, hann(256), 80, power=power, floor=1e-5))(x))
    assert ours.shape == (26, 20)
    np.testing.assert_allclose(ours[[0, 3, 12, 25]][:, [0, 4, 9, 19]].T, golden["log_mel"], atol=2e-3)


def test_filters_are_triangles_of_unit_height_or_area():
    height, area = (mel_filter_bank(16000, 4096, 10, norm=norm) for norm in (None, "slaney"))
    np.testing.assert_allclose(height.max(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(area.sum(axis=0) * 16000 / 4096, 1.0, atol=1e-3)


def test_log_mel_gradients_are_zero_below_the_floor():
    bank = mel_filter_bank(8000, 64, 8)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(log_mel(x, bank, hann(64), 16))))
    assert not np.any(slope(np.zeros(100, np.float32)))  # nor is any of them NaN
    at_work = slope(np.random.default_rng(0).normal(size=100).astype(np.float32))
    assert np.all(np.isfinite(at_work))
    assert np.any(at_work)
    energies = jax.jit(lambda x: mel_spectrogram(x, bank, hann(64), 16, power=2.0))(np.outer([1.0, 2.0], np.ones(100)))
    np.testing.assert_allclose(energies[1], 4 * energies[0], rtol=1e-5)
