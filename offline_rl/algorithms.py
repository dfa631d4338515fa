"""Offline algorithms by name, d3rlpy's and our own, with the action spaces they fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final

import d3rlpy
from d3rlpy.constants import ActionSpace

from offline_rl import learners
from offline_rl.learners import gciql
from schemas.errors import AlgorithmError
from schemas.pairs import parse_pairs

CONTINUOUS, DISCRETE = ActionSpace.CONTINUOUS, ActionSpace.DISCRETE


@dataclass(frozen=True)
class Algorithm:
    """One entry of the registry."""

    config: str  # name of its configuration class, of d3rlpy or of `learners`
    action_space: ActionSpace
    trajectories: bool = False  # learns from windows, not from transitions
    values: bool = True  # has a Q function
    next_actions: bool = False  # learns from the stored action behind a transition as well
    returns_to_go: bool = False  # learns from the sum of a trajectory's rewards as well
    to_the_end: bool = False  # adds up rewards to the end of a trajectory unless it is said
    progress: bool = False  # clones with weights by the progress of scores
    drawable: bool = True  # its actions can be drawn at a temperature

    @property
    def own(self) -> bool:
        """Whether it is a learner of this package."""
        return self.config in learners.__all__

    @property
    def configuration(self) -> Any:
        """Its configuration class."""
        return getattr(learners if self.own else d3rlpy.algos, self.config)

    @property
    def clones(self) -> bool:
        """Whether it looks at no reward."""
        return not (self.values or self.trajectories or self.progress)


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "iql": Algorithm("IQLConfig", CONTINUOUS),
    "cql": Algorithm("CQLConfig", CONTINUOUS),
    "cal-ql": Algorithm("CalQLConfig", CONTINUOUS, returns_to_go=True),
    "td3-bc": Algorithm("TD3PlusBCConfig", CONTINUOUS),
    "rebrac": Algorithm("ReBRACConfig", CONTINUOUS, next_actions=True),
    "awac": Algorithm("AWACConfig", CONTINUOUS),
    "crr": Algorithm("CRRConfig", CONTINUOUS),
    "bcq": Algorithm("BCQConfig", CONTINUOUS),
    "bear": Algorithm("BEARConfig", CONTINUOUS),
    "plas": Algorithm("PLASConfig", CONTINUOUS),
    "bc": Algorithm("BCConfig", CONTINUOUS, values=False),
    "decision-transformer": Algorithm(
        "DecisionTransformerConfig", CONTINUOUS, trajectories=True, values=False, drawable=False
    ),
    "gcivl": Algorithm("GCIVLConfig", CONTINUOUS),
    "gciql": Algorithm("GCIQLConfig", CONTINUOUS),
    "awr": Algorithm("AWRConfig", CONTINUOUS, to_the_end=True),
    "ra-bc": Algorithm("RABCConfig", CONTINUOUS, values=False, progress=True),
    "discrete-cql": Algorithm("DiscreteCQLConfig", DISCRETE),
    "discrete-bcq": Algorithm("DiscreteBCQConfig", DISCRETE, drawable=False),
    "discrete-bc": Algorithm("DiscreteBCConfig", DISCRETE, values=False),
    "discrete-decision-transformer": Algorithm(
        "DiscreteDecisionTransformerConfig",
        DISCRETE,
        trajectories=True,
        values=False,
        drawable=False,
    ),
    "discrete-gcivl": Algorithm("DiscreteGCIVLConfig", DISCRETE),
    "discrete-gciql": Algorithm("DiscreteGCIQLConfig", DISCRETE),
    "discrete-awr": Algorithm("DiscreteAWRConfig", DISCRETE, to_the_end=True),
    "discrete-ra-bc": Algorithm("DiscreteRABCConfig", DISCRETE, values=False, progress=True),
}


def find(name: str, action_space: ActionSpace) -> Algorithm:
    """The algorithm of this name.

    Raises:
        AlgorithmError: unknown, or for the other action space; lists those that fit.
    """
    fitting = [n for n, a in ALGORITHMS.items() if a.action_space is action_space]
    if name not in ALGORITHMS:
        raise AlgorithmError(f"--algo {name}: unknown; for this dataset: {', '.join(fitting)}")
    algorithm = ALGORITHMS[name]
    if algorithm.action_space is not action_space:
        kind = "discrete" if action_space is DISCRETE else "continuous"
        raise AlgorithmError(
            f"--algo {name}: does not fit the {kind} actions of this dataset; "
            f"the fitting ones are {', '.join(fitting)}"
        )
    return algorithm


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`key=value` pairs, values as in YAML, and numbers such as 1e-4.

    Raises:
        AlgorithmError: no `=`, or a value that YAML cannot read.
    """
    return parse_pairs("--set", settings, AlgorithmError)


def configure(algorithm: Algorithm, settings: Mapping[str, Any], scalers: Mapping[str, Any]) -> Any:
    """The configuration object.

    Args:
        algorithm: of the registry.
        settings: hyper-parameters by name; lists of numbers for `hidden_units`.
        scalers: observation and action scalers, already fitted.

    Raises:
        AlgorithmError: an unknown hyper-parameter, or a value of the wrong kind.
    """
    config = algorithm.configuration
    known = {f.name: f for f in fields(config)}
    unusual = ("compile_graph",) if algorithm.own else ()  # d3rlpy's alone are compiled
    simple = sorted(n for n in known if not n.endswith(("_factory", "_scaler", *unusual)))
    settings = dict(settings)
    hidden = settings.pop("hidden_units", None)
    unknown = sorted(set(settings) - set(simple))
    if unknown:
        raise AlgorithmError(
            f"--set: unknown hyper-parameter {', '.join(unknown)} of {config.__name__}; "
            f"the known ones are hidden_units, {', '.join(simple)}"
        )
    settings = _fitting_kinds(config, settings)
    factories = {} if hidden is None else _encoders(known, hidden)
    usable = {name: scaler for name, scaler in scalers.items() if name in known}
    made = config(**settings, **factories, **usable)
    _check_heads(made, _DEFAULT_WIDTH if hidden is None else hidden[-1])
    return made


