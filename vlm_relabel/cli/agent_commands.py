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
    store: Annotated[str, typer.Argument(help="Store that holds the goal dataset.")],
    dataset: Annotated[
        str, typer.Option(help="Name of the goal dataset, as given to build-goals.")
    ],
    algo: Annotated[
        str,
        typer.Option(
            help="Algorithm. For continuous actions: iql, cql, cal-ql, td3-bc, rebrac, "
            "awac, crr, bcq, bear, plas, bc, decision-transformer, gcivl, gciql, awr, ra-bc. "
            "For discrete actions: discrete-cql, discrete-bcq, discrete-bc, "
            "discrete-decision-transformer, discrete-gcivl, discrete-gciql, discrete-awr, "
            "discrete-ra-bc."
        ),
    ],
    out: Annotated[
        str, typer.Option(help="Folder of the run. An interrupted run in it is resumed.")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Total number of gradient steps.")] = 10_000,
    seed: Annotated[
        int, typer.Option(min=0, max=_SEEDS, help="Seed of the networks and of the sampling.")
    ] = 0,
    observation: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that the agent sees, such as observation.state or embedding:NAME. "
            "Repeat the option for several columns. The default is every vector of "
            "floats below observation that is not the embedding of a text."
        ),
    ] = None,
    goal_encoding: Annotated[
        Literal["text", "one-hot", "none"] | None,
        typer.Option(
            parser=str,
            metavar="HOW",
            help="How the goal is appended to each observation: text, one-hot or none. The "
            "default is text. For a dataset without a reward set it is one-hot, or "
            "none if there is a single goal.",
        ),
    ] = None,
    learn_from: Annotated[
        Literal["vlm", "true", "none"],
        typer.Option(
            parser=str,
            metavar="REWARDS",
            help="Rewards to learn from: vlm, true (the environment's own, for comparison), "
            "or none (behaviour cloning).",
        ),
    ] = "vlm",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Hyper-parameter of the algorithm, by its name in the configuration, such as "
            "alpha=0.05. Repeat the option for several.",
        ),
    ] = None,
    kind_weight: Annotated[
        list[str] | None,
        typer.Option(
            help="Sampling weight of one kind of trajectory, such as hindsight=0.5. Repeat "
            "the option for several kinds."
        ),
    ] = None,
    positive_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of each batch that is drawn from the transitions that reach their goal.",
        ),
    ] = None,
    n_step: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of steps whose rewards are added up before the value of what follows. "
            "The default is 1, and for awr all that a trajectory has left.",
        ),
    ] = None,
    goal_mix: Annotated[
        list[str] | None,
        typer.Option(
            help="Share of the goals of a batch that come from one source, such as "
            "trajectory=0.3: a later frame of the same episode (trajectory), the frame that a "
            "transition reaches (current), any frame (random). The rest are those of language. "
            "Repeat the option for several sources."
        ),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of actions, or group of columns (action for action.arm and "
            "action.gripper). If the option is repeated, the columns are joined in the "
            "order given. The default is action."
        ),
    ] = None,
    discrete: Annotated[
        bool | None,
        typer.Option(
            "--discrete/--no-discrete",
            help="Whether an action is the id of a choice. By default it is one if it is a "
            "single integer.",
        ),
    ] = None,
    action_bounds: Annotated[
        Literal["min-max", "p01-p99"],
        typer.Option(
            parser=str,
            metavar="BOUNDS",
            help="Values of an action that become -1 and 1: its minimum and maximum (min-max), or "
            "its 1st and 99th percentile (p01-p99), beyond which values are cut.",
        ),
    ] = "min-max",
    device: Annotated[str, typer.Option(help="Device to compute on: cpu, cuda:N or mps.")] = "cpu",
    cache: Annotated[
        str | None,
        typer.Option(
            help="Folder in which the frames are kept as memory-mapped files. By default "
            "they are held in memory."
        ),
    ] = None,
    log_every: Annotated[
        int, typer.Option(min=1, help="Number of gradient steps between two lines of metrics.")
    ] = 100,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Number of gradient steps between two checkpoints.")
    ] = 1000,
    keep: Annotated[
        int, typer.Option(min=1, help="Number of checkpoints to keep, the newest ones.")
    ] = 5,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            help="Logger of d3rlpy to write to as well: file, tensorboard or wandb. Repeat "
            "the option for several."
        ),
    ] = None,
    old_goals: Annotated[str | None, typer.Option("--goals", hidden=True)] = None,
    old_rewards: Annotated[str | None, typer.Option("--rewards", hidden=True)] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Train an offline agent on a goal dataset, with an algorithm of d3rlpy or of our own."""

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
            n_step=n_step,
            goal_mix=goal_mix,
            action=action,
            discrete=discrete,
            action_bounds=action_bounds,
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
    run: Annotated[str, typer.Argument(help="Folder of the run, as written by train.")],
    step: Annotated[
        int | None,
        typer.Option(
            help="Checkpoint to use, by its number of gradient steps. The default is the last one."
        ),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"],
        typer.Option(
            parser=str,
            metavar="SPLIT",
            help="Split of the dataset to evaluate on: validation, test or train.",
        ),
    ] = "validation",
    fqe_steps: Annotated[
        int,
        typer.Option(
            min=0, help="Number of updates of each fitted Q evaluation. With 0 there is none."
        ),
    ] = 2000,
    fqe_fits: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of fitted Q evaluations, with different seeds. Their spread is shown.",
        ),
    ] = 3,
    env: Annotated[
        str | None,
        typer.Option(help="Gymnasium environment for rollouts, as module:factory."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Number of rollouts per goal.")] = 10,
    temperature: Annotated[
        float,
        typer.Option(
            min=0,
            help="Temperature of the agent's actions in rollouts (not that of rewards). With 0 the "
            "best ones are taken, as fitted Q evaluation always does; above, they are drawn, which "
            "can lead an agent out of circles.",
        ),
    ] = 0.0,
    goal: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a goal to roll out. Repeat the option for several goals. The "
            "default is all."
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=_SEEDS, help="Seed of the first rollout and of fitted Q evaluation."
        ),
    ] = 1_000_000,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder of the frames of rollouts. It is needed if the agent sees "
            "embeddings; with it, the return by the rewards of the dataset is shown "
            "too."
        ),
    ] = None,
    camera: Annotated[
        str, typer.Option(help="Key under which an observation holds its frame.")
    ] = "image",
    baselines: Annotated[
        bool,
        typer.Option(
            help="Also roll out a random policy, and show how often the commanded episodes "
            "of the data succeed, of the same goals."
        ),
    ] = True,
    gif: Annotated[
        str | None, typer.Option(help="File to write the first rollouts to, such as rollouts.gif.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device to compute on: cpu, cuda:N or mps.")] = "cpu",
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Evaluate an agent on episodes that were kept back, and by rollouts in an environment."""

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
            temperature=temperature,
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
    run: Annotated[str, typer.Argument(help="Folder of the run, as written by train.")],
    file: Annotated[str, typer.Argument(help="File to write, such as agent.d3.")],
    step: Annotated[
        int | None,
        typer.Option(
            help="Checkpoint to use, by its number of gradient steps. The default is the last one."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write an agent to a file for `d3rlpy.load_learnable`. That file is a pickle."""

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
