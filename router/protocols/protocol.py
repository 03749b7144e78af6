"""What the proxy asks of a client's protocol. One instance serves a path for as long as the process lives; what belongs
to one request is in its `Translation`.

Where a backend answers the client's own path, nothing is translated: its bytes are the answer. Where it does not,
`choose_path` names another path of it, and a `Translation` turns the request and the answer, event by event.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import Any

from router.protocols.prompts import Turn
from router.refusals import RefusedError, write_refusal

Body = dict[str, Any]
Prompt = tuple[str, str | None, tuple[Turn, ...]]  # query, context, history: what is remembered of a request
NOTHING_ASKED: Prompt = ("", None, ())


class AnswerError(Exception):
    """A backend's answer is not what its protocol says; the message is for the client."""


class ToldError(AnswerError):
    """A backend's answer says an error in so many words, which may be the client's own."""


class Translation(ABC):
    """One request to a backend that speaks another protocol than its client, and the answer on its way back.

    `stream_type` is the content type of what `feed` gives.
    """

    stream_type: bytes

    @abstractmethod
    def write_request(self) -> Body:
        """The request in the backend's form; `model` is put in by the proxy."""

    @abstractmethod
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events, in the client's form, that the next bytes of the backend's stream, cut anywhere, complete.

        Raises:
            AnswerError: they are not what they should be, or say an error; what came before was given already.
        """

    @abstractmethod
    def finish(self) -> Iterator[bytes]:
        """The events that were left when the stream ended.

        Raises:
            AnswerError: it ended too early.
        """

    @abstractmethod
    def write_whole(self, answer: bytes) -> bytes:
        """An answer that came whole, in the client's form.

        Raises:
            AnswerError: as `feed`.
        """


class Protocol(ABC):
    """One path of a client's protocol.

    `remembered` is false where a call leaves no interaction.
    """

    remembered = True

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def admit(self, body: Body) -> Prompt:
        """Checks a request and takes apart what is remembered of it.

        Raises:
            PromptError, RefusedError: it cannot be served.
        """

    @abstractmethod
    def is_streamed(self, body: Body) -> bool:
        """Whether the client wants the answer in pieces."""

    def write_own(self, body: Body) -> Body | None:
        """What a backend that answers this path itself is asked; None: the client's own bytes, but for `model`."""
        return None

    def choose_path(self, body: Body, endpoints: Collection[str]) -> str | None:
        """Which of a backend's paths serves the request in its stead; None where none does.

        Raises:
            RefusedError: one would, but for something that the request asks.
        """
        return None

    def translate(self, body: Body, path: str, asked_model: str) -> Translation:
        """Begins a translation to the path that `choose_path` named; `asked_model` is the client's name for it.

        Raises:
            ValueError: it named none.
        """
        raise ValueError(f"{self.path} is served by backends that answer it themselves, not by way of {path}")

    def write_ready(self, body: Body, asked_model: str) -> bytes | None:
        """The answer to a request that asks nothing of a model; None where every request asks something."""
        return None

    def write_error(self, refused: RefusedError) -> bytes:
        """A refusal in the client's form, without the line break of a stream."""
        return write_refusal(refused, self.path)

    @abstractmethod
    def write_break(self, refused: RefusedError) -> bytes:
        """The last bytes of a stream that breaks off."""
