"""`train` and `evaluate`: parse → run. Registered by `vlm_relabel.cli.main`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import typer

from schemas.errors import RunError
from vlm_relabel.cli import agent_console, console
from vlm_relabel.cli.arguments import Json, Trust
from vlm_relabel.cli.guard import guarded

if TYPE_CHECKING:
    from offline_rl.evaluation import EvaluationReport
    from vlm_relabel.agents import TrainReport

T = TypeVar("T")
Show = Callable[[int, int, dict[str, float]], None]
_SEEDS: Final = 2**32 - 1  # the highest that NumPy takes


def train(
    store: Annotated[str, typer.Argument(help="Store with a goal-conditioned dataset.")],
    dataset: Annotated[str, typer.Option(help="Name given to build-goals.")],
    algo: Annotated[
        str,
        typer.Option(
            help="Algorithm. Of continuous actions: iql, cql, cal-ql, td3-bc, rebrac, awac, crr, "
            "bcq, bear, plas, bc, "
            "decision-transformer. Of discrete ones: discrete-cql, discrete-bcq, discrete-bc, "
            "discrete-decision-transformer."
        ),
    ],
    out: Annotated[str, typer.Option(help="Run folder. An interrupted run in it is resumed.")],
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps in all.")] = 10_000,
    seed: Annotated[
        int, typer.Option(min=0, max=_SEEDS, help="Seed of networks and sampling.")
    ] = 0,
    observation: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that the agent sees: observation.state, embedding:NAME. Repeat the option "
            "for several. The default is every observation.* vector of floats that is no text "
            "embedding."
        ),
    ] = None,
    goal_encoding: Annotated[
        Literal["text", "one-hot", "none"] | None,
        typer.Option(
            parser=str,
            metavar="HOW",
            help="How the goal stands behind each observation: text, one-hot or none. The default "
            "is text; of a dataset without a reward set, one-hot, or none for its only goal.",
        ),
    ] = None,
    learn_from: Annotated[
        Literal["vlm", "true", "none"],
        typer.Option(
            parser=str,
            metavar="REWARDS",
            help="Rewards to learn from: vlm, true (the environment's own, for comparison) or none "
            "(cloning).",
        ),
    ] = "vlm",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Hyper-parameter of d3rlpy's configuration, such as alpha=0.05."
        ),
    ] = None,
    kind_weight: Annotated[
        list[str] | None,
        typer.Option(help="Sampling weight of a kind of trajectory, such as hindsight=0.5."),
    ] = None,
    positive_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of each batch that has a positive reward."),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            help="Action column, or group of columns (action for action.arm and action.gripper). "
            "Several are joined in the order given. The default is action."
        ),
    ] = None,
    discrete: Annotated[
        bool | None,
        typer.Option(
            "--discrete/--no-discrete",
            help="Whether the action is the id of a choice. The default is yes for one integer.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda:N or mps.")] = "cpu",
    cache: Annotated[
        str | None, typer.Option(help="Folder for memory-mapped frames. The default is memory.")
    ] = None,
    log_every: Annotated[
        int, typer.Option(min=1, help="Gradient steps between two lines of metrics.")
    ] = 100,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Gradient steps between two checkpoints.")
    ] = 1000,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest checkpoints stay.")] = 5,
    logger: Annotated[
        list[str] | None,
        typer.Option(help="Also log with d3rlpy's file, tensorboard or wandb logger."),
    ] = None,
    old_goals: Annotated[str | None, typer.Option("--goals", hidden=True)] = None,
    old_rewards: Annotated[str | None, typer.Option("--rewards", hidden=True)] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Train an offline agent on a goal-conditioned dataset. Uses d3rlpy."""

    def job(show: Show) -> TrainReport:
        _check_renamed(old_goals, old_rewards)
        _quiet()
        from vlm_relabel import agents

        return agents.train(
            store=store,
            dataset=dataset,
            algo=algo,
            out=out,
            steps=steps,
            seed=seed,
            observation=observation,
            goal_encoding=goal_encoding,
            learn_from=learn_from,
            set=set_,
            kind_weight=kind_weight,
            positive_share=positive_share,
            action=action,
            discrete=discrete,
            device=device,
            cache=cache,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            keep=keep,
            logger=logger,
            trust=trust,
            show=show,
            begins=partial(agent_console.show_plan, run=out, as_json=json),
        )

    agent_console.show_training(_counted("steps", job, json), json)


