"""Each check accepts what is right and finds the defect that is planted."""

import functools
import itertools
import types

import numpy as np
import pytest
from errors import raising

from scorekit import conformance as c


def failed(subject):
    """The names of the checks that failed."""
    return [each.name for each in c.check("", {"": subject}).failed]


# ---- schedules -----------------------------------------------------------------------------------------------------

TOTAL = lambda t: 0.1 * t + 0.5 * 19.9 * t**2  # the integral of beta
ALPHA = lambda t, factor=1.0: np.exp(-0.5 * factor * TOTAL(t))
SIGMA = lambda t, factor=1.0: np.sqrt(-np.expm1(-factor * TOTAL(t)))
LOG_SNR = lambda t: -np.log(np.expm1(TOTAL(t)))
VP = {"alpha": ALPHA, "sigma": SIGMA, "kind": "vp", "log_snr": LOG_SNR, "drift": lambda t: -0.5 * (0.1 + 19.9 * t)}
VP |= {"diffusion_squared": lambda t: 0.1 + 19.9 * t}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"alpha": lambda t: ALPHA(t, 2), "sigma": lambda t: SIGMA(t, 2)}, ["log-SNR", "drift", "diffusion"]),
        ({"log_snr": lambda t: 0.5 * LOG_SNR(t)}, ["log-SNR"]),
        ({"log_snr": lambda t: np.log(t * ALPHA(t)) - np.log(t * SIGMA(t))}, ["finite", "log-SNR"]),  # 0 / 0 at t = 0
        ({"alpha": lambda t: ALPHA(t) ** 2}, ["kind", "log-SNR", "drift", "diffusion"]),
        (
            {"alpha": lambda t: ALPHA(1 - t), "sigma": lambda t: SIGMA(1 - t)},
            ["monotone", "ends", "log-SNR", "drift", "diffusion"],
        ),
        ({"times": np.linspace(0, 0.3, 101)}, ["ends"]),
    ],
    ids=["right", "factor 2", "half", "ratio of NaN", "alpha bar", "reversed", "short"],
)
def test_schedules(change, expected):
    assert failed(c.Schedule(**(VP | change))) == expected


@pytest.mark.parametrize("count", [3, 4])
def test_a_schedule_is_checked_at_a_few_times(count):
    flow = {"alpha": lambda t: 1 - t, "sigma": lambda t: t, "kind": "flow", "times": np.linspace(0, 1, count)}
    rates = {"drift": lambda t: -1 / (1 - t), "diffusion_squared": lambda t: 2 * t / (1 - t)}
    assert [each.status for each in c.Schedule(**flow, **rates).checks()][-2:] == ["pass", "pass"]
    with pytest.raises(ValueError, match=r"times must be \(n,\) with n >= 3, got shape \(2,\)"):
        list(c.Schedule(**{**flow, "times": np.array([0.0, 1.0])}).checks())


# ---- losses --------------------------------------------------------------------------------------------------------


def loss(denoiser, x0, seed, scale=1.0, kept=1.0):
    rng = np.random.default_rng(seed)
    sigma = np.exp(1.2 * rng.standard_normal(len(x0)) - 0.4)
    x = x0 + sigma[:, None] * rng.standard_normal(x0.shape)
    return np.mean((denoiser(x, scale * sigma) - kept * x0) ** 2, axis=1) / sigma**2


@pytest.mark.parametrize(
    ("options", "factor", "expected"),
    [
        ({}, 1, []),
        ({"scale": 0.9}, 1.0, ["minimiser", "value", "weighting"]),
        ({"kept": 0.95}, 1, ["minimiser"]),
        ({}, 2, ["weighting"]),
    ],
)
def test_losses(options, factor, expected):
    subject = c.Loss(value=functools.partial(loss, **options), weight=lambda sigma: factor / sigma**2)
    assert failed(subject) == expected


# ---- samplers ------------------------------------------------------------------------------------------------------


