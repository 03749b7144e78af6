"""Requests that nobody means well: bodies of every endpoint, broken in one way or three, with headers to match.

A seed decides all of them. Each is the bytes of one HTTP request, so that lengths, encodings and bytes that no client
would send can be wrong, too.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.hostile_targets import Target

_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308, "", " ", "\0", "a\0b", "\ud800",
    "🙂" * 300, "\u202e\u0000\ufeff", "a" * 70_000, "'; DROP TABLE api_keys; --", "../../etc/passwd", "{{7*7}}", "%s%n",
    "<script>", "\r\nx: y", [], {}, [[]], [None], {"": None}, {"a": {"b": []}}, ["a"] * 3000, {"\0": 1},
    {"__proto__": 1},
)  # fmt: skip
_ODD_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-flytewheel-user", b"\xff\xfe"),
    (b"x-flytewheel-user", b"a" * 5000),
    (b"x-flytewheel-user", b"anon-0000"),
    (b"x-flytewheel-want-version", b"../..\xff"),
    (b"x-flytewheel-want-arm", b"\xf0\x9f\x99\x82"),
    (b"x-flytewheel-receipt", b"\xff" * 300),
    (b"x-flytewheel-receipt", b"AAAA." * 200),
    (b"x-flytewheel-reviewer", b"%ff%00%"),
    (b"x-flytewheel-review-token", b"\x80"),
    (b"cookie", b"flytewheel_unit=" + b"\xff" * 50),
    (b"cookie", b";;=;" * 200),
    (b"authorization", b"Bearer \xff\x80"),
    (b"authorization", b"Basic " + b"A" * 2000),
    (b"authorization", b""),
    (b"origin", b"null"),
    (b"origin", b"\xff://\xfe"),
    (b"range", b"bytes=0-"),
    (b"expect", b"100-continue"),
    (b"accept", b"\xff/*"),
    (b"accept-encoding", b"br;q=x"),
    (b"if-none-match", b"*"),
    (b"x-forwarded-for", b"127.0.0.1, \xff"),
    (b"forwarded", b"for=\"_\x80\""),
    (b"upgrade", b"h2c"),
    (b"te", b"trailers"),
    (b"sec-fetch-site", b"same-origin"),
    (b"access-control-request-method", b"\xff"),
    (b"priority", b"u=\x80"),
)  # fmt: skip
_TYPES = (b"application/json", b"application/json; charset=utf-16", b"text/plain", b"multipart/form-data; boundary=x",
          b"application/x-www-form-urlencoded", b"text/xml", b"\xff", b"", b"application/json" * 300)  # fmt: skip
_SEGMENTS = (
    "x",
    "%00",
    "%ff",
    "..",
    "%2e%2e%2f",
    "%F0%9F%99%82",
    "a" * 3000,
    "%0d%0ax",
    "0",
    "-1",
    "'",
    "*",
    "%25",
    "{}",
)
_QUERIES = (
    "",
    "",
    "",
    "?",
    "?a=b",
    "?name=%00",
    "?running=maybe",
    "?more=%ff",
    "?limit=-1",
    "?limit=1e9",
    "?" + "a=1&" * 400,
    "?%",
)


def make_requests(targets: Sequence[Target], keys: Sequence[bytes], seed: int, count: int) -> Iterator[bytes]:
    """`count` requests to these endpoints; `keys` are API keys, of which one, or none, comes along."""
    draw = random.Random(seed)
    for _ in range(count):
        yield _make_request(draw, draw.choice(targets), keys)


def _make_request(draw: random.Random, target: Target, keys: Sequence[bytes]) -> bytes:
    raw = _spell(draw, _mangle(draw, target.body) if draw.random() < 0.7 else target.body)
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        raw = draw.choice(_BREAKS)(draw, raw)
    path = target.path
    while "{" in path and path.find("}") > path.find("{"):
        path = (
            path[: path.find("{")]
            + draw.choice(_SEGMENTS).replace("{", "").replace("}", "")
            + path[path.find("}") + 1 :]
        )
    head = [
        f"{target.method} {path}{draw.choice(_QUERIES)} HTTP/1.1".encode(),
        b"host: 127.0.0.1",
        b"content-type: " + (draw.choice(_TYPES) if draw.random() < 0.15 else _TYPES[0]),
    ]
    if draw.random() < 0.9:
        head.append(b"authorization: Bearer " + draw.choice(keys))
    if draw.random() < 0.3:
        head += [b"%s: %s" % pair for pair in draw.sample(_ODD_HEADERS, draw.choice((1, 1, 3)))]
    return draw.choice(_FRAMES)(draw, head, raw) if draw.random() < 0.1 else _frame(draw, head, raw)


# -- values


def _mangle(draw: random.Random, body: Any) -> Any:
    """A copy with one to three places that hold something else, nothing, or more."""
    body = json.loads(json.dumps(body))
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = list(_find_places(body))
        if not places or draw.random() < 0.05:
            return _draw_odd(draw)
        holder, key = draw.choice(places)
        chance = draw.random()
        if chance < 0.15:
            del holder[key]
        elif chance < 0.25 and isinstance(holder, dict):
            holder[draw.choice(("model", "user", "stream", "n", "\ud83d", "x" * 500, "metadata"))] = _draw_odd(draw)
        elif chance < 0.3:
            holder[key] = [holder[key]] * draw.choice((1, 50))
        else:
            holder[key] = _draw_odd(draw)
    return body


def _draw_odd(draw: random.Random) -> Any:
    return copy.deepcopy(draw.choice(_ODD_VALUES))


def _find_places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        yield value, key
        yield from _find_places(inner)


def _spell(draw: random.Random, value: Any) -> bytes:
    chance = draw.random()
    if chance < 0.05:
        return json.dumps(value).encode("utf-16")
    if chance < 0.1:
        return b"\xef\xbb\xbf" + json.dumps(value).encode()
    if chance < 0.2:
        return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")  # which is no UTF-8
    return json.dumps(value, indent=draw.choice((None, None, 1))).encode()


# -- bytes


def _cut(draw: random.Random, raw: bytes) -> bytes:
    return raw[: draw.randrange(len(raw) + 1)]


def _poke(draw: random.Random, raw: bytes) -> bytes:
    place = draw.randrange(len(raw) + 1)
    odd = (
        b"\0",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\\u0000",
        b"\\x",
        b"}",
        b"]",
        b'"',
        b"/*",
        b",",
        b"\x1a",
    )
    return raw[:place] + draw.choice(odd) + raw[place + draw.choice((0, 1)) :]


def _double(draw: random.Random, raw: bytes) -> bytes:
    """Every key twice, the second time with something else."""
    return raw.replace(b"{", b'{"model": 1, "user": [], "metadata": {"a": 1, "a": 2}, ', draw.choice((1, 3)))


def _deepen(draw: random.Random, raw: bytes) -> bytes:
    depth = draw.choice((100, 253, 254, 255, 1000, 1024, 1025, 100_000))
    opened, closed = draw.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opened * depth + b"1" + closed * draw.choice((depth, depth, 0))
    return deep if draw.random() < 0.3 else raw.replace(b"{", b'{"metadata": ' + deep + b",", 1)


def _enlarge(draw: random.Random, raw: bytes) -> bytes:
    number = draw.choice(
        (b"9" * 5000, b"1e99999", b"-1e-99999", b"0." + b"0" * 5000 + b"1", b"NaN", b"Infinity", b"-", b"01")
    )
    return raw.replace(b"1", number, 1) if b"1" in raw else b'{"a": ' + number + b"}"


def _swap_quotes(draw: random.Random, raw: bytes) -> bytes:
    return raw.replace(b'"', b"'")


def _noise(draw: random.Random, raw: bytes) -> bytes:
    return draw.randbytes(draw.choice((1, 64, 4096)))


_BREAKS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _cut, _cut, _poke, _poke, _poke, _double, _deepen, _enlarge, _swap_quotes, _noise
)  # fmt: skip


# -- frames: how the body's end is told


def _frame(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    return b"\r\n".join([*head, b"content-length: %d" % len(raw), b"", raw])


def _frame_chunked(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    cut = draw.randrange(len(raw) + 1)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (raw[:cut], raw[cut:]) if part)
    return b"\r\n".join([*head, b"transfer-encoding: chunked", b"", chunks + b"0\r\n\r\n"])


def _frame_bad_chunks(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    size = draw.choice((b"zz", b"-5", b"ffffffffffffffffff", b"0x5", b"5 5", b""))
    return b"\r\n".join([*head, b"transfer-encoding: chunked", b"", size + b"\r\n" + raw + b"\r\n0\r\n\r\n"])


def _frame_short(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    """The body goes on after its end: the rest is read as the next request."""
    return b"\r\n".join([*head, b"content-length: %d" % draw.randrange(len(raw) + 1), b"", raw])


def _frame_long(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    """The body never comes to the end that was told."""
    return b"\r\n".join([*head, b"content-length: %d" % (len(raw) + draw.choice((1, 10_000, 2**40))), b"", raw])


def _frame_odd_length(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    length = draw.choice((b"-1", b"+5", b"0x10", b"1e3", b"99999999999999999999", b"5, 5", b"", b"\xff"))
    return b"\r\n".join([*head, b"content-length: " + length, b"", raw])


def _frame_packed(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    packed = gzip.compress(raw) if draw.random() < 0.7 else raw
    return _frame(draw, [*head, b"content-encoding: " + draw.choice((b"gzip", b"br", b"identity", b"\xff"))], packed)


def _frame_none(draw: random.Random, head: list[bytes], raw: bytes) -> bytes:
    return b"\r\n".join([*head, b"", raw])


_FRAMES: tuple[Callable[[random.Random, list[bytes], bytes], bytes], ...] = (
    _frame_chunked, _frame_chunked, _frame_bad_chunks, _frame_short, _frame_long, _frame_odd_length, _frame_packed,
    _frame_none,
)  # fmt: skip
