"""Exact problems as NumPy callables, and checks of anyone's schedule, loss, sampler, likelihood or posterior.

A package is checked through a few callables on NumPy arrays, in conventions that each class states, so that the code
under test may be of any framework::

    report = check("mine 1.0", {"VP": Schedule(...), "DDIM": Sampler(run=..., order=1), "loss": Loss(...)})
    print(report)
    report.save("report.html")

Each check passes, fails or is not applicable, and says what it measured, with its error.

>>> def euler(denoiser, x, sigmas, rng):
...     for sigma, after in zip(sigmas[:-1], sigmas[1:]):
...         x = x + (after - sigma) / sigma * (x - denoiser(x, sigma))
...     return x
>>> report = check("mine", {"Euler": Sampler(run=euler, order=1), "the same": Sampler(run=euler, order=2)})
>>> [f"{each.subject}: {each.name}" for each in report.failed]
['the same: order']
>>> subjects = {
...     "log p": Likelihood(log_prob=lambda problem, x: 0.5 * problem.log_density(x)),
...     "posterior": Posterior(sample=lambda problem, a, y, std, n, rng: problem.posterior(a, y, std).sample(rng, n)),
...     "loss": Loss(value=lambda denoiser, x0, seed: ((denoiser(x0, 0.5) - x0) ** 2).mean(1)),  # adds no noise
... }
>>> [f"{each.subject}: {each.name}" for each in check("others", subjects).failed]
['log p: log-density', 'log p: slope', 'loss: minimiser', 'loss: value']
"""

from scorekit.conformance.losses import Loss
from scorekit.conformance.posteriors import Likelihood, Posterior
from scorekit.conformance.problems import Mixture, gaussian, mixture, ring
from scorekit.conformance.report import Check, Report, Subject, check, compared, not_applicable
from scorekit.conformance.samplers import Sampler
from scorekit.conformance.schedules import Schedule

__all__ = ["Check", "Likelihood", "Loss", "Mixture", "Posterior", "Report", "Sampler", "Schedule", "Subject"]
__all__ += ["check", "compared", "gaussian", "mixture", "not_applicable", "ring"]
