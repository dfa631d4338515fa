"""GCIVL: goal-conditioned implicit V-learning, as in OGBench (Park et al. 2024, 2410.20092).

It is IQL (Kostrikov et al. 2021, arXiv 2110.06169) with values alone. With o the observation with
the goal behind it, n the steps ahead, d whether the goal is reached there, V̄ slow copies of V:

    A     = r + γⁿ (1-d) min_i V̄_i(o') - mean_i V̄_i(o)
    L_V   = Σ_i E[ |τ - 1(A < 0)| (r + γⁿ (1-d) V̄_i(o') - V_i(o))² ]         i in {1, 2}
    V̄_i   ← (1-ρ) V̄_i + ρ V_i
    L_π   = -E[ min(exp(β (r + γⁿ (1-d) V(o') - V(o))), w_max) log π(a|o) ]    V the mean of both

V leans towards the better of what follows an observation in the data. Where the same action leads
to better and worse, it takes luck for skill; GCIQL does not.

OGBench leaves r out of the policy's advantage, since its r is -1 wherever it counts. Ours may be
any. It takes β = 10 with such rewards. Those of 0 and 1 make A about 1-γ times as large, so that
`normalize_advantage` is the default here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from d3rlpy.base import register_learnable
from d3rlpy.constants import ActionSpace
from d3rlpy.models.builders import create_value_function
from d3rlpy.torch_utility import Modules, hard_sync, soft_sync
from torch import Tensor

from offline_rl.learners.learner import ImplicitConfig, Learner, LearnerImpl, step
from offline_rl.learners.weighing import advantage_weights, expectile_weights


@dataclass
class GCIVLConfig(ImplicitConfig):
    """Hyper-parameters of GCIVL for continuous actions."""

    space: ClassVar[ActionSpace] = ActionSpace.CONTINUOUS

    def create(self, device: Any = False, enable_ddp: bool = False) -> GCIVL:
        """The learner, without networks yet."""
        return GCIVL(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "gcivl"


@dataclass
class DiscreteGCIVLConfig(GCIVLConfig):
    """Hyper-parameters of GCIVL for discrete actions."""

    space: ClassVar[ActionSpace] = ActionSpace.DISCRETE

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "discrete_gcivl"


@dataclass(frozen=True)
class GCIVLModules(Modules):  # type: ignore[misc]
    """Networks and optimisers."""

    policy: torch.nn.Module
    v_funcs: torch.nn.ModuleList
    targ_v_funcs: torch.nn.ModuleList
    actor_optim: Any
    critic_optim: Any


class GCIVL(Learner):
    """See the module."""

    def inner_create_impl(self, observation_shape: Any, action_size: int) -> None:
        """Makes the networks."""
        config = self._config
        actor = self._create_actor(observation_shape, action_size)
        values, targets = (self._values(observation_shape) for _ in range(2))
        hard_sync(targets, values)
        modules = GCIVLModules(
            policy=actor.network,
            v_funcs=values,
            targ_v_funcs=targets,
            actor_optim=self._optimizer(
                config.actor_optim_factory, config.actor_learning_rate, actor.network
            ),
            critic_optim=self._optimizer(
                config.critic_optim_factory, config.critic_learning_rate, values
            ),
        )
        self._impl = GCIVLImpl(observation_shape, action_size, modules, actor, config, self._device)

    def _values(self, shape: Any) -> torch.nn.ModuleList:
        factory = self._config.value_encoder_factory
        return torch.nn.ModuleList(
            create_value_function(shape, factory, self._device, enable_ddp=False)
            for _ in range(self._config.n_critics)
        )


class GCIVLImpl(LearnerImpl):
    """How GCIVL is updated."""

    _modules: GCIVLModules

    def value_loss(self, batch: Any) -> Tensor:
        """L_V of a batch."""
        ahead = self._ahead(batch)
        with torch.no_grad():
            targets = self._modules.targ_v_funcs
            following = batch.rewards + ahead * _each(targets, batch.next_observations)
            now = _each(targets, batch.observations).mean(dim=0)
            advantages = following.min(dim=0).values - now
            weights = expectile_weights(advantages, self._config.expectile)
        values = _each(self._modules.v_funcs, batch.observations)
        loss: Tensor = (weights * (following - values) ** 2).mean(dim=(1, 2)).sum()
        return loss

    def policy_loss(self, batch: Any) -> Tensor:
        """L_π of a batch."""
        config = self._config
        with torch.no_grad():
            following = self.values(batch.next_observations)
            found = batch.rewards + self._ahead(batch) * following
            weights = advantage_weights(
                found - self.values(batch.observations),
                config.weight_temp,
                config.max_weight,
                normalize=config.normalize_advantage,
            )
        return -(weights * self._actor.log_probs(batch.observations, batch.actions)).mean()

    def values(self, observations: Tensor) -> Tensor:
        """(B, 1) V, the mean of the networks."""
        return _each(self._modules.v_funcs, observations).mean(dim=0)

    def _update_values(self, batch: Any) -> dict[str, float]:
        modules = self._modules
        loss = step(modules.critic_optim, self.value_loss(batch))
        soft_sync(modules.targ_v_funcs, modules.v_funcs, self._config.tau)
        return {"value_loss": loss}

    def _update_policy(self, batch: Any) -> dict[str, float]:
        return {"actor_loss": step(self._modules.actor_optim, self.policy_loss(batch))}

    def inner_predict_value(self, x: Tensor, action: Tensor) -> Tensor:
        """(B,) V of the observations, whatever the action."""
        return self.values(x).reshape(-1)


def _each(networks: torch.nn.ModuleList, observations: Tensor) -> Tensor:
    """(M, B, 1) values by each of M networks."""
    return torch.stack([network(observations) for network in networks])


register_learnable(GCIVLConfig)
register_learnable(DiscreteGCIVLConfig)
