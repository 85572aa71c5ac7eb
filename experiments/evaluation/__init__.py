"""Metrics of a run, and evaluators that never saw the model."""

from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, require
from experiments.cli.ranges import above, at_least, check_ranges, count, free, items, one_of, or_none, within
from experiments.data import kind_of
from experiments.data.images import Images
from experiments.evaluation.feature_networks import NETWORKS
from experiments.models.choices import build_schedule
from experiments.models.sampling import at_steps, build_sampler, has_listed_times
from scorekit.io import as_path
from scorekit.metrics.resize import CONVENTIONS


def fields() -> ConfigDict:
    """The section ``evaluation`` of a config, with defaults."""
    evaluation = ConfigDict()
    evaluation.num_samples = 1500
    """Samples that metrics are computed on."""
    evaluation.guidance_scales = (1.0, 2.0, 4.0)
    """Guidance scales to compare."""
    evaluation.step_counts = ()
    """Numbers of steps to compare, at every guidance scale; none is ``sampling.steps`` alone."""
    evaluation.bound_times = 32
    """Noise levels per test example in the variational bound."""
    evaluation.exact_examples = 256
    """Test examples, at most, of the exact likelihood that ``experiments.evaluate --bits_per_dim`` prints."""
    evaluation.exact_probes = 1
    """Probes per example of its divergence, of data of more than 16 values."""
    evaluation.exact_tolerance = 1e-5
    """Relative and absolute tolerance of its steps."""
    evaluation.fid = ConfigDict()
    evaluation.fid.network = "inception"
    """Whose features are compared: "inception", or "vgg", whose Fréchet distance is not called FID."""
    evaluation.fid.weights = config_dict.placeholder(str)
    """File of the Inception weights of pytorch-fid or torch-fidelity, or of the VGG-16 of torchvision; None leaves the
    FID out."""
    evaluation.fid.reference = config_dict.placeholder(str)
    """File of ``experiments.analysis.reference_statistics``, or in the layout of EDM or ADM; None compares with the
    training images."""
    evaluation.fid.num_samples = 50_000
    """Samples of the FID."""
    evaluation.fid.repeats = 1
    """Sets of samples, each of other noise: their mean has a standard error, and EDM reports the minimum of three."""
    evaluation.fid.resize = "tf1"
    """How images are resized: "tf1", "torch" or "clean", see :mod:`scorekit.metrics.resize`."""
    return evaluation


RANGES = {
    "num_samples": count(1, 10**8),
    "guidance_scales": items(at_least(0)),
    "step_counts": items(count(1, 10**6)),
    "bound_times": count(1, 10**6),
    "exact_examples": count(2, 10**8),
    "exact_probes": count(1, 10**6),
    "exact_tolerance": above(0),
    **within("fid", {"num_samples": count(10, 10**8), "repeats": count(1, 10**6), "resize": one_of(*CONVENTIONS)}),
    "fid.network": one_of(*NETWORKS),
    **within("fid", or_none(weights=free("a .safetensors or .pth file"), reference=free("an .npz file"))),
}
"""The values of the fields."""


def compared(config: Config) -> dict[str, tuple[float, int]]:
    """The guidance scale and the number of steps of each row of a table of samples."""
    given = config.evaluation
    if not given.step_counts:
        return {f"γ = {scale:g}": (scale, config.sampling.steps) for scale in given.guidance_scales}
    return {
        f"γ = {scale:g}, {steps} step{'s' * (steps > 1)}": (scale, steps)
        for scale in given.guidance_scales
        for steps in given.step_counts
    }


def check(config: Config) -> None:
    """Validates the section ``evaluation`` before anything is loaded."""
    check_ranges(config, within("evaluation", RANGES))
    kind_of(config).check_samples(config)
    given = has_listed_times(config)
    schedule = build_schedule(config)
    for steps in config.evaluation.step_counts:
        allowed = f"{config.sampling.steps} for sampling.grid.name={config.sampling.grid.name}, which has its times"
        require(not given or steps == config.sampling.steps, "evaluation.step_counts", steps, allowed)
        build_sampler(at_steps(config, steps), schedule)
    options = config.evaluation.fid
    if options.weights is None:
        allowed = "left out: without evaluation.fid.weights there is no FID"
        require(options.reference is None, "evaluation.fid.reference", options.reference, allowed)
        return
    allowed = f"left out: the FID is of images, config.data.name={config.data.name} has none"
    require(issubclass(kind_of(config), Images), "evaluation.fid.weights", options.weights, allowed)
    for field, kind in (("weights", "a .safetensors or .pth file"), ("reference", "an .npz file")):
        path = options[field]
        exists = path is None or ("\0" not in path and as_path(path).is_file())
        require(exists, f"evaluation.fid.{field}", path, f"{kind}, there is none of this name")
