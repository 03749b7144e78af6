"""What can go wrong, one class for each boundary that can be crossed.

The message of every error here is one line for a person: what was expected, what came, the next step. The command
line prints it behind ``error:`` and exits with ``exit_code``; nothing else of the trace is shown unless
``FLYTEWHEEL_DEBUG`` is set.
"""

from __future__ import annotations

from typing import ClassVar

import click


class FlytewheelError(Exception):
    """Base of every error that a user is meant to read."""

    exit_code: ClassVar[int] = 1


class RecipeError(FlytewheelError, click.UsageError):
    """A recipe could not be read: every fault is listed, each with its path.

    It is click's usage error as well, so that `pyflyte run --recipe` says it as it says a wrong option.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, source: str, faults: list[str]) -> None:
        self.source = source
        self.faults = faults
        click.UsageError.__init__(self, f"{source}: {'; '.join(faults)}")


class SettingsError(FlytewheelError):
    """An environment variable of the service has a wrong value."""

    exit_code: ClassVar[int] = 2


class DatabaseError(FlytewheelError):
    """PostgreSQL is away, or refused what it was asked."""


class StoreError(FlytewheelError):
    """The object store is away, refuses the keys, or does not keep its promises."""


class FeedbackError(FlytewheelError):
    """A feedback log could not be read at all (a single bad line is quarantined instead)."""


class DatasetError(FlytewheelError):
    """A data set is missing, incomplete, or not the one that was named."""


class EndpointError(FlytewheelError):
    """A classifier, name finder or paraphraser of the user's is away or answers wrongly."""


class BaseModelError(FlytewheelError):
    """The base model or its tokenizer cannot be loaded."""


class LlamaServerError(FlytewheelError):
    """llama.cpp's server does not serve a file, or answers wrongly."""


class ModelServerError(FlytewheelError):
    """An Ollama or vLLM of the user's is away, refuses what it is asked, or serves something else."""


class TrainingError(FlytewheelError):
    """A training came to an end without weights that can be used."""


class DivergedError(TrainingError):
    """Weights are not finite: no checkpoint of this training is worth going on from."""


class CheckpointError(FlytewheelError):
    """A checkpoint belongs to other data, another recipe or other code."""


class EvaluationError(FlytewheelError):
    """The candidate could not be judged."""


class SuiteError(FlytewheelError):
    """A case of the regression suite is faulty, unknown, or cannot be muted as asked."""


class GateError(FlytewheelError):
    """A verdict cannot be overruled as asked, or a person holds what was to be released."""


class ReviewError(FlytewheelError):
    """A review of people does not exist, is closed, or was told what it cannot take."""


class ExportError(FlytewheelError):
    """The model cannot be written as GGUF, or the file does not behave as the trained weights."""


class RegistryError(FlytewheelError):
    """A version is missing, incomplete, or does not match its digests."""


class SigningError(RegistryError):
    """A key is not one to sign with, or no trusted key vouches for a version as it is."""


class RouterError(FlytewheelError):
    """The router is away, or refused a request to its control API."""


class ExperimentError(FlytewheelError):
    """An experiment cannot be opened or changed as asked."""


class RequestError(FlytewheelError):
    """A turn cannot be asked for so: its id stands for another request."""


class ComparisonError(FlytewheelError):
    """Runs cannot be compared as asked: one is unknown, there are too few, or their files cannot be read."""


class StackError(FlytewheelError):
    """The embedded stack could not be started or stopped."""


class ApiKeyError(FlytewheelError):
    """An API key is not there, or cannot be what was asked for."""


class BackupError(FlytewheelError):
    """A backup is torn, or may not be taken or brought back here."""
