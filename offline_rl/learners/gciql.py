"""GCIQL: goal-conditioned implicit Q-learning, as in OGBench (Park et al. 2024, 2410.20092).

It is IQL (Kostrikov et al. 2021, arXiv 2110.06169). With o the observation with the goal behind
it, n the steps ahead, d whether it ends there, Q̄ slow copies of Q:

    L_V   = E[ |τ - 1(u < 0)| u² ]                                 u = min_i Q̄_i(o, a) - V(o)
    L_Q   = Σ_i E[ (r + γⁿ (1-d) V(o') - Q_i(o, a))² ]              i in {1, 2}
    Q̄_i   ← (1-ρ) Q̄_i + ρ Q_i

and one of two policies, `awr` for discrete actions:

    awr       L_π = -E[ min(exp(β (min_i Q_i(o, a) - V(o))), w_max) log π(a|o) ]
    ddpg-bc   L_π = -E[ min_i Q_i(o, π(o)) ] / E[ |min_i Q_i(o, π(o))| ] - α E[ log π(a|o) ]

where neither the divisor nor Q is learned from L_π. V leans towards the better of the actions in
the data, and what follows an action is averaged: luck is no skill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from d3rlpy.base import register_learnable
from d3rlpy.constants import ActionSpace
from d3rlpy.models import MeanQFunctionFactory
from d3rlpy.models.builders import (
    create_continuous_q_function,
    create_discrete_q_function,
    create_value_function,
)
from d3rlpy.models.encoders import make_encoder_field
from d3rlpy.torch_utility import Modules, hard_sync, soft_sync
from torch import Tensor

from offline_rl.learners.actors import log_density
from offline_rl.learners.learner import ImplicitConfig, Learner, LearnerImpl, step
from offline_rl.learners.weighing import expectile_weights

AWR: Final = "awr"
DDPG_BC: Final = "ddpg-bc"


@dataclass
class DiscreteGCIQLConfig(ImplicitConfig):
    """Hyper-parameters of GCIQL for discrete actions."""

    space: ClassVar[ActionSpace] = ActionSpace.DISCRETE
    actor_loss: ClassVar[str] = AWR

    critic_encoder_factory: Any = make_encoder_field()

    def create(self, device: Any = False, enable_ddp: bool = False) -> GCIQL:
        """The learner, without networks yet."""
        return GCIQL(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "discrete_gciql"


@dataclass
class GCIQLConfig(DiscreteGCIQLConfig):
    """Hyper-parameters of GCIQL for continuous actions, which has two policies to choose from."""

    space: ClassVar[ActionSpace] = ActionSpace.CONTINUOUS

    actor_loss: str = DDPG_BC  # type: ignore[misc]
    alpha: float = 0.3  # of cloning, in ddpg-bc

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "gciql"


@dataclass(frozen=True)
class GCIQLModules(Modules):  # type: ignore[misc]
    """Networks and optimisers."""

    policy: torch.nn.Module
    q_funcs: torch.nn.ModuleList
    targ_q_funcs: torch.nn.ModuleList
    value_func: torch.nn.Module
    actor_optim: Any
    critic_optim: Any


class GCIQL(Learner):
    """See the module."""

    def inner_create_impl(self, observation_shape: Any, action_size: int) -> None:
        """Makes the networks."""
        config = self._config
        actor = self._create_actor(observation_shape, action_size)
        critics, forwarder = self._critics(observation_shape, action_size)
        targets, target_forwarder = self._critics(observation_shape, action_size)
        hard_sync(targets, critics)
        value = create_value_function(
            observation_shape, config.value_encoder_factory, self._device, enable_ddp=False
        )
        modules = GCIQLModules(
            policy=actor.network,
            q_funcs=critics,
            targ_q_funcs=targets,
            value_func=value,
            actor_optim=self._actor_optimizer(actor),
            critic_optim=self._optimizer(
                config.critic_optim_factory, config.critic_learning_rate, critics, value
            ),
        )
        self._impl = GCIQLImpl(observation_shape, action_size, modules, actor, config, self._device)
        self._impl.forwarder, self._impl.target_forwarder = forwarder, target_forwarder

    def _critics(self, shape: Any, action_size: int) -> tuple[torch.nn.ModuleList, Any]:
        discrete = self._config.space is ActionSpace.DISCRETE
        create = create_discrete_q_function if discrete else create_continuous_q_function
        made: tuple[torch.nn.ModuleList, Any] = create(
            shape,
            action_size,
            self._config.critic_encoder_factory,
            MeanQFunctionFactory(),
            device=self._device,
            enable_ddp=False,
            n_ensembles=self._config.n_critics,
        )
        return made


class GCIQLImpl(LearnerImpl):
    """How GCIQL is updated."""

    _modules: GCIQLModules
    forwarder: Any  # of the critics
    target_forwarder: Any  # of their slow copies

    def value_loss(self, batch: Any) -> Tensor:
        """L_V of a batch."""
        with torch.no_grad():
            found = self._q(self.target_forwarder, batch.observations, batch.actions)
            found = found.min(dim=0).values
        differences = found - self._modules.value_func(batch.observations)
        weights = expectile_weights(differences.detach(), self._config.expectile)
        loss: Tensor = (weights * differences**2).mean()
        return loss

    def critic_loss(self, batch: Any) -> Tensor:
        """L_Q of a batch."""
        with torch.no_grad():
            following = self._modules.value_func(batch.next_observations)
            target = batch.rewards + self._ahead(batch) * following
        found = self._q(self.forwarder, batch.observations, batch.actions)
        loss: Tensor = ((target - found) ** 2).mean(dim=(1, 2)).sum()
        return loss

    def policy_loss(self, batch: Any) -> Tensor:
        """L_π of a batch."""
        if self._config.actor_loss == DDPG_BC:
            return self._ddpg_loss(batch)
        with torch.no_grad():
            found = self._least_q(batch.observations, batch.actions)
            advantages = found - self._modules.value_func(batch.observations)
        return self.cloning_loss(batch, advantages)

    def _ddpg_loss(self, batch: Any) -> Tensor:
        best = self._actor.best(batch.observations)
        own = self._least_q(batch.observations, best)
        cloning: Tensor = -self._config.alpha * log_density(best, batch.actions).mean()
        return cloning - own.mean() / own.detach().abs().mean()

    def _q(self, forwarder: Any, observations: Tensor, actions: Tensor) -> Tensor:
        """(M, B, 1) values of actions by each of M critics."""
        if self._config.space is ActionSpace.DISCRETE:
            actions = actions.long().reshape(-1)
        found: Tensor = forwarder.compute_target(observations, actions, reduction="none")
        return found

    def _least_q(self, observations: Tensor, actions: Tensor) -> Tensor:
        return self._q(self.forwarder, observations, actions).min(dim=0).values

    def _update_values(self, batch: Any) -> dict[str, float]:
        modules = self._modules
        value_loss, critic_loss = self.value_loss(batch), self.critic_loss(batch)
        step(modules.critic_optim, value_loss + critic_loss)
        soft_sync(modules.targ_q_funcs, modules.q_funcs, self._config.tau)
        losses = {"value_loss": value_loss, "critic_loss": critic_loss}
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def inner_predict_value(self, x: Tensor, action: Tensor) -> Tensor:
        """(B,) Q, the mean of the critics."""
        return self._q(self.forwarder, x, action).mean(dim=0).reshape(-1)


register_learnable(DiscreteGCIQLConfig)
register_learnable(GCIQLConfig)
