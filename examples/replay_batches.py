"""A goal dataset as batches for a PyTorch loop of your own: here, a policy that clones.

    python -m examples.replay_batches demo/small

What d3rlpy takes as its own replay buffer, any other loop can draw from too.
"""

import sys
from pathlib import Path

import torch

import vlm_relabel
from examples.relabel_source import make_store

ACTIONS, BATCH, STEPS = 5, 128, 1000


def main(folder: Path) -> None:
    """Clones what the episodes did until they reached a goal."""
    store = make_store(folder)
    vlm_relabel.build_goals(store=store, rewards="v1", name="gc1")
    dataset = vlm_relabel.GoalDataset(store, "gc1")
    replay = dataset.replay(
        split="train",
        observations="observation.things",
        goals="text",
        weights={"failed": 0},
    )
    width = replay.sample_transition_batch(BATCH).observations.shape[1]
    print(f"{replay.transition_count} transitions; observation and goal are {width} numbers")

    torch.manual_seed(0)
    policy = torch.nn.Sequential(
        torch.nn.Linear(width, 128), torch.nn.ReLU(), torch.nn.Linear(128, ACTIONS)
    )
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for step in range(1, STEPS + 1):
        batch = replay.sample_transition_batch(BATCH)  # NumPy float32, one transition a row
        logits = policy(torch.from_numpy(batch.observations))
        taken = torch.from_numpy(batch.actions[:, 0]).long()
        loss = torch.nn.functional.cross_entropy(logits, taken)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in (1, STEPS):
            right = (logits.argmax(dim=1) == taken).float().mean().item()
            print(f"step {step}: loss {loss.item():.2f}, {right:.0%} of the actions predicted")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
