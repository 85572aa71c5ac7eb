"""A toy of each kind: its files, the lines that CONTRIBUTING names, and its tests."""

from pathlib import Path
from typing import NamedTuple

from scorekit.networks import MLP

ROWS = "tests/valid_calls/toys.py"
ALL = "__all__ = [\n"


class Line(NamedTuple):
    """Text that is put after the first occurrence of a part of a file, or before it."""

    path: str
    part: str
    text: str
    before: bool = False

    def add(self, root: Path) -> None:
        file = root / self.path
        head, part, tail = file.read_text().partition(self.part)
        assert part, f"{self.path} lacks {self.part!r}"
        file.write_text(head + (self.text + part if self.before else part + self.text) + tail)


class Toy(NamedTuple):
    """What is added: files of the library by their paths, lines of the library, files and lines of the tests."""

    files: dict[str, str]
    lines: list[Line]
    tests: dict[str, str]
    test_lines: list[Line]


def offered(package: str, name: str, first: str = ALL) -> list[Line]:
    """The import of a name, before the first line that uses it, and its entry in ``__all__``."""
    path = f"scorekit/{package}/__init__.py"
    imported = f"from scorekit.{package}.toy import {name}\n\n"
    return [Line(path, first, imported, before=True), Line(path, ALL, f'    "{name}",\n')]


