"""A version that somebody else serves, at an address that its signed form names (flytewheel/upstreams.py).

There is nothing to bring there and nothing to take away. It is probed now and then by the list of its models, which
costs nobody a token: any answer but a failure of the server means that it is there, since not everybody has that list.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress

import aiohttp

from flytewheel.addresses import BlockedAddressError
from flytewheel.errors import FlytewheelError, RouterError
from flytewheel.upstreams import read_upstream
from router.backends.backend import Status
from router.backends.connections import describe_refused
from router.backends.host import Host
from router.backends.served import ServedModel
from router.backends.warming import warm_up

logger = logging.getLogger("router.backends")

PROBE_EVERY_S = 10.0
PROBE_TIMEOUT_S = 5.0
MISSES = 2  # one lost answer on the way to somewhere else means little
LONGEST_PAUSE_S = 30.0


class UpstreamHost(Host):
    """One version at an address of its own; `allow` are the networks that this machine's settings allow beside."""

    own = False

    def __init__(self, model: ServedModel, *, allow: tuple[str, ...] = ()) -> None:
        super().__init__(model)
        self._more_allowed = allow
        self._gone = asyncio.Event()

    async def _keep(self) -> None:
        pause_s = 0.0
        while True:
            try:
                await self._bring_up()
            except FlytewheelError as error:
                logger.error("%s is not served: %s", self.alias, error)
                if not self._first_start.done():
                    self._fail(error)
                    return
                self._lose(str(error))
            else:
                pause_s = 0.0
                await self._wait_gone()
                logger.warning("%s does not answer: %s", self.alias, self.status.failure)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, max(0.5, pause_s * 2))

    async def _bring_up(self) -> None:
        assert self.model.upstream is not None
        upstream = read_upstream(self.model.upstream)
        self.alias, self.endpoints = upstream.model, upstream.paths
        status = self.describe(
            upstream.root,
            headers=upstream.list_headers(os.environ),
            endpoints=upstream.paths,
            allow=(*self._more_allowed, *upstream.allow),
        )
        missing = await self._probe(status)
        if missing is not None:
            raise RouterError(f"{self.model.name} {self.model.version}: {missing}")
        warm_s = self.status.warm_s
        if upstream.warm_up and warm_s is None:
            warm_s = await warm_up(self._connect(status), status)
        self._gone.clear()
        self._serve(status.url, headers=status.headers, endpoints=status.endpoints, allow=status.allow, warm_s=warm_s)
        logger.info("%s %s serves at %s", self.model.name, self.model.version, status.url)

    async def _wait_gone(self) -> None:
        misses = 0
        while not self._gone.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), PROBE_EVERY_S)
                return
            missing = await self._probe(self.status)
            misses = 0 if missing is None else misses + 1
            if missing is not None and misses >= MISSES:
                self._lose(missing)
                return

    async def _look(self) -> None:
        """After a failed request: one that is there and fails is the breaker's affair."""
        missing = await self._probe(self.status)
        if missing is not None:
            self._lose(missing)
            self._gone.set()

    async def _end(self) -> None:
        """Nothing was brought there."""

    async def _probe(self, status: Status) -> str | None:
        """Why it is not there; None where it is."""
        try:
            async with self._connect(status).get(
                f"{status.url}/v1/models",
                headers=dict(status.headers),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S),
            ) as answer:
                code = answer.status
        except aiohttp.ClientConnectorCertificateError as error:
            return f"{status.url} {describe_refused(error)}"
        except aiohttp.ClientConnectorError as error:
            blocked = isinstance(error.os_error, BlockedAddressError)
            return f"{status.url} is {'blocked' if blocked else 'not reachable'}: {error.os_error}"
        except TimeoutError:
            return f"{status.url} does not answer within {PROBE_TIMEOUT_S:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{status.url} is not reachable: {error or type(error).__name__}"
        if code in {401, 403}:
            return f"{status.url} refuses the key ({code}); correct the variable that the version names"
        if code >= 500 or 300 <= code < 400:
            return f"{status.url} answers {code}" + ("; redirects are not followed" if code < 400 else "")
        return None
