"""Published accuracies of classifier two-sample tests on the tasks of SBIBM, means over the ten observations."""

SOURCE = """NPE and SNPE: Lueckmann et al. 2021 (https://arxiv.org/abs/2101.04653), from main_paper.csv of
https://github.com/sbi-benchmark/results, and gaussian_mixture from its gaussian_mixture_rerun.csv, after the task was
corrected; means over the ten observations of the column C2ST."""

C2ST: dict[str, dict[int, tuple[float, float]]] = {
    "two_moons": {10_000: (0.606, 0.554), 100_000: (0.542, 0.530)},
    "slcp": {10_000: (0.901, 0.845), 100_000: (0.831, 0.666)},
    "gaussian_linear": {10_000: (0.552, 0.544), 100_000: (0.506, 0.507)},
    "gaussian_mixture": {10_000: (0.615, 0.551), 100_000: (0.548, 0.536)},
    "bernoulli_glm": {10_000: (0.678, 0.614), 100_000: (0.559, 0.525)},
    "gaussian_linear_uniform": {10_000: (0.553, 0.527), 100_000: (0.509, 0.507)},
    "sir": {10_000: (0.680, 0.561), 100_000: (0.585, 0.575)},
    "lotka_volterra": {10_000: (0.997, 0.953), 100_000: (0.981, 0.928)},
}
"""Of each task, by the number of simulations: amortised posteriors by normalising flows (NPE), and sequential ones
(SNPE), which spend their simulations near each observation."""
