"""Flow maps: models of two times that sample in 1 to 4 evaluations, and distillation.

A denoiser predicts the direction of the probability-flow ODE at ``x_t``; a flow map ``(x_t, t, s)`` predicts the state
at s on the path through ``x_t``.

=============  ===========================================================  =====================================
method         what is learned                                              sampled with
=============  ===========================================================  =====================================
eulerian       the map, from data (MeanFlow, iMF, sCM) or a teacher         ``FlowMapSolver`` on any grid
lagrangian     the map, from itself or a teacher                            ``FlowMapSolver`` on any grid
semigroup      the map, from two jumps of itself (shortcut models)          ``FlowMapSolver`` on any grid
progressive    two steps of the teacher in one, repeatedly                  ``Euler`` on its own grid
consistency    the end point of the teacher's path through ``x_t``          ``MultistepConsistency`` on any grid
matching       to match the teacher's distribution (reverse KL divergence)  ``MultistepConsistency``, its own grid
drifting       one jump, whose samples drift to data and from each other    ``FlowMapSolver``, one step
adversarial    a second term for a generator, from a discriminator of data  as before
=============  ===========================================================  =====================================

Networks and teachers are ordinary ones, of any target and schedule; a teacher may be guided by any rule, which is then
distilled into the student. ``docs/flow_maps.md`` compares the methods.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.flow_maps.adversarial import (
        AdversarialForm,
        Discriminator,
        adversarial_loss,
        balancing_weight,
        discriminator_loss,
        feature_matching_loss,
        gradient_penalty,
    )
    from scorekit.flow_maps.consistency import (
        Distance,
        consistency_distillation_loss,
        consistency_function,
        consistency_training_loss,
        pseudo_huber,
        squared_error,
    )
    from scorekit.flow_maps.curricula import curriculum, earlier_time, step_weight, tuning_time
    from scorekit.flow_maps.densities import flow_map_density, flow_map_log_likelihood, jacobian_log_det
    from scorekit.flow_maps.divergence import divergence_loss, exact_log_det, log_det_from_network
    from scorekit.flow_maps.drifting import DriftKernel, DriftWeights, drift_weights, drifting_loss, kernel_drift
    from scorekit.flow_maps.exact import exact_map
    from scorekit.flow_maps.jumps import Jumps, guided_velocity, middle_time, shortcut_steps, two_times
    from scorekit.flow_maps.maps import clock, condition_on_clocks, flow_map_from_network, semigroup_error, transport
    from scorekit.flow_maps.matching import fake_score_loss, matching_loss
    from scorekit.flow_maps.progressive import Steps, chord, halvings, progressive_loss, student_steps
    from scorekit.flow_maps.residuals import adaptive_weighted, eulerian_loss, lagrangian_loss, semigroup_loss
    from scorekit.flow_maps.sampling import FlowMapSolver

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "AdversarialForm",
    "Discriminator",
    "Distance",
    "DriftKernel",
    "DriftWeights",
    "FlowMapSolver",
    "Jumps",
    "Steps",
    "adaptive_weighted",
    "adversarial_loss",
    "balancing_weight",
    "chord",
    "clock",
    "condition_on_clocks",
    "consistency_distillation_loss",
    "consistency_function",
    "consistency_training_loss",
    "curriculum",
    "discriminator_loss",
    "divergence_loss",
    "drift_weights",
    "drifting_loss",
    "earlier_time",
    "eulerian_loss",
    "exact_log_det",
    "exact_map",
    "fake_score_loss",
    "feature_matching_loss",
    "flow_map_density",
    "flow_map_from_network",
    "flow_map_log_likelihood",
    "gradient_penalty",
    "guided_velocity",
    "halvings",
    "jacobian_log_det",
    "kernel_drift",
    "lagrangian_loss",
    "log_det_from_network",
    "matching_loss",
    "middle_time",
    "progressive_loss",
    "pseudo_huber",
    "semigroup_error",
    "semigroup_loss",
    "shortcut_steps",
    "squared_error",
    "step_weight",
    "student_steps",
    "transport",
    "tuning_time",
    "two_times",
]
