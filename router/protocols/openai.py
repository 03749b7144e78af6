"""OpenAI's protocol, which backends speak themselves: read, and passed on byte for byte."""

from __future__ import annotations

from router.protocols.prompts import read_plain_prompt, split_prompt
from router.protocols.protocol import NOTHING_ASKED, Body, Prompt, Protocol
from router.refusals import RefusedError


class OpenAiProtocol(Protocol):
    """What all of OpenAI's paths share."""

    def is_streamed(self, body: Body) -> bool:
        return body.get("stream") is True

    def write_break(self, refused: RefusedError) -> bytes:
        return b"data: " + self.write_error(refused) + b"\n\n"


class OpenAiChat(OpenAiProtocol):
    """`/v1/chat/completions`."""

    def admit(self, body: Body) -> Prompt:
        return split_prompt(body.get("messages"))


class OpenAiCompletions(OpenAiProtocol):
    """`/v1/completions`."""

    def admit(self, body: Body) -> Prompt:
        return split_prompt([{"role": "user", "content": read_plain_prompt(body.get("prompt"))}])


class OpenAiEmbeddings(OpenAiProtocol):
    """`/v1/embeddings`: no conversation, so nothing of it is remembered."""

    remembered = False

    def admit(self, body: Body) -> Prompt:
        if not isinstance(body.get("input"), str | list) or not body["input"]:
            raise RefusedError(400, "invalid_request_error", "input must be text, or a list of texts or of token ids")
        return NOTHING_ASKED

    def is_streamed(self, body: Body) -> bool:
        return False
