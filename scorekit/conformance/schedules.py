"""Checks of a schedule: signs, order, ends, and what its functions say about each other.

The state is ``x_t = alpha(t) x0 + sigma(t) eps``, and ``dx = f(t) x dt + g(t) dW`` has these marginals if
``f = d log alpha / dt`` and ``g^2 = d sigma^2 / dt - 2 f sigma^2``; ``log_snr = log(alpha^2 / sigma^2)``.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from scorekit.checks import check_real
from scorekit.conformance._subject import call, subject
from scorekit.conformance.report import Check, compared, not_applicable

_Function = Callable[[np.ndarray], np.ndarray]
_KINDS = {
    "vp": ("alpha^2 + sigma^2", lambda alpha, sigma: alpha**2 + sigma**2),
    "ve": ("alpha", lambda alpha, sigma: alpha),
    "flow": ("alpha + sigma", lambda alpha, sigma: alpha + sigma),
}
_RATIO = 1e-3
"""Largest relative deviation of a function from the derivative or logarithm that it should be."""
_END = 0.1
"""Largest sigma / alpha at the clean end, and alpha / sigma at the noisy one."""


@subject
class Schedule:
    """A schedule to check, as functions of arrays of times ``(n,)``.

    Attributes:
      alpha: factor of the signal.
      sigma: standard deviation of the noise.
      times: times to check at, ``(n,)``, n at least 3, from data to noise.
      kind: "vp" if ``alpha^2 + sigma^2 = 1``, "ve" if ``alpha = 1``, "flow" if ``alpha + sigma = 1``, else None.
      log_snr: ``log(alpha^2 / sigma^2)``, or None.
      drift: f, or None.
      diffusion_squared: ``g^2``, or None.

    >>> flow = Schedule(alpha=lambda t: 1 - t, sigma=lambda t: t, kind="vp")  # it is not variance preserving
    >>> [each.name for each in flow.checks() if each.status == "fail"]
    ['kind']
    """

    alpha: _Function
    sigma: _Function
    times: np.ndarray = dataclasses.field(default_factory=lambda: np.linspace(0.0, 1.0, 101))
    kind: Literal["vp", "ve", "flow"] | None = None
    log_snr: _Function | None = None
    drift: _Function | None = None
    diffusion_squared: _Function | None = None

    def checks(self) -> Iterator[Check]:
        """Seven results: finite, monotone, ends, kind, log-SNR, drift, diffusion."""
        check_real(times=self.times)
        t = np.asarray(self.times, float)
        if t.ndim != 1 or len(t) < 3:
            raise ValueError(f"times must be (n,) with n >= 3, got shape {t.shape}")
        one_each = lambda name: lambda t: np.broadcast_to(getattr(self, name)(t), t.shape)  # a constant is a scalar
        at = lambda name, t: call(name, one_each(name), t, shape=t.shape)
        alpha, sigma = at("alpha", t), at("sigma", t)
        with np.errstate(all="ignore"):
            bad = ~np.isfinite(alpha) | ~np.isfinite(sigma) | (alpha < 0) | (sigma < 0) | (alpha + sigma == 0)
            log_snr = None if self.log_snr is None else at("log_snr", t)
            if log_snr is not None:
                bad |= np.isnan(log_snr)
            where = f", the first at t = {t[bad.argmax()]:.4g}" if bad.any() else ""
            text = "{measured} times at which alpha, sigma or log-SNR is negative or not finite" + where
            yield compared("finite", int(bad.sum()), tolerance=0, text=text)
            wrong = int(np.sum(~(alpha[:-1] * sigma[1:] > alpha[1:] * sigma[:-1])))
            yield compared("monotone", wrong, tolerance=0, text="sigma / alpha does not grow at {measured} times")
            ends = sigma[0] / alpha[0], alpha[-1] / sigma[-1]
            text = f"sigma / alpha is {ends[0]:.2g} at the clean end, alpha / sigma {ends[1]:.2g} at the noisy one"
            yield compared("ends", float(np.max(ends)), tolerance=_END, text=text)
            if self.kind is None:
                yield not_applicable("kind", "no kind is declared")
            else:
                name, value = _KINDS[self.kind]
                yield _ratio("kind", value(alpha, sigma), 1.0, f"{name} is {{measured}}")
            inner = slice(1, -1)
            exact = 2 * np.log(alpha[inner] / sigma[inner])
            yield _ratio(
                "log-SNR",
                None if log_snr is None else log_snr[inner],
                exact,
                "log-SNR is {measured} times log(alpha^2 / sigma^2)",
            )
            h, t = 1e-5 * abs(t[-1] - t[0]), t[inner]
            slope = lambda function: (function(t + h) - function(t - h)) / (2 * h)
            needs = self.drift is not None or self.diffusion_squared is not None
            f = slope(lambda t: np.log(at("alpha", t))) if needs else 0.0
            drift = None if self.drift is None else at("drift", t)
            yield _ratio("drift", drift, f, "f is {measured} times d log alpha / dt")
            square = None if self.diffusion_squared is None else at("diffusion_squared", t)
            g = slope(lambda t: np.square(at("sigma", t))) - 2 * f * sigma[inner] ** 2 if needs else 0.0
            yield _ratio("diffusion", square, g, "g^2 is {measured} times d sigma^2 / dt - 2 f sigma^2")


def _ratio(name, found, exact, text):
    """The worst ratio of two functions, which is 1; where both are 0 it is 1."""
    if found is None:
        return not_applicable(name, f"no {name} is given")
    found, exact = np.broadcast_arrays(found, exact)
    small = 1e-6 * max(np.max(np.abs(exact)), 1e-3)  # an error of the differences, and where a log-SNR passes through 0
    ratio = np.where((np.abs(found) <= small) & (np.abs(exact) <= small), 1.0, found / exact)
    ratio = np.where(np.abs(found - exact) <= small, 1.0, ratio)
    worst = ratio[np.argmax(np.where(np.isnan(ratio), np.inf, np.abs(ratio - 1.0)))]
    return compared(name, float(worst), expected=1.0, tolerance=_RATIO, text=text)
