"""Train a small agent on the rewards, and let it play.

    python -m examples.train_agent demo/small

A hundred episodes and 2,000 steps show how it is done; `make playroom` is the long version.
"""

import sys
from pathlib import Path

import vlm_relabel
from examples.relabel_source import make_store

THINGS = ("red-ball", "green-key", "blue-box", "blue-ball")


def main(folder: Path, steps: int = 2000) -> None:
    """Trains, and rolls out beside a policy of random actions."""
    store = make_store(folder)
    vlm_relabel.build_goals(store=store, rewards="v1", name="gc1")
    trained = vlm_relabel.train(
        store=store,
        dataset="gc1",
        algo="discrete-cql",
        observation="observation.things",
        positive_share=0.25,
        set={"hidden_units": [256], "gamma": 0.9, "batch_size": 128, "learning_rate": 1e-3},
        steps=steps,
        out=folder / "agent",
    )
    print(f"trained for {trained.steps} steps; {trained.checkpoint}")

    report = vlm_relabel.evaluate(
        run=folder / "agent",
        fqe_steps=0,
        env="examples.playroom.room:make_env",
        goal=[f"find-{thing}" for thing in THINGS],
        episodes=5,
    )
    for outcome in report.outcomes:
        if outcome.family == "all":
            success = outcome.success
            print(f"{outcome.policy}: {success.mean:.0%} ({success.low:.0%} to {success.high:.0%})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
