"""The official clients, opened against one router with its key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import ollama
import openai

from tests.router.live import API_KEY, KEY, LiveRouter


@contextmanager
def open_ollama(router: LiveRouter, **headers: str) -> Iterator[ollama.Client]:
    client = ollama.Client(host=router.url, headers={**KEY, **headers}, trust_env=False, timeout=60)
    try:
        yield client
    finally:
        client._client.close()


@contextmanager
def open_openai(router: LiveRouter, **headers: str) -> Iterator[openai.OpenAI]:
    http = httpx.Client(trust_env=False, timeout=60)
    with openai.OpenAI(
        base_url=f"{router.url}/v1", api_key=API_KEY, http_client=http, max_retries=0, default_headers=headers
    ) as client:
        yield client


async def gather_ollama(router: LiveRouter, model: str, messages: list[dict[str, Any]]) -> tuple[str, str]:
    """A plain and a streamed answer through the asynchronous client of Ollama."""
    client = ollama.AsyncClient(host=router.url, headers=KEY, trust_env=False, timeout=60)
    try:
        plain = await client.chat(model, messages, options={"temperature": 0})
        streamed = await client.chat(model, messages, options={"temperature": 0}, stream=True)
        said = [part.message.content or "" async for part in streamed]
    finally:
        await client._client.aclose()
    return plain.message.content or "", "".join(said)


async def gather_openai(router: LiveRouter, model: str, messages: list[Any]) -> tuple[str, str]:
    """A plain and a streamed answer through the asynchronous client of OpenAI."""
    http = httpx.AsyncClient(trust_env=False, timeout=60)
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=API_KEY, http_client=http) as client:
        plain = await client.chat.completions.create(model=model, messages=messages, temperature=0)
        streamed = await client.chat.completions.create(model=model, messages=messages, temperature=0, stream=True)
        said = [event.choices[0].delta.content or "" async for event in streamed if event.choices]
    return plain.choices[0].message.content or "", "".join(said)
