"""Every guidance rule of the library, found by its traits and built from a dictionary of parts by parameter name.

The tests of guidance and the contract tests run through this table. A new rule appears in it by itself; a line is
needed only for hyper-parameters without a default and for values that the contract tests should use.
"""

import functools
import inspect

import chex
import jax
import jax.numpy as jnp

from scorekit import denoisers, densities, guidance, schedules

SCHEDULE = schedules.Cosine()
DATA = densities.ring(num_modes=3, std=0.3)
UNCOND = denoisers.exact_denoiser(DATA, SCHEDULE)
COND = denoisers.exact_denoiser(DATA.component(1), SCHEDULE)
X = jax.random.normal(jax.random.key(0), (5, 6, 2))  # five signals of six points of the plane
T = jnp.float32(0.4)

RULES = {name: getattr(guidance, name) for name in guidance.__all__ if hasattr(getattr(guidance, name), "traits")}
WRAPPERS = [name for name, rule in RULES.items() if "denoiser" in inspect.signature(rule).parameters]
BASES = [name for name in RULES if name not in WRAPPERS]

# Special cases: arguments that are lists of parts, and hyper-parameters without a default.
SPECIAL = {
    "compose": lambda parts: {"conds": [parts["cond"]], "guidance_scales": [parts["guidance_scale"]]},
    "negative": lambda parts: {"negative_scale": 3.0},
    "temperature": lambda parts: {"tau": 1.5},
}
# The same rules with other hyper-parameters.
VARIANTS = {
    "apg, projected and bounded": ("apg", {"parallel": 0.3, "norm_threshold": 0.5}),
    "apg, with momentum": ("apg", {"momentum": 0.4}),
    "frequency_decoupled, three bands": ("frequency_decoupled", {"factors": (1.0, 1.0, 1.0)}),
    "interval, bounded": ("interval", {"noise_min": 0.3, "noise_max": 3.0}),
}
CASES = {**{name: (name, {}) for name in RULES}, **VARIANTS}


def build(name, parts, **hyper):
    """The rule from those parts that are among its parameters, its special arguments, and hyper-parameters."""
    given = {key: value for key, value in parts.items() if takes(name, key)}
    special = SPECIAL.get(name, lambda parts: {})(parts)
    return RULES[name](**{**given, **special, **hyper})


def log_likelihood(x, t):
    """Of a classifier that computes in float32 at least."""
    leaves = [leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in jax.tree.leaves(x)]
    return -0.5 * sum(jnp.sum(jnp.square(leaf.reshape(len(leaf), -1) - 1.0), 1) for leaf in leaves)


def case(name, cond, uncond, schedule, gamma):
    """A case of the table for two branches; wrappers wrap classifier-free guidance."""
    rule, hyper = CASES[name]
    parts = {"cond": cond, "uncond": uncond, "weak": uncond, "unwanted": uncond, "unguided": cond}
    parts |= {"denoiser": guidance.classifier_free(cond, uncond, gamma), "schedule": schedule}
    parts |= {"guidance_scale": gamma, "log_likelihood": log_likelihood}
    return build(rule, parts, **hyper)


def traits(name):
    return RULES[CASES[name][0]].traits


def takes(name, part):
    return part in inspect.signature(RULES[CASES[name][0]]).parameters


def nests(count):
    """All rules, distributed over ``count`` chains: bases first (those that split first of all), ``interval`` last."""
    bases = sorted(BASES, key=lambda name: (not RULES[name].traits.splits, name))
    wrappers = sorted(WRAPPERS, key=lambda name: (name == "interval", name))
    return {f"nest_{k}": (*bases[k::count], *wrappers[k::count]) for k in range(count)}


same = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)


def once(rule, x, t):
    """The first prediction of a rule, stateful or not."""
    return guidance.predict(rule, guidance.init_denoiser_state(rule, x), x, t)[0]