def heun(denoiser, x, sigmas, rng, weight=0.5, last=None, noise=0.0):
    for sigma, after in itertools.pairwise(sigmas[:last]):
        slope = (x - denoiser(x, sigma)) / sigma
        y = x + (after - sigma) * slope
        if after:
            slope = (1 - weight) * slope + weight * (y - denoiser(y, after)) / after
        x = x + (after - sigma) * slope + noise * after * rng.standard_normal(x.shape)
    return x


def ancestral(denoiser, x, sigmas, rng, share=1.0):
    for sigma, after in itertools.pairwise(sigmas):
        x0, kept = denoiser(x, sigma), (after / sigma) ** 2
        x = x0 + kept * (x - x0) + share * after * np.sqrt(1 - kept) * rng.standard_normal(x.shape)
    return x


def third_order(denoiser, x, sigmas, rng, factor=1.0):
    """The multistep DPM-Solver++ of third order; widely copied with half the second difference."""
    past = []
    for sigma, after in itertools.pairwise(sigmas):
        h = np.log(sigma / after)
        past = [(np.log(sigma), denoiser(x, sigma)), *past][:3]
        x = after / sigma * x - np.expm1(-h) * past[0][1]
        rates = [(a[1] - b[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(past)]  # of -log sigma
        if len(rates) == 2:
            second = (rates[0] - rates[1]) / (past[2][0] - past[0][0])
            rates[0] = rates[0] + (past[1][0] - past[0][0]) * second
            x = x + 2 * factor * (0.5 * h**2 - (np.expm1(-h) + h)) * second
        if rates:
            x = x + (np.expm1(-h) + h) * rates[0]
    return x


def nan_ratio(denoiser, x, sigmas, rng):
    """The last step divides 0 by 0."""
    return heun(denoiser, x, sigmas, rng) * (sigmas[-1] / sigmas[-1] if sigmas[-1] else np.nan)


RUNS = {
    "heun": (heun, {"order": 2}, []),
    "ancestral": (ancestral, {"order": 1, "stochastic": True}, []),
    "third order": (third_order, {"order": 3, "to_zero": False}, []),
    "half a term": (functools.partial(third_order, factor=0.5), {"order": 3, "to_zero": False}, ["order"]),
    "another sign": (functools.partial(third_order, factor=-1.0), {"order": 3, "to_zero": False}, ["order"]),
    "last step skipped": (functools.partial(heun, last=-1), {"order": 2}, ["last step", "order"]),
    "weights": (functools.partial(heun, weight=0.4), {"order": 2}, ["order"]),
    "ratio of NaN": (nan_ratio, {}, ["finite", "last step", "mean", "spread", "density", "modes"]),
    "too much noise": (
        functools.partial(ancestral, share=1.3),
        {"order": 1, "stochastic": True},
        ["order", "spread", "density"],
    ),
    "no noise": (functools.partial(ancestral, share=0.0), {"stochastic": True}, ["spread", "density"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_samplers(name):
    run, claims, expected = RUNS[name]
    assert failed(c.Sampler(run=run, **claims, steps=128 if "noise" in name else 64)) == expected


def test_orders_are_said_with_their_errors():
    order = next(each for each in c.Sampler(run=heun, order=3).checks() if each.name == "order")
    assert order.status == "fail"
    assert order.text.startswith("order 1.98 ± 0.02 where 3 is claimed")


def test_noise_that_is_not_drawn_from_rng_has_no_order():
    own = np.random.default_rng(1)
    subject = c.Sampler(
        run=lambda denoiser, x, sigmas, rng: ancestral(denoiser, x, sigmas, own), order=1, stochastic=True
    )
    order = next(each for each in subject.checks() if each.name == "order")
    assert order.status == "n/a"


# ---- likelihoods, posteriors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda log_p: log_p, []),
        (lambda log_p: log_p + 0.02, ["log-density"]),
        (lambda log_p: log_p / 2, ["log-density", "slope"]),
        (lambda log_p: log_p + 1e6 * np.random.default_rng(0).standard_normal(log_p.shape), ["log-density", "slope"]),
        (lambda log_p: np.full_like(log_p, np.nan), ["log-density", "slope"]),
    ],
)
def test_likelihoods(change, expected):
    assert failed(c.Likelihood(log_prob=lambda problem, x: change(problem.log_density(x)))) == expected


def posterior(problem, operator, observation, noise, n, rng, width=1.0, of_noise=1.0):
    exact = problem.posterior(operator, observation, of_noise * noise)
    x = exact.sample(rng, n)
    if len(exact.weights) > 1:
        return x
    return exact.mean + width * (x - exact.mean)


def one_mode(problem, operator, observation, noise, n, rng):
    exact = problem.posterior(operator, observation, noise)
    return c.mixture(exact.weights[-1:], exact.means[-1:], exact.covariances[-1:]).sample(rng, n)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (posterior, []),
        (functools.partial(posterior, width=0.9), ["spread", "coverage"]),
        (functools.partial(posterior, of_noise=3.0), ["mean", "spread", "coverage"]),
        (one_mode, ["modes"]),
    ],
    ids=["exact", "narrow", "noise", "one mode"],
)
def test_posteriors(sample, expected):
    assert failed(c.Posterior(sample=sample)) == expected


# ---- adapters and reports ------------------------------------------------------------------------------------------


def few(problem, a, y, noise, n, rng):
    return problem.posterior(a, y, noise).sample(rng, n - 1)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (c.Posterior(sample=few, draws=100), "sample must return shape (100, 4), got (99, 4)"),
        (c.Loss(value=lambda denoiser, x0, seed: 1.0), "value must return shape (20000,), got ()"),
        (c.Likelihood(log_prob=lambda problem, x: problem.log_density(x) + 0j), "log_prob must return real numbers"),
        (c.Sampler(run=lambda denoiser, x, *_: denoiser(x + 0j, 1.0)), "x must hold real numbers, got dtype complex"),
        (c.Loss(value=lambda denoiser, x0, seed: denoiser(x0, 1j)[:, 0]), "sigma must hold real numbers"),
        (types.SimpleNamespace(checks=lambda: itertools.repeat(c.not_applicable("a", "b"))), "after at most 1000"),
        (types.SimpleNamespace(checks=lambda: iter(())), "checks must give at least one result, got none"),
    ],
)
def test_results_of_adapters_are_validated(subject, text):
    assert text in c.check("", {"": subject}).failed[0].text


