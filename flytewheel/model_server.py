"""Speaks HTTP to a model server that is not ours: one address, its key, and errors that a person can act on.

A user and password in the address become Basic authentication, a key a Bearer token; neither is ever part of a
message. Requests are made once: what is safe to repeat is repeated by whoever knows what it means.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from flytewheel.addresses import AddressRule, BlockedAddressError
from flytewheel.errors import ModelServerError


@cache
def _trust(trust_env: bool) -> ssl.SSLContext:
    """Who is trusted, read once: a client that reads it for itself takes 0.7 MiB and 15 ms, and a router makes two a
    minute for each version that it looks after, of which the memory comes back when the collector of cycles pleases.
    """
    return httpx.create_ssl_context(trust_env=trust_env)


class _CheckedTransport(httpx.BaseTransport):
    """Connects to an address that was checked: the name is asked once, and what it said is what is connected to.

    TLS goes on proving the name (httpx's `sni_hostname`).
    """

    def __init__(self, rule: AddressRule, verify: ssl.SSLContext) -> None:
        self._rule = rule
        self._inner = httpx.HTTPTransport(verify=verify, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host, port = request.url.host, request.url.port or {"https": 443}.get(request.url.scheme, 80)
        try:
            address = self._rule.resolve(host, port)
        except BlockedAddressError:
            raise
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from None
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class ModelServer:
    """One server.

    Args:
        url: `http(s)://[user:password@]host[:port][/path]`, without `/v1` or `/api`.
        kind: What it is called in messages, such as `Ollama`.
        key: Sent as a Bearer token, if given.
        timeout_s: How long a server may say nothing while it works; connecting takes at most 5 s.
        rule: Which addresses it may have, checked at each connection, and no proxy is asked; None: any.
        tls: What proves it behind `https://`; None: the usual authorities.

    Raises:
        ModelServerError: the address is none.
    """

    def __init__(
        self,
        url: str,
        *,
        kind: str,
        key: str | None = None,
        timeout_s: float = 600.0,
        rule: AddressRule | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url, self.auth = split_url(url, kind)
        self.kind = kind
        self._key = key
        proxies = rule is None and urlsplit(self.url).hostname not in {"127.0.0.1", "localhost", "::1"}
        verify = _trust(proxies) if tls is None else tls
        self._client = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            auth=None if key else self.auth,
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            transport=None if rule is None else _CheckedTransport(rule, verify),
            verify=verify,
            trust_env=proxies,  # a proxy set for the outside world knows nothing of our loopback
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def headers(self) -> dict[str, str]:
        """What authenticates a request that somebody else sends."""
        if self._key:
            return {"authorization": f"Bearer {self._key}"}
        if self.auth is None:
            return {}
        request = httpx.Request("GET", self.url)
        return {"authorization": next(httpx.BasicAuth(*self.auth).auth_flow(request)).headers["authorization"]}

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Sends a request and returns the answer, whatever its status.

        Raises:
            ModelServerError: the server is away, breaks off, or says nothing for too long.
        """
        with self.told(path):
            return self._client.request(method, path, json=body, **options)

    def stream(self, method: str, path: str, body: Any) -> Iterator[dict[str, Any]]:
        """Sends a request and yields the lines of JSON that it is answered with, as they come.

        Raises:
            ModelServerError: as `ask`; the server refuses; or a line is no JSON object.
        """
        with self.told(path), self._client.stream(method, path, json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                raise self.refused(f"{method} {path}", answer)
            for line in answer.iter_lines():
                if not line.strip():
                    continue
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                if not isinstance(event, dict):
                    raise ModelServerError(
                        f"{self.kind} at {self.url} answers {path} with {line[:80]!r}, not with JSON"
                    )
                yield event

    @contextmanager
    def told(self, path: str) -> Iterator[None]:
        """Says in one line what goes wrong on the way."""
        try:
            yield
        except httpx.TimeoutException:
            raise ModelServerError(
                f"{self.kind} at {self.url} does not answer {path} in time; is it busy, or hanging? look at its log"
            ) from None
        except BlockedAddressError as error:
            raise ModelServerError(f"{self.kind} at {self.url} is not asked: {error}") from None
        except httpx.ConnectError as error:
            cause = str(error) or type(error).__name__
            raise ModelServerError(
                f"{self.kind} at {self.url} is not reachable ({cause}); start it, or correct the address"
            ) from None
        except httpx.HTTPError as error:
            cause = str(error) or type(error).__name__
            raise ModelServerError(
                f"{self.kind} at {self.url} broke off {path} ({cause}); look at its log, then try again"
            ) from None

    def refused(self, what: str, answer: httpx.Response) -> ModelServerError:
        """The error for an answer that is none of those expected."""
        if answer.status_code in {401, 403}:
            return ModelServerError(
                f"{self.kind} at {self.url} refuses the key ({answer.status_code} to {what});"
                " give it in FLYTEWHEEL_BACKEND_KEY or in the address"
            )
        return ModelServerError(
            f"{self.kind} at {self.url} refused {what} ({answer.status_code}): {read_error(answer)}"
        )

    def read(self, what: str, answer: httpx.Response) -> dict[str, Any]:
        """The JSON object of a good answer.

        Raises:
            ModelServerError: the status is not 200, or the body is something else.
        """
        if answer.status_code != 200:
            raise self.refused(what, answer)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ModelServerError(
                f"what listens at {self.url} answers {what} with {answer.text[:80]!r}: that is no {self.kind}"
            )
        return found


def split_url(url: str, kind: str) -> tuple[str, tuple[str, str] | None]:
    """The address without its user and password, and these.

    Raises:
        ModelServerError: it is no address of http.
    """
    try:
        parts = httpx.URL(url)
        parsed = parts.host and parts.scheme in {"http", "https"}
    except httpx.InvalidURL:
        parsed = ""
    if not parsed:
        raise ModelServerError(f"{kind}: expected http(s)://host[:port], not {url.rpartition('@')[2][:80]!r}")
    auth = (parts.username, parts.password) if parts.username else None
    return str(parts.copy_with(username=None, password=None)).rstrip("/"), auth


def read_error(answer: httpx.Response) -> str:
    """What a refusal says: Ollama's `error`, OpenAI's `error.message`, vLLM's `message`, FastAPI's `detail`."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    said: Any = answer.text
    if isinstance(found, dict):
        said = found.get("error") or found.get("message") or found.get("detail") or said
        said = said.get("message", said) if isinstance(said, dict) else said
    return " ".join(str(said).split())[:300] or "nothing"
