"""What the learners share: d3rlpy's extension classes, with values and policy learned apart.

update(batch)                  values and policy from the same transitions and goals
update(batch, policy_batch)    the policy from goals of its own
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from d3rlpy.algos import QLearningAlgoBase
from d3rlpy.algos.qlearning.base import QLearningAlgoImplBase
from d3rlpy.base import LearnableConfig
from d3rlpy.constants import ActionSpace
from d3rlpy.models.encoders import make_encoder_field
from d3rlpy.optimizers.optimizers import make_optimizer_field
from d3rlpy.torch_utility import TorchMiniBatch, train_api
from torch import Tensor

from offline_rl.learners.actors import Actor, create_actor
from offline_rl.learners.weighing import advantage_weights


@dataclass
class LearnerConfig(LearnableConfig):  # type: ignore[misc]
    """Hyper-parameters that every learner with a value network has."""

    space: ClassVar[ActionSpace]

    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    actor_optim_factory: Any = make_optimizer_field()
    critic_optim_factory: Any = make_optimizer_field()
    actor_encoder_factory: Any = make_encoder_field()
    value_encoder_factory: Any = make_encoder_field()
    weight_temp: float = 3.0  # β
    max_weight: float = 100.0  # w_max
    normalize_advantage: bool = True  # by the batch


@dataclass
class ImplicitConfig(LearnerConfig):
    """Those of implicit V- and Q-learning."""

    tau: float = 0.005  # ρ
    n_critics: int = 2
    expectile: float = 0.9  # τ


class Learner(QLearningAlgoBase):  # type: ignore[misc]
    """A learner by its configuration, which names its action space as `space`."""

    def __init__(self, config: Any, device: Any, enable_ddp: bool, impl: Any = None) -> None:
        self._config = config  # d3rlpy asks for the action space before it keeps it
        super().__init__(config, device, enable_ddp, impl)

    def get_action_type(self) -> ActionSpace:
        """Continuous or discrete."""
        space: ActionSpace = self._config.space
        return space

    def update(self, batch: Any, policy_batch: Any = None) -> dict[str, float]:
        """One gradient step of everything; mean losses by name.

        Args:
            batch: transitions that values are learned from.
            policy_batch: that the policy is learned from; None: the same.
        """
        values = self._scaled(batch)
        policy = values if policy_batch is None else self._scaled(policy_batch)
        losses: dict[str, float] = self._impl.update_from(values, policy)
        self._grad_step += 1
        return losses

    def _scaled(self, batch: Any) -> Any:
        return TorchMiniBatch.from_batch(
            batch=batch,
            gamma=self._config.gamma,
            compute_returns_to_go=False,
            device=self._device,
            observation_scaler=self._config.observation_scaler,
            action_scaler=self._config.action_scaler,
            reward_scaler=self._config.reward_scaler,
        )

    def _create_actor(self, shape: Any, action_size: int) -> Actor:
        factory = self._config.actor_encoder_factory
        return create_actor(self._config.space, shape, action_size, factory, self._device)

    def _actor_optimizer(self, actor: Actor) -> Any:
        config = self._config
        return self._optimizer(
            config.actor_optim_factory, config.actor_learning_rate, actor.network
        )

    def _optimizer(self, factory: Any, rate: float, *networks: torch.nn.Module) -> Any:
        named = [module for network in networks for module in network.named_modules()]
        return factory.create(named, lr=rate, compiled=False)


class LearnerImpl(QLearningAlgoImplBase):  # type: ignore[misc]
    """Networks of a learner, and how they are updated."""

    def __init__(
        self, shape: Any, action_size: int, modules: Any, actor: Actor, config: Any, device: str
    ) -> None:
        super().__init__(shape, action_size, modules, device)
        self._actor = actor
        self._config = config

    @train_api  # type: ignore[untyped-decorator]
    def update_from(self, batch: Any, policy_batch: Any) -> dict[str, float]:
        """One gradient step; see `Learner.update`."""
        return {**self._update_values(batch), **self._update_policy(policy_batch)}

    def inner_update(self, batch: Any, grad_step: int) -> dict[str, float]:
        """As d3rlpy asks: from one batch."""
        return {**self._update_values(batch), **self._update_policy(batch)}

    @abstractmethod
    def _update_values(self, batch: Any) -> dict[str, float]:
        """Of everything but the policy."""

    def _update_policy(self, batch: Any) -> dict[str, float]:
        """Of the policy alone."""
        return {"actor_loss": step(self._modules.actor_optim, self.policy_loss(batch))}

    @abstractmethod
    def policy_loss(self, batch: Any) -> Tensor:
        """L_π of a batch."""

    def cloning_loss(self, batch: Any, advantages: Tensor) -> Tensor:
        """-E[ min(exp(β A), w_max) log π(a|o) ], with the advantages A (B, 1) of a batch."""
        config = self._config
        weights = advantage_weights(
            advantages,
            config.weight_temp,
            config.max_weight,
            normalize=config.normalize_advantage,
        )
        return -(weights * self._actor.log_probs(batch.observations, batch.actions)).mean()

    def _ahead(self, batch: Any) -> Tensor:
        """(B, 1) γⁿ (1 - d): what the value n steps ahead counts; 0 behind a terminal."""
        ahead: Tensor = self._config.gamma**batch.intervals * (1 - batch.terminals)
        return ahead

    def inner_predict_best_action(self, x: Tensor) -> Tensor:
        """What the policy does."""
        return self._actor.best(x)

    def inner_sample_action(self, x: Tensor) -> Tensor:
        """The same: there is nothing to explore offline."""
        return self._actor.best(x)

    @property
    def policy(self) -> Any:
        """Network of the policy."""
        return self._actor.network

    @property
    def policy_optim(self) -> Any:
        """Optimiser of the policy."""
        return self._modules.actor_optim.optim


def step(optimizer: Any, loss: Tensor) -> float:
    """One step down a loss; its value before."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())
