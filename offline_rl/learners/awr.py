"""AWR: cloning with weights by advantage (Peng et al. 2019, arXiv 1910.00177).

With o the observation with the goal behind it, and R the rewards to the end of the trajectory:

    R     = Σ_{i<n} γⁱ r_i                                  n the steps that are left
    L_V   = E[ (R + γⁿ (1-d) V(o_n) - V(o))² ]
    L_π   = -E[ min(exp(β (R + γⁿ (1-d) V(o_n) - V(o))), w_max) log π(a|o) ]

V is what the behaviour of the data is worth, and nothing is learned of ways that were not walked
to their end. `normalize_advantage` divides by the root mean square of the advantages, as MARWIL
(Wang et al. 2018) does. Fewer steps, `--n-step 1` at least, make it one step of policy iteration
with a learned critic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from d3rlpy.base import register_learnable
from d3rlpy.constants import ActionSpace
from d3rlpy.torch_utility import Modules
from torch import Tensor

from offline_rl.learners.learner import Learner, LearnerConfig, step
from offline_rl.learners.values import ValueImpl, value_networks


@dataclass
class AWRConfig(LearnerConfig):
    """Hyper-parameters of AWR for continuous actions."""

    space: ClassVar[ActionSpace] = ActionSpace.CONTINUOUS

    def create(self, device: Any = False, enable_ddp: bool = False) -> AWR:
        """The learner, without networks yet."""
        return AWR(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "awr"


@dataclass
class DiscreteAWRConfig(AWRConfig):
    """Hyper-parameters of AWR for discrete actions."""

    space: ClassVar[ActionSpace] = ActionSpace.DISCRETE

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "discrete_awr"


@dataclass(frozen=True)
class AWRModules(Modules):  # type: ignore[misc]
    """Networks and optimisers."""

    policy: torch.nn.Module
    v_funcs: torch.nn.ModuleList
    actor_optim: Any
    critic_optim: Any


class AWR(Learner):
    """See the module."""

    def inner_create_impl(self, observation_shape: Any, action_size: int) -> None:
        """Makes the networks."""
        config = self._config
        actor = self._create_actor(observation_shape, action_size)
        values = value_networks(1, observation_shape, config.value_encoder_factory, self._device)
        modules = AWRModules(
            policy=actor.network,
            v_funcs=values,
            actor_optim=self._actor_optimizer(actor),
            critic_optim=self._optimizer(
                config.critic_optim_factory, config.critic_learning_rate, values
            ),
        )
        self._impl = AWRImpl(observation_shape, action_size, modules, actor, config, self._device)


class AWRImpl(ValueImpl):
    """How AWR is updated."""

    _modules: AWRModules

    def value_loss(self, batch: Any) -> Tensor:
        """L_V of a batch."""
        with torch.no_grad():
            following = self.values(batch.next_observations)
            target = batch.rewards + self._ahead(batch) * following
        loss: Tensor = ((target - self.values(batch.observations)) ** 2).mean()
        return loss

    def _update_values(self, batch: Any) -> dict[str, float]:
        return {"value_loss": step(self._modules.critic_optim, self.value_loss(batch))}


register_learnable(AWRConfig)
register_learnable(DiscreteAWRConfig)
