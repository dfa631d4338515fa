"""Every column and feature name, once, with a line of meaning each."""

from __future__ import annotations

from typing import Final

# --- RLDS feature names (equal to the constants of the `rlds` package; a test holds them so)
STEPS: Final = "steps"  # the nested dataset of one episode's steps
OBSERVATION: Final = "observation"  # o_t
ACTION: Final = "action"  # a_t, taken after seeing o_t
REWARD: Final = "reward"  # the environment's own reward of a_t; in a reward table: the VLM's
DISCOUNT: Final = "discount"  # the environment's discount after a_t
IS_FIRST: Final = "is_first"  # o_t opens the episode
IS_LAST: Final = "is_last"  # o_t closes the episode; a_t may be meaningless (see LastStep)
IS_TERMINAL: Final = "is_terminal"  # o_t is terminal: no value lies beyond it

# --- Columns every per-frame table carries
EPISODE_ID: Final = "episode_id"  # "<split>/<shard>/<index in shard>", stable as long as the source
STEP: Final = "step"  # 0-based index of the frame in its episode, int32

# --- Episodes table
LENGTH: Final = "length"  # number of frames
LANGUAGE: Final = "language"  # first instruction of the episode, or null
METADATA_PREFIX: Final = "episode_metadata."  # whatever the source says of the episode

# --- Embedding table
EMBEDDING: Final = (
    "embedding"  # unit-norm image embedding, float16|float32 [D]; all nulls: dead letter
)
BLANK: Final = "blank"  # the frame is one colour all over, such as black; null: not decoded

# --- Reward table
SCORE: Final = "score"  # float32 [G], one per frame and goal; nulls: an embedding is missing
# REWARD, above: [G], one per transition; nulls where there is no transition

# --- goals.parquet of a reward set (row i is goal i of the goal axis)
GOAL_ID: Final = "goal_id"
FAMILY: Final = "family"
TEXTS: Final = "texts"  # the strings whose embeddings are averaged: phrasings in their templates
PHRASINGS: Final = "phrasings"  # the goal's texts as given, without templates
SPOKEN: Final = "spoken"  # further texts of the source that name the goal
NEGATIVES: Final = "negatives"  # every negative as resolved, its phrasings joined by " | "
TEMPERATURE: Final = "temperature"
THRESHOLD: Final = "threshold"
TEXT_EMBEDDING: Final = "text_embedding"  # unit-norm, float32 [D]
EXAMPLES: Final = "examples"  # frames that a goal was given by, if one was; each episode and step
# Of a reward set with a head besides:
HEAD_BLEND: Final = "head_blend"  # share of the head in the score; 0: zero-shot
HEAD_POSITIVES: Final = "head_positives"  # labelled frames that show the goal
HEAD_NEGATIVES: Final = "head_negatives"  # those that do not
HEAD_FOLDS: Final = "head_folds"  # what was left out together: "episodes", "frames"; null: too few
ZERO_SHOT_AP: Final = "zero_shot_ap"  # average precision on the labels
HEAD_AP: Final = "head_ap"  # likewise, each label scored by a head that did not see it
HEAD_REASON: Final = "head_reason"  # whose labels ask for it: "goal", "family"; null: it has none

# --- head.parquet of a reward set with a head
BLEND: Final = "blend"  # share of the head in that goal's score
BIAS: Final = "bias"  # of a linear head; null in a cached one

# --- Label table (a file of its own)
LABEL: Final = "label"  # whether the frame shows the goal, as a person says
ZERO_SHOT: Final = "zero_shot"  # of head_labels.parquet: score without the head
LEFT_OUT: Final = "left_out"  # of head_labels.parquet: score by a head that did not see the label

# --- Dead letters
SLICE: Final = "slice"
STAGE: Final = "stage"  # "steps" or the name of the table that misses the record
CAMERA: Final = "camera"
REASON: Final = "reason"

# --- Arrow metadata keys
SHAPE: Final = b"shape"  # of a tensor column: JSON list, the row-major shape before flattening
DTYPE: Final = b"dtype"  # of a tensor column: the source's NumPy dtype
FINGERPRINT: Final = b"vlm_relabel.fingerprint"  # of a file: the table it belongs to
COUNTS: Final = b"vlm_relabel.counts"  # of a slice of rewards: how often each goal is reached
ODDITIES: Final = b"vlm_relabel.oddities"  # of a slice of steps: how many episodes are unusual
