"""Metrics of a run, and evaluators that never saw the model.

What measures takes the full ``config``, the ``model`` and ``dataset`` of it, the ``params`` to evaluate, ``generate``
from :func:`~experiments.tasks.diffusion.build.make_sampler`, and ``partial``, which keeps samples until they are
evaluated.
"""

from experiments.cli.config import Config
from experiments.cli.fields import NON_NEGATIVE, POSITIVE, Field, Section, Text
from experiments.tasks.task import AT_END, SAMPLES
from scorekit.arguments import Count, Each, OneOf
from scorekit.metrics import CONVENTIONS

FIELDS = Section(
    at_end=AT_END,
    num_samples=SAMPLES,
    guidance_scales=Field((1.0, 2.0, 4.0), Each(NON_NEGATIVE), "Guidance scales to compare."),
    step_counts=Field((), Each(Count(1, 10**6)), """
        Numbers of steps to compare, at every guidance scale; none is ``sampling.steps`` alone."""),
    bound_times=Field(32, Count(1, 10**6), "Noise levels per test example in the variational bound."),
    exact_examples=Field(256, Count(2, 10**8), """
        Test examples, at most, of the exact likelihood that ``experiments.evaluate --bits_per_dim`` prints."""),
    exact_probes=Field(1, Count(1, 10**6), "Probes per example of its divergence, of data of more than 16 values."),
    exact_tolerance=Field(1e-5, POSITIVE, "Relative and absolute tolerance of its steps."),
    fid=Section(
        weights=Field(None, Text("a .safetensors or .pth file"), """
            File of the Inception weights of pytorch-fid or torch-fidelity; None leaves the FID out."""),
        reference=Field(None, Text("an .npz file"), """
            File of ``experiments.projects.published.reference_statistics``, or in the layout of EDM or ADM; None
            compares with the training images."""),
        num_samples=Field(50_000, Count(10, 10**8), "Samples of the FID."),
        repeats=Field(1, Count(1, 10**6), """
            Sets of samples, each of other noise: their mean has a standard error, and EDM reports the minimum of
            three."""),
        resize=Field("tf1", OneOf(*CONVENTIONS), """
            How images are resized: "tf1", "torch" or "clean", see :func:`scorekit.metrics.resize`."""),
    ),
)  # fmt: skip
"""The section ``evaluation`` of a config."""


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
