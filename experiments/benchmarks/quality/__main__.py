"""Quality per network evaluation: solvers on grids, the tabulated sampler, and tuned samplers.

    python -m experiments.benchmarks.quality --workdir=runs/quality
    python -m experiments.benchmarks.quality --grids=all                           # 15 minutes on 2 cores
    python -m experiments.benchmarks.quality --problems= --digits=runs/digits      # a trained network
    python -m experiments.benchmarks.quality --table=few_steps                     # 10 minutes of one core
    python -m experiments.benchmarks.quality --table=tuning --samples=4096 --out=/tmp/tuning.png
    python -m experiments.benchmarks.quality --table=tuning --nfe=6,8 --problems= --digits=runs/digits --solvers=AB3

``solvers``: every solver on every grid (:mod:`.solvers`). ``few_steps``:
:func:`scorekit.samplers.recommended` with ``sigma_data`` against the usual pairs (:mod:`.tabulated`). ``tuning``:
untuned grids, a tuned grid, and a tuned grid with tuned coefficients (:mod:`.tuned`). Denoisers are exact, or with
``--digits`` the network of a run.
"""

from pathlib import Path

from absl import flags

from experiments.benchmarks.named_solvers import DETERMINISTIC, STOCHASTIC
from experiments.benchmarks.quality import problems, solvers, tabulated, tuned
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.cli.flags import chosen

_TABLE = flags.DEFINE_enum("table", "solvers", ["solvers", "few_steps", "tuning"], "Table to print.")
_WORKDIR = shared.out("solvers: folder for the plot.", "runs/quality", "workdir")
_OUT = shared.out("tuning: file for the plot of error against evaluations.", "tuning.png")
flags.DEFINE_list(
    "problems", ["all"], f"Exact denoisers, which of {', '.join(problems.DATA)}; tuning: ring, low_rank; or all."
)
flags.DEFINE_string("digits", None, "Folder of a trained run, to measure its network too.")
flags.DEFINE_list("nfe", ["5", "8", "10", "20"], "Network evaluations.")
flags.DEFINE_list(
    "solvers",
    ["all"],
    f"solvers: which of {'; '.join([*DETERMINISTIC, *STOCHASTIC])}. few_steps: pairs, in quotes. "
    f"tuning: which of {', '.join(tuned.SOLVERS)}; or all.",
)
flags.DEFINE_integer(
    "samples",
    256,
    "Samples; of solvers 16 times as many for distances in two dimensions; of tuning as many to test, a quarter for "
    "selection.",
    lower_bound=16,
)
flags.DEFINE_list(
    "grids",
    ["karras7 .002", "logsnr .03", "VP t^2", "VP t^3", "flow t"],
    f"solvers: which of {', '.join(problems.GRIDS)}; or all.",
)
flags.DEFINE_enum(
    "schedule", "edm", list(problems.SCHEDULES), "solvers: schedule of exact denoisers; noise levels are the same."
)
flags.DEFINE_float("guidance_scale", 1.0, "few_steps: guidance scale; of exact denoisers to a third of the modes.")
flags.DEFINE_float("sigma_data", 1.0, "few_steps: sigma_data of the tabulated sampler on it.", lower_bound=0.01)
flags.DEFINE_integer("steps", 250, "tuning: updates per initial grid.", lower_bound=1)
flags.DEFINE_integer("starts", 2, "tuning: initial grids.", lower_bound=1)
flags.DEFINE_float("power", 1.0, "tuning: power of the minimised mean: 2 RMSE, 1 mean, 0 geometric mean.", 0)


def main(_) -> Path | None:
    table, options = _TABLE.value, flags.FLAGS
    options.problems = chosen("problems", options.problems, tuned.EXACT if table == "tuning" else problems.DATA)
    if not options.problems and not options.digits:
        raise ConfigError("--problems or --digits must name a denoiser to measure")
    match table:
        case "solvers":
            solvers.run(options, shared.results_folder(_WORKDIR, names=("quality.png",)) / "quality.png")
        case "few_steps":
            tabulated.run(options)
        case "tuning":
            return tuned.run(options, shared.results(_OUT, None, ""))


if __name__ == "__main__":
    command_line.run(main)
