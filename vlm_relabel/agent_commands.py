"""`train` and `evaluate`: parse → run. Registered by `vlm_relabel.main`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from vlm_relabel import agent_console
from vlm_relabel.arguments import Json
from vlm_relabel.guard import guarded

_SEEDS: Final = 2**32 - 1  # the highest that NumPy takes


def train(
    store: Annotated[str, typer.Argument(help="Store with a goal-conditioned dataset.")],
    dataset: Annotated[str, typer.Option(help="Name given to build-goals.")],
    algo: Annotated[
        str,
        typer.Option(
            help="Continuous: iql, cql, cal-ql, td3-bc, rebrac, awac, crr, bcq, bear, plas, bc, "
            "decision-transformer. Discrete: discrete-cql, discrete-bcq, discrete-bc, "
            "discrete-decision-transformer."
        ),
    ],
    out: Annotated[str, typer.Option(help="Run folder; an interrupted run in it is resumed.")],
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps in all.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=_SEEDS, help="Of networks and sampling.")] = 0,
    observation: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that the agent sees: observation.state, embedding:NAME; repeat for "
            "several. Default: every observation.* vector of floats that is no text embedding."
        ),
    ] = None,
    goal_encoding: Annotated[
        str | None,
        typer.Option(
            help="Goal behind each observation: text, one-hot or none. Default: text; of a "
            "dataset without a reward set one-hot, or none for its only goal."
        ),
    ] = None,
    learn_from: Annotated[
        str,
        typer.Option(help="vlm; true: the environment's own, for comparison; none: cloning."),
    ] = "vlm",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Hyper-parameter of d3rlpy's configuration: alpha=0.05."),
    ] = None,
    kind_weight: Annotated[
        list[str] | None,
        typer.Option(help="Sampling weight of a kind of trajectory: hindsight=0.5."),
    ] = None,
    positive_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of a batch with a positive reward.")
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            help="Action column, or group of columns (action for action.arm and action.gripper); "
            "several are joined in the order given. Default: action."
        ),
    ] = None,
    discrete: Annotated[
        bool | None,
        typer.Option(
            "--discrete/--no-discrete",
            help="Whether the action is the id of a choice. Default: if it is one integer.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda:N or mps.")] = "cpu",
    cache: Annotated[
        str | None, typer.Option(help="Folder for memory-mapped frames; default: in memory.")
    ] = None,
    log_every: Annotated[int, typer.Option(min=1, help="Steps per line of metrics.")] = 100,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps per checkpoint.")] = 1000,
    keep: Annotated[int, typer.Option(min=1, help="Newest checkpoints that stay.")] = 5,
    logger: Annotated[
        list[str] | None,
        typer.Option(help="Also log with d3rlpy's file, tensorboard or wandb logger."),
    ] = None,
    old_goals: Annotated[str | None, typer.Option("--goals", hidden=True)] = None,
    old_rewards: Annotated[str | None, typer.Option("--rewards", hidden=True)] = None,
    json: Json = False,
) -> None:
    """Train an offline agent on a goal-conditioned dataset. Uses d3rlpy."""
    values = dict(locals())
    _quiet()
    from vlm_relabel import agents

    report = guarded(lambda: agents.train(values), json)
    agent_console.show_training(report, json)


def evaluate(
    run: Annotated[str, typer.Argument(help="Run folder of `train`.")],
    step: Annotated[int | None, typer.Option(help="Checkpoint; default the last.")] = None,
    split: Annotated[str, typer.Option(help="validation, test or train.")] = "validation",
    fqe_steps: Annotated[
        int, typer.Option(min=0, help="Updates of fitted Q evaluation; 0 leaves it out.")
    ] = 2000,
    fqe_fits: Annotated[
        int, typer.Option(min=1, help="Fits, alike but for their seeds, whose spread is shown.")
    ] = 3,
    env: Annotated[
        str | None,
        typer.Option(help="Gymnasium environment to roll out in, as module:factory."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Rollouts per goal.")] = 10,
    goal: Annotated[list[str] | None, typer.Option(help="Goal id; default all.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=_SEEDS, help="Of the first room, and of FQE.")
    ] = 1_000_000,
    encoder: Annotated[
        str | None,
        typer.Option(help="Also give each rollout's return by this encoder's rewards."),
    ] = None,
    camera: Annotated[str, typer.Option(help="Key of the frame in an observation.")] = "image",
    baselines: Annotated[
        bool, typer.Option(help="Roll out a random policy too, and show the data's own success.")
    ] = True,
    gif: Annotated[
        str | None, typer.Option(help="Write the first rollouts as one animated GIF.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda:N or mps.")] = "cpu",
    json: Json = False,
) -> None:
    """Evaluate an agent off-policy and by rollouts. Against held-out episodes and the truth."""
    values = dict(locals())
    _quiet()
    from vlm_relabel import agents

    report = guarded(lambda: agents.evaluate(values), json)
    agent_console.show_evaluation(report, json)


def export_agent(
    run: Annotated[str, typer.Argument(help="Run folder of `train`.")],
    file: Annotated[str, typer.Argument(help="File to write, such as agent.d3.")],
    step: Annotated[int | None, typer.Option(help="Checkpoint; default the last.")] = None,
    json: Json = False,
) -> None:
    """Write an agent as d3rlpy does, for `d3rlpy.load_learnable`. That file is a pickle."""
    _quiet()
    from vlm_relabel import agents

    guarded(lambda: agents.export(run, file, step), json)
    agent_console.show_export(file, json)


def _quiet() -> None:
    from vlm_relabel.quiet import quiet

    quiet()
