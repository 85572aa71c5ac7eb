"""Fine-tuning towards a reward r(x): to its maxima, or to the tilted law ``p(x) exp(r(x) / lambda) / Z``.

============================================  ====================  =========================  ====================
loss                                          needs                 converges to               evaluations, memory
============================================  ====================  =========================  ====================
``nft_loss``                                  samples, rewards      better, in each round      2, of 1
``advantage_weighted_loss``, exp(r / lambda)  samples, rewards      the tilted law             1, of 1
``advantage_weighted_loss``, advantages, kl   samples, rewards      better, near a reference   2, of 1
``policy_gradient_loss``                      paths, rewards        maxima of the reward       n, of 1
``policy_gradient_loss``, kl = lambda         paths, rewards        the tilted law, if it is   2 n, of 1
                                                                    that of paths from noise
``reward_gradient_loss``                      gradient of r         maxima of the reward       n, of ``last``
``reward_gradient_loss``, kl = lambda         gradient of r         as the policy gradient     n + ``last``
``adjoint_matching_loss``                     gradient of r         as the policy gradient     3 n and n vjps, of 1
============================================  ====================  =========================  ====================
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.alignment.matching import advantage_weighted_loss as advantage_weighted_loss
    from scorekit.alignment.matching import nft_loss as nft_loss
    from scorekit.alignment.policy_gradient import path_kl as path_kl
    from scorekit.alignment.policy_gradient import policy_gradient_loss as policy_gradient_loss
    from scorekit.alignment.reward_gradients import adjoint_matching_loss as adjoint_matching_loss
    from scorekit.alignment.reward_gradients import reward_gradient_loss as reward_gradient_loss
    from scorekit.alignment.rewards import advantages as advantages
    from scorekit.alignment.rewards import optimality as optimality

__getattr__, __dir__ = attach(__name__)
