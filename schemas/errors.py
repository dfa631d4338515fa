"""The exceptions that a user, a file or a flag can cause.

Every message names its subject, what was expected, what was found, and the cure.
"""

from __future__ import annotations


class RelabelError(Exception):
    """Base of every error this project raises on purpose."""


class MissingExtraError(RelabelError):
    """A library that what was asked for needs, and that an extra of this distribution brings."""


class LocationError(RelabelError):
    """A path or URL of a kind that is not possible there, or that carries a secret."""


class SourceError(RelabelError):
    """A source directory, split, camera or field that is not what was asked for."""


class EpisodeError(RelabelError):
    """One stored episode that cannot be read; becomes a dead letter."""


class FrameError(RelabelError):
    """One stored image that cannot be decoded; becomes a dead letter."""


class EpisodeFramesError(FrameError):
    """The frames of one camera in a whole episode, which cannot be told apart or decoded."""


class GoalError(RelabelError):
    """A goal set that contradicts itself or its file format."""


class RewardError(RelabelError):
    """A reward function with impossible parameters, or used where it cannot apply."""


class EncoderError(RelabelError):
    """An encoder whose name, weights, device or precision cannot be had."""


class StoreError(RelabelError):
    """A store that is unfinished, of other inputs, damaged, or cannot be written."""


class DamagedError(StoreError):
    """A file of a store that is there, and is not what was written."""


class LabelError(RelabelError):
    """Labels that cannot be read, or too few of them for what is asked."""


class DeadLetterError(RelabelError):
    """More records could not be processed than the job was told to accept."""


class WorkerError(RelabelError):
    """A worker process that died, or that does not see what it is to work on."""


class RunnerError(RelabelError):
    """A runner that does not exist, cannot be had as it was asked for, or failed."""


class AlgorithmError(RelabelError):
    """An algorithm that does not exist, does not fit, or has no such hyper-parameter."""


class RunError(RelabelError):
    """A training run whose folder holds something else, or nothing yet."""