_DEFAULT_WIDTH: Final = 256  # of the last hidden layer of d3rlpy's networks


def _check_heads(config: Any, width: int) -> None:
    """A transformer's heads share the values of its last hidden layer."""
    heads = getattr(config, "num_heads", 1)
    if width % heads:
        raise AlgorithmError(
            f"--set num_heads={heads}: expected a divisor of {width}, the width of the last hidden "
            "layer (--set hidden_units=[…])"
        )


def _fitting_kinds(config: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, each of the kind of its default and within its range."""
    defaults = config()
    fitting = {n: _of_kind(n, getattr(defaults, n), value) for n, value in settings.items()}
    for name, value in fitting.items():
        _check_range(config.__name__, name, value)
    return fitting


def _of_kind(name: str, default: Any, value: Any) -> Any:
    if isinstance(default, Enum):
        return _choice(name, type(default), value)
    expected = type(default)
    fits = isinstance(value, (int, float)) if expected is float else isinstance(value, expected)
    if not fits or isinstance(value, bool) != (expected is bool):
        kind = expected.__name__
        article = "an" if kind[0] in "aeiou" else "a"
        raise AlgorithmError(f"--set {name}={value!r}: expected {article} {kind} like {default!r}")
    return value


@dataclass(frozen=True)
class _Range:
    """Numbers from `low` to `high`; an open end does not belong to it."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"more than {self.low:g}" if self.open_low else f"at least {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"a number in {left}{self.low:g}, {self.high:g}{right}"


_POSITIVE, _COUNT, _WEIGHT = _Range(0, open_low=True), _Range(1), _Range(0)
_SHARE, _LESS_THAN_ALL = _Range(0, 1), _Range(0, 1, open_high=True)

# By name of the hyper-parameter, or of configuration and hyper-parameter where they differ.
_RANGES: Final[Mapping[str, _Range]] = {
    "gamma": _SHARE,
    "tau": _Range(0, 1, open_low=True),
    "expectile": _Range(0, 1, open_low=True, open_high=True),
    "lam": _SHARE,
    "AWACConfig.lam": _POSITIVE,  # a temperature
    "beta": _WEIGHT,
    "CRRConfig.beta": _POSITIVE,  # a temperature
    "action_flexibility": _SHARE,
    **dict.fromkeys(("attn_dropout", "embed_dropout", "resid_dropout"), _LESS_THAN_ALL),
    **dict.fromkeys(
        (
            *("alpha", "actor_beta", "critic_beta", "conservative_weight", "vae_kl_weight"),
            *("kappa", "weight_temp", "target_smoothing_clip", "target_smoothing_sigma"),
            *("rl_start_step", "warmup_steps"),
        ),
        _WEIGHT,
    ),
    **dict.fromkeys(("initial_alpha", "initial_temperature", "max_weight", "mmd_sigma"), _POSITIVE),
    **dict.fromkeys(
        (
            *("batch_size", "n_critics", "n_action_samples", "n_target_samples"),
            *("n_mmd_action_samples", "target_update_interval", "update_actor_interval"),
            *("context_size", "num_heads", "num_layers", "max_timestep", "warmup_tokens"),
            *("final_tokens", "horizon"),
        ),
        _COUNT,
    ),
}
_RATE_SUFFIX: Final = "learning_rate"
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "advantage_type": ("mean", "max"),
    "actor_loss": (gciql.AWR, gciql.DDPG_BC),
    "weight_type": ("exp", "binary"),
    "target_update_type": ("hard", "soft"),
    "policy_type": ("deterministic", "stochastic"),
    "mmd_kernel": ("gaussian", "laplacian"),
    "activation_type": ("relu", "gelu", "tanh", "swish", "none"),
    "embed_activation_type": ("relu", "gelu", "tanh", "swish", "none"),
}


def _check_range(config: str, name: str, value: Any) -> None:
    if isinstance(value, str) and value not in _WORDS.get(name, (value,)):
        known = ", ".join(_WORDS[name])
        raise AlgorithmError(f"--set {name}={value}: expected one of {known}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if not math.isfinite(value):
        raise AlgorithmError(f"--set {name}={value}: expected a finite number")
    known_range = _POSITIVE if name.endswith(_RATE_SUFFIX) else _RANGES.get(name)
    known_range = _RANGES.get(f"{config}.{name}", known_range)
    if known_range is not None and value not in known_range:
        raise AlgorithmError(f"--set {name}={value:g}: expected {known_range}")


def _choice(name: str, kind: type[Enum], value: Any) -> Enum:
    found = [member for member in kind if value in (member.value, member.name)]
    if not found:
        known = ", ".join(str(member.value) for member in kind)
        raise AlgorithmError(f"--set {name}={value!r}: expected one of {known}")
    return found[0]


def _encoders(known: Mapping[str, Any], hidden: Any) -> dict[str, Any]:
    sizes = hidden if isinstance(hidden, list) else []
    if not sizes or not all(type(n) is int and n > 0 for n in sizes):
        raise AlgorithmError(f"--set hidden_units={hidden!r}: expected a list such as [256,256]")
    factory = d3rlpy.models.VectorEncoderFactory(hidden_units=hidden)
    return {name: factory for name in known if name.endswith("encoder_factory")}
