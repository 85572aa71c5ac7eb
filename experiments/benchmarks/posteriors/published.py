"""Published accuracies of classifier two-sample tests on the tasks of SBIBM, means over the ten observations."""

SOURCE = """NPE and SNPE: Lueckmann et al. 2021 (https://arxiv.org/abs/2101.04653), from main_paper.csv of
https://github.com/sbi-benchmark/results, and gaussian_mixture from its gaussian_mixture_rerun.csv, after the task was
corrected; means over the ten observations of the column C2ST."""

NPE = {
    ("two_moons", 10_000): 0.606,
    ("two_moons", 100_000): 0.542,
    ("slcp", 10_000): 0.901,
    ("slcp", 100_000): 0.831,
    ("gaussian_linear", 10_000): 0.552,
    ("gaussian_linear", 100_000): 0.506,
    ("gaussian_mixture", 10_000): 0.615,
    ("gaussian_mixture", 100_000): 0.548,
    ("bernoulli_glm", 10_000): 0.678,
    ("bernoulli_glm", 100_000): 0.559,
    ("gaussian_linear_uniform", 10_000): 0.553,
    ("gaussian_linear_uniform", 100_000): 0.509,
    ("sir", 10_000): 0.680,
    ("sir", 100_000): 0.585,
    ("lotka_volterra", 10_000): 0.997,
    ("lotka_volterra", 100_000): 0.981,
}
"""Amortised posteriors by normalising flows."""
SNPE = {
    ("two_moons", 10_000): 0.554,
    ("two_moons", 100_000): 0.530,
    ("slcp", 10_000): 0.845,
    ("slcp", 100_000): 0.666,
    ("gaussian_linear", 10_000): 0.544,
    ("gaussian_linear", 100_000): 0.507,
    ("gaussian_mixture", 10_000): 0.551,
    ("gaussian_mixture", 100_000): 0.536,
    ("bernoulli_glm", 10_000): 0.614,
    ("bernoulli_glm", 100_000): 0.525,
    ("gaussian_linear_uniform", 10_000): 0.527,
    ("gaussian_linear_uniform", 100_000): 0.507,
    ("sir", 10_000): 0.561,
    ("sir", 100_000): 0.575,
    ("lotka_volterra", 10_000): 0.953,
    ("lotka_volterra", 100_000): 0.928,
}
"""Sequential ones, which spend their simulations near each observation."""
