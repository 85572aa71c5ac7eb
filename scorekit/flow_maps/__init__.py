"""Distillation: losses for students that sample in 1 to 4 evaluations where their teacher needs many.

=============  ===========================================================  =====================================
method         the student learns                                           sampled with
=============  ===========================================================  =====================================
progressive    two steps of the teacher in one, repeatedly                  ``Euler`` on its own grid
consistency    the end point of the teacher's path through ``x_t``          ``MultistepConsistency`` on any grid
matching       to match the teacher's distribution (reverse KL divergence)  ``MultistepConsistency``, its own grid
=============  ===========================================================  =====================================

Students and teachers are ordinary networks and denoisers, of any target and schedule; the teacher may be guided by any
rule, which is then distilled into the student. ``docs/flow_maps.md`` compares the methods.
"""

from scorekit.flow_maps.consistency import (
    boundary_coefficients,
    consistency_distillation_loss,
    consistency_function,
    consistency_training_loss,
    curriculum,
    earlier_time,
    pseudo_huber,
    squared_error,
    step_weight,
)
from scorekit.flow_maps.matching import fake_score_loss, matching_loss, reverse_kl_gradient
from scorekit.flow_maps.progressive import chord, halvings, progressive_loss, student_steps, two_step_prediction

__all__ = [
    "boundary_coefficients",
    "chord",
    "consistency_distillation_loss",
    "consistency_function",
    "consistency_training_loss",
    "curriculum",
    "earlier_time",
    "fake_score_loss",
    "halvings",
    "matching_loss",
    "progressive_loss",
    "pseudo_huber",
    "reverse_kl_gradient",
    "squared_error",
    "step_weight",
    "student_steps",
    "two_step_prediction",
]
