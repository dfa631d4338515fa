"""RA-BC: reward-aligned behaviour cloning, of SARM (Chen et al. 2025, arXiv 2509.25358, eq. 8-9).

With φ the score of the trajectory's goal, and w its weight:

    p_t = φ(o_{t+Δ}) - φ(o_t)                                        progress over `horizon` steps
    w̃_t = clip((p_t - (μ - 2σ)) / (4σ + ε), 0, 1)                    μ, σ of p over the data
    w_t = 1[p_t > κ] + 1[0 ≤ p_t ≤ κ] w̃_t                            0 where progress is lost
    L_π = Σ_t w_t (-log π(a_t|o_t)) / (Σ_t w_t + ε)

The paper keeps μ and σ as running figures; here they are those of all transitions that can be
drawn, so that a weight is the same from the first batch on. The replay gives w in the place of
rewards: see `offline_rl.progress`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from d3rlpy.base import LearnableConfig, register_learnable
from d3rlpy.constants import ActionSpace
from d3rlpy.models.encoders import make_encoder_field
from d3rlpy.optimizers.optimizers import make_optimizer_field
from d3rlpy.torch_utility import Modules
from torch import Tensor

from offline_rl.learners.learner import Learner, LearnerImpl, step

_EPSILON: Final = 1e-8


@dataclass
class RABCConfig(LearnableConfig):  # type: ignore[misc]
    """Hyper-parameters of RA-BC for continuous actions."""

    space: ClassVar[ActionSpace] = ActionSpace.CONTINUOUS

    actor_learning_rate: float = 3e-4
    actor_optim_factory: Any = make_optimizer_field()
    actor_encoder_factory: Any = make_encoder_field()
    horizon: int = 5  # Δ, steps
    kappa: float = 0.01  # κ, progress from which a weight is 1

    def create(self, device: Any = False, enable_ddp: bool = False) -> RABC:
        """The learner, without networks yet."""
        return RABC(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "ra_bc"


@dataclass
class DiscreteRABCConfig(RABCConfig):
    """Hyper-parameters of RA-BC for discrete actions."""

    space: ClassVar[ActionSpace] = ActionSpace.DISCRETE

    @staticmethod
    def get_type() -> str:
        """Its name in d3rlpy's files."""
        return "discrete_ra_bc"


@dataclass(frozen=True)
class RABCModules(Modules):  # type: ignore[misc]
    """Network and optimiser."""

    policy: torch.nn.Module
    actor_optim: Any


class RABC(Learner):
    """See the module."""

    def inner_create_impl(self, observation_shape: Any, action_size: int) -> None:
        """Makes the network."""
        actor = self._create_actor(observation_shape, action_size)
        modules = RABCModules(policy=actor.network, actor_optim=self._actor_optimizer(actor))
        self._impl = RABCImpl(
            observation_shape, action_size, modules, actor, self._config, self._device
        )


class RABCImpl(LearnerImpl):
    """How RA-BC is updated."""

    _modules: RABCModules

    def policy_loss(self, batch: Any) -> Tensor:
        """L_π of a batch, whose rewards are weights."""
        weights = batch.rewards
        log_probs = self._actor.log_probs(batch.observations, batch.actions)
        loss: Tensor = -(weights * log_probs).sum() / (weights.sum() + _EPSILON)
        return loss

    def _update_values(self, batch: Any) -> dict[str, float]:
        return {"weight": float(batch.rewards.mean())}  # near 1 it is plain cloning

    def _update_policy(self, batch: Any) -> dict[str, float]:
        return {"loss": step(self._modules.actor_optim, self.policy_loss(batch))}

    def inner_predict_value(self, x: Tensor, action: Tensor) -> Tensor:
        """There is none."""
        raise NotImplementedError("RA-BC learns no values")


register_learnable(RABCConfig)
register_learnable(DiscreteRABCConfig)
