"""Distillation: the losses that make a student draw in 1 to 4 evaluations what its teacher draws in many.

=============  ==================================================================  ===================================
method         the student learns                                                  sampled with
=============  ==================================================================  ===================================
progressive    where two steps of the teacher end, then two of its own, and so on  ``Euler`` on its own grid
consistency    where the teacher's path through ``x_t`` ends                       ``Renoise``, any grid
matching       samples that the teacher cannot tell from its own (reverse KL)      ``Renoise`` on its own grid
=============  ==================================================================  ===================================

Students and teachers are networks and denoisers as everywhere, of any target and schedule; a teacher may stand behind
any guidance, which the student then has built in. ``docs/distillation.md``: which, and when.
"""

from scorekit.distillation.consistency import (
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
from scorekit.distillation.matching import fake_score_loss, matching_loss, reverse_kl_gradient
from scorekit.distillation.progressive import chord, halvings, progressive_loss, student_steps, two_step_prediction

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