def _check_renamed(goals: str | None, rewards: str | None) -> None:
    """Refuses the spellings of earlier versions, which mean something else elsewhere."""
    if goals is not None:
        raise RunError(f"--goals names a goal set; for `train` give --goal-encoding {goals}")
    if rewards is not None:
        raise RunError(f"--rewards names a reward set; for `train` give --learn-from {rewards}")


def evaluate(
    run: Annotated[str, typer.Argument(help="Run folder of `train`.")],
    step: Annotated[
        int | None,
        typer.Option(help="Gradient steps of the checkpoint. The default is the last one."),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"],
        typer.Option(
            parser=str, metavar="SPLIT", help="Split to evaluate on: validation, test or train."
        ),
    ] = "validation",
    fqe_steps: Annotated[
        int, typer.Option(min=0, help="Updates of each fitted Q evaluation; 0 leaves it out.")
    ] = 2000,
    fqe_fits: Annotated[
        int,
        typer.Option(
            min=1, help="Fitted Q evaluations with different seeds, whose spread is shown."
        ),
    ] = 3,
    env: Annotated[
        str | None,
        typer.Option(help="Gymnasium environment to roll out in, as module:factory."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Rollouts per goal.")] = 10,
    goal: Annotated[
        list[str] | None, typer.Option(help="Id of a goal to roll out. The default is all.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=_SEEDS, help="Seed of the first room and of fitted Q evaluation."),
    ] = 1_000_000,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder by whose rewards each rollout's return is given too."),
    ] = None,
    camera: Annotated[str, typer.Option(help="Key of the frame in an observation.")] = "image",
    baselines: Annotated[
        bool, typer.Option(help="Roll out a random policy too, and show the data's own success.")
    ] = True,
    gif: Annotated[
        str | None, typer.Option(help="Write the first rollouts as one animated GIF.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda:N or mps.")] = "cpu",
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Evaluate an agent off-policy and by rollouts. Against held-out episodes and the truth."""

    def job(show: Show) -> EvaluationReport:
        _quiet()
        from vlm_relabel import agents

        return agents.evaluate(
            run=run,
            step=step,
            split=split,
            fqe_steps=fqe_steps,
            fqe_fits=fqe_fits,
            env=env,
            episodes=episodes,
            goal=goal,
            seed=seed,
            encoder=encoder,
            camera=camera,
            baselines=baselines,
            gif=gif,
            device=device,
            trust=trust,
            show=show,
            say=console.say,
        )

    agent_console.show_evaluation(_counted("FQE steps", job, json), json)


def export_agent(
    run: Annotated[str, typer.Argument(help="Run folder of `train`.")],
    file: Annotated[str, typer.Argument(help="File to write, such as agent.d3.")],
    step: Annotated[
        int | None,
        typer.Option(help="Gradient steps of the checkpoint. The default is the last one."),
    ] = None,
    json: Json = False,
) -> None:
    """Write an agent as d3rlpy does, for `d3rlpy.load_learnable`. That file is a pickle."""

    def job() -> None:
        _quiet()
        from vlm_relabel import agents

        agents.export_agent(run, file, step=step)

    guarded(job, json)
    agent_console.show_export(file, json)


def _quiet() -> None:
    """To be called before d3rlpy is imported."""
    from vlm_relabel.cli.quiet import quiet

    quiet()


def _counted(what: str, run: Callable[[Show], T], as_json: bool) -> T:
    """As `guarded`, of something that counts up to a total, which is shown."""

    def job() -> T:
        with console.counting(what, as_json) as show:
            return run(show)

    return guarded(job, as_json)