def test_an_adapter_that_works_in_place_changes_nothing_else():
    def spoiling(function):
        def spoiled(*args):
            value = np.array(function(*(each.copy() if isinstance(each, np.ndarray) else each for each in args)))
            for each in args:
                if isinstance(each, np.ndarray):
                    each[:] = 7.0
            return value

        return spoiled

    subjects = {
        "schedule": c.Schedule(**{key: spoiling(each) if callable(each) else each for key, each in VP.items()}),
        "loss": c.Loss(value=spoiling(loss), weight=spoiling(lambda sigma: 1 / sigma**2)),
        "sampler": c.Sampler(run=spoiling(heun), order=2),
        "ancestral": c.Sampler(run=spoiling(ancestral), order=1, stochastic=True),
        "after": c.Sampler(run=heun, order=2),
        "likelihood": c.Likelihood(log_prob=spoiling(lambda problem, x: problem.log_density(x))),
        "posterior": c.Posterior(sample=spoiling(posterior)),
    }
    assert c.check("", subjects).failed == []


test_counts_are_limited = raising(
    {
        "draws must be an integer from 100 to 1000000, got 1": lambda: c.Posterior(sample=posterior, draws=1),
        "problems must be an integer from 10 to 10000": lambda: c.Posterior(sample=posterior, problems=1),
        "steps must be an integer from 1 to 10000, got 10000000": lambda: c.Sampler(run=heun, steps=10**7),
        "count must be an integer from 16": lambda: c.Likelihood(log_prob=lambda *_: 0, count=1),
        "subjects must hold at least one subject": lambda: c.check("", {}),
    }
)


def test_an_adapter_that_raises_is_a_failed_check(tmp_path):
    report = c.check("<mine>", {"a & b": c.Loss(value=lambda denoiser, x0, seed: 1.0), "flow": c.Schedule(**VP)})
    assert [each.name for each in report.checks][:2] == ["runs", "finite"]
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "a &amp; b" in page
    assert "<mine>" not in page
    assert page.count('<tr class="f">') == 1
