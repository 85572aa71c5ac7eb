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
distilled into the student. ``docs/distillation.md`` compares the methods.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.flow_maps.adversarial import AdversarialForm as AdversarialForm
    from scorekit.flow_maps.adversarial import Discriminator as Discriminator
    from scorekit.flow_maps.adversarial import adversarial_loss as adversarial_loss
    from scorekit.flow_maps.adversarial import discriminator_loss as discriminator_loss
    from scorekit.flow_maps.adversarial import feature_matching_loss as feature_matching_loss
    from scorekit.flow_maps.adversarial import gradient_penalty as gradient_penalty
    from scorekit.flow_maps.consistency import Distance as Distance
    from scorekit.flow_maps.consistency import consistency_distillation_loss as consistency_distillation_loss
    from scorekit.flow_maps.consistency import consistency_function as consistency_function
    from scorekit.flow_maps.consistency import consistency_training_loss as consistency_training_loss
    from scorekit.flow_maps.consistency import pseudo_huber as pseudo_huber
    from scorekit.flow_maps.consistency import squared_error as squared_error
    from scorekit.flow_maps.curricula import curriculum as curriculum
    from scorekit.flow_maps.curricula import earlier_time as earlier_time
    from scorekit.flow_maps.curricula import step_weight as step_weight
    from scorekit.flow_maps.curricula import tuning_time as tuning_time
    from scorekit.flow_maps.densities import flow_map_density as flow_map_density
    from scorekit.flow_maps.densities import flow_map_log_likelihood as flow_map_log_likelihood
    from scorekit.flow_maps.densities import jacobian_log_det as jacobian_log_det
    from scorekit.flow_maps.divergence import divergence_loss as divergence_loss
    from scorekit.flow_maps.divergence import exact_log_det as exact_log_det
    from scorekit.flow_maps.divergence import log_det_from_network as log_det_from_network
    from scorekit.flow_maps.drifting import DriftKernel as DriftKernel
    from scorekit.flow_maps.drifting import DriftWeights as DriftWeights
    from scorekit.flow_maps.drifting import drift_weights as drift_weights
    from scorekit.flow_maps.drifting import drifting_loss as drifting_loss
    from scorekit.flow_maps.drifting import kernel_drift as kernel_drift
    from scorekit.flow_maps.exact import exact_map as exact_map
    from scorekit.flow_maps.jumps import Jumps as Jumps
    from scorekit.flow_maps.jumps import guided_velocity as guided_velocity
    from scorekit.flow_maps.jumps import middle_time as middle_time
    from scorekit.flow_maps.jumps import shortcut_steps as shortcut_steps
    from scorekit.flow_maps.jumps import two_times as two_times
    from scorekit.flow_maps.maps import clock as clock
    from scorekit.flow_maps.maps import condition_on_clocks as condition_on_clocks
    from scorekit.flow_maps.maps import flow_map_from_network as flow_map_from_network
    from scorekit.flow_maps.maps import semigroup_error as semigroup_error
    from scorekit.flow_maps.maps import transport as transport
    from scorekit.flow_maps.matching import fake_score_loss as fake_score_loss
    from scorekit.flow_maps.matching import matching_loss as matching_loss
    from scorekit.flow_maps.progressive import Steps as Steps
    from scorekit.flow_maps.progressive import chord as chord
    from scorekit.flow_maps.progressive import halvings as halvings
    from scorekit.flow_maps.progressive import progressive_loss as progressive_loss
    from scorekit.flow_maps.progressive import student_steps as student_steps
    from scorekit.flow_maps.residuals import adaptive_weighted as adaptive_weighted
    from scorekit.flow_maps.residuals import eulerian_loss as eulerian_loss
    from scorekit.flow_maps.residuals import lagrangian_loss as lagrangian_loss
    from scorekit.flow_maps.residuals import semigroup_loss as semigroup_loss
    from scorekit.flow_maps.sampling import FlowMapSolver as FlowMapSolver

__getattr__, __dir__ = attach(__name__)