SCHEDULE = Toy(
    {
        "scorekit/schedules/toy.py": '''
        """A schedule whose log-SNR is a multiple of the logit of time."""

        import jax
        import jax.numpy as jnp

        from scorekit._numerics import wide, between_ends
        from scorekit.arguments import Positive
        from scorekit.schedules._variance_preserving import VariancePreserving
        from scorekit.trees import pytree_dataclass

        __all__ = ["toy"]


        @pytree_dataclass
        class _Toy(VariancePreserving):
            slope: Positive = 2.0

            def log_snr(self, t):
                return between_ends(lambda t: self.slope * (jnp.log1p(-t) - jnp.log(t)), wide(t))

            def time_at(self, log_snr):
                return jax.nn.sigmoid(-wide(log_snr) / self.slope)


        def toy(slope: Positive = 2.0) -> _Toy:
            """Variance-preserving schedule, ``lambda(t) = slope log((1 - t) / t)``.

            Args:
              slope: multiple.

            Returns:
              The schedule.

            >>> float(toy().log_snr(0.5))
            0.0
            """
            return _Toy(slope=slope)
        '''
    },
    offered("schedules", "toy"),
    {},
    [
        Line("tests/tables.py", "from scorekit.schedules import (\n", "    toy,\n"),
        Line(
            "tests/tables.py",
            "\nSCHEDULES = {\n",
            '    "toy": Case(toy, preserving(lambda t: 2 * (np.log1p(-t) - np.log(t)))),\n',
        ),
    ],
)
SOLVER = Toy(
    {
        "scorekit/solvers/toy.py": '''
        """DDIM once more."""

        from scorekit.solvers._base import LinearSolver, Row, noise_levels
        from scorekit.trees import pytree_dataclass

        __all__ = ["Toy"]


        @pytree_dataclass
        class Toy(LinearSolver):
            """``x_s = alpha_s x0 + sigma_s eps``.

            >>> Toy().order
            1
            """

            def row(self, schedule, times, num_past):
                levels = noise_levels(schedule, times)
                return Row(levels.t[..., 1], x0=levels.at(0).alpha, eps=levels.at(0).sigma)
        '''
    },
    [
        *offered("solvers", "Toy"),
        Line("scorekit/solvers/__init__.py", "``Euler``   ", "``Toy``  1  1  no  DDIM\n", before=True),
    ],
    {},
    [Line("tests/solvers/test_orders.py", '    "euler": S.Euler(),\n', '    "toy": S.Toy(),\n')],
)
RULE = Toy(
    {
        "scorekit/guidance/toy.py": '''
        """Guidance in x0 and eps."""

        from scorekit.guidance.classifier_free import classifier_free
        from scorekit.guidance.rules import guidance_rule
        from scorekit.typing import Denoiser

        __all__ = ["toy"]


        @guidance_rule()
        def toy(cond, uncond, guidance_scale) -> Denoiser:
            """``u + gamma (c - u)``.

            Args:
              cond: the conditional denoiser.
              uncond: the unconditional denoiser.
              guidance_scale: gamma.

            Returns:
              The guided denoiser.

            >>> toy(lambda x, t: x, lambda x, t: x, 1.0) is not None
            True
            """
            return classifier_free(cond, uncond, guidance_scale)
        '''
    },
    [
        *offered("guidance", "toy"),
        Line("scorekit/guidance/__init__.py", "``interval``   ", "``toy``  ``u + gamma (c - u)``\n", before=True),
    ],
    {
        "tests/guidance/test_toy_rule.py": '''
        """The toy is classifier-free guidance."""

        from rule_table import COND, UNCOND, T, X, same

        from scorekit import guidance


        def test_toy_is_classifier_free():
            same(guidance.toy(COND, UNCOND, 3.0)(X, T), guidance.classifier_free(COND, UNCOND, 3.0)(X, T))
        ''',
    },
    [],
)
WEIGHTING = Toy(
    {},
    [
        Line(
            "scorekit/weightings.py",
            "\ndef eps(",
            '''
def toy(log_snr: Array) -> Array:
    """``lambda = 2``: twice the plain eps-MSE.

    >>> float(toy(0.0))
    2.0
    """
    return 2.0 * eps(log_snr)

''',
            before=True,
        ),
        Line("scorekit/weightings.py", ALL, '    "toy",\n'),
        Line("scorekit/weightings.py", "x0                  plain", "toy  twice the plain eps-MSE  2\n", before=True),
    ],
    {},
    [
        Line(
            "tests/test_weightings.py",
            "PUBLISHED = {\n",
            '    "toy": (weightings.toy, cosine, lambda a, s, snr, x_t, d: 2 * mse(EPS, EPS_HAT)),\n',
        )
    ],
)
METRIC = Toy(
    {
        "scorekit/metrics/toy.py": '''
        """The mean square error."""

        import jax.numpy as jnp

        from scorekit.checks import check_finite, check_floating, check_like, nan_unless_finite
        from scorekit.typing import Array, ArrayLike

        __all__ = ["toy"]


        def toy(x: ArrayLike, exact: ArrayLike) -> Array:
            """``mean (x - exact)^2``.

            Args:
              x: estimates of any shape.
              exact: references of the same shape.

            Returns:
              A scalar.

            >>> float(toy(jnp.zeros(2), jnp.ones(2)))
            1.0
            """
            check_floating(x=x, exact=exact)
            check_like("x", x, exact=exact)
            check_finite(x=x, exact=exact)
            return nan_unless_finite(jnp.mean(jnp.square(jnp.asarray(x) - exact)), jnp.asarray(x), jnp.asarray(exact))
        '''
    },
    offered("metrics", "toy"),
    {
        "tests/metrics/test_toy_metric.py": '''
        """The toy is a mean square."""

        import numpy as np

        from scorekit.metrics import toy


        def test_toy_of_ones_and_threes_is_four():
            assert float(toy(np.ones(3, np.float32), np.full(3, 3.0, np.float32))) == 4.0
        '''
    },
    [],
)
NETWORK = Toy(
    {
        "scorekit/networks/toy.py": f'''
        """A perceptron once more."""

        from {MLP.__module__} import MLP

        __all__ = ["Toy"]


        class Toy(MLP):
            """Residual network for vectors.

            Attributes:
              features: width.
              blocks: number of residual blocks.
              num_classes: number of classes, or None.
              vector_size: length of a conditioning vector, or None.
              map_shape: shape of a conditioning map, or None.
              dtype: dtype of the computation.

            >>> Toy(features=8).features
            8
            """
        '''
    },
    [
        *offered("networks", "Toy", "DENOISING = ("),
        Line("scorekit/networks/__init__.py", "DENOISING = (", "Toy, "),
    ],
    {
        ROWS: '''
        """Rows of the toys."""

        import numpy as np

        from scorekit.networks import Toy
        from valid_calls.common import EACH
        from valid_calls.kinds import Data, call
        from valid_calls.networks import VECTORS, of

        _X = np.ones((2, 3), np.float32)
        ROWS = {
            "networks.Toy": of(Toy(features=4, blocks=1), x=Data(VECTORS), noise=Data(EACH, "integer")),
            "metrics.toy": call(x=Data(_X, alias="exact"), exact=Data(2 * _X)),
        }
        ''',
    },
    [],
)
TOYS = {
    "schedule": SCHEDULE,
    "solver": SOLVER,
    "guidance rule": RULE,
    "weighting": WEIGHTING,
    "metric": METRIC,
    "network": NETWORK,
}
