"""Requests that two HTTP servers in a row could read differently. Each holds a second one, `/echo?smuggled`, that
neither the endpoint nor what stands behind it may ever see as a request; of the first, one or none.

The set follows RFC 9112, section 11.2 (request smuggling) and the variants of "HTTP Desync Attacks" (Kettle 2019).
"""

from __future__ import annotations

SECOND = b"GET /echo?smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
END = b"0\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked"


def post(*fields: bytes, body: bytes = END, version: bytes = b"1.1") -> bytes:
    """A request with these fields and bytes after its head, and the second one behind it."""
    return b"\r\n".join([b"POST /echo HTTP/" + version, b"host: a", *fields, b"", body + SECOND])


def get(line: bytes, *fields: bytes) -> bytes:
    """A request without a body, and the second one behind it."""
    return b"\r\n".join([line, *fields, b"", SECOND])


_SIZE = len(SECOND)

SMUGGLED = {
    "CL.TE": post(b"content-length: %d" % (5 + _SIZE), CHUNKED),
    "TE.CL": post(CHUNKED, b"content-length: 4", body=b"%x\r\n" % _SIZE + SECOND + b"\r\n" + END),
    "TE xchunked": post(b"transfer-encoding: xchunked"),
    "TE space before colon": post(b"transfer-encoding : chunked"),
    "TE chunked, then identity": post(b"transfer-encoding:\tchunked, identity"),
    "TE twice": post(CHUNKED, b"transfer-encoding: identity"),
    "TE identity": post(b"transfer-encoding: identity", b"content-length: 5"),
    "TE quoted": post(b'transfer-encoding: "chunked"'),
    "TE vertical tab": post(b"transfer-encoding: \x0bchunked"),
    "TE behind a bare CR": post(b"x: y\rtransfer-encoding: chunked"),
    "TE behind a bare LF": post(b"x: y\ntransfer-encoding: chunked", b"content-length: 0", body=b""),
    "TE in HTTP/1.0": post(CHUNKED, b"content-length: 3", version=b"1.0"),
    "TE with NUL in its name": post(b"transfer-encoding\x00: chunked"),
    "TE with NUL in its value": post(b"transfer-encoding: chunked\x00"),
    "CL twice": post(b"content-length: 0", b"content-length: %d" % _SIZE, body=b""),
    "CL list": post(b"content-length: 0, %d" % _SIZE, body=b""),
    "CL plus": post(b"content-length: +0", body=b""),
    "CL minus": post(b"content-length: -1", body=b""),
    "CL hex": post(b"content-length: 0x0", body=b""),
    "CL beyond 64 bits": post(b"content-length: 18446744073709551616", body=b""),
    "CL underscore": post(b"content_length: 5", b"content-length: 4_2", body=b""),
    "obs-fold": post(b"x: y", b" content-length: 5", b"transfer-encoding:", b" chunked"),
    "bare LF": b"POST /echo HTTP/1.1\nhost: a\ncontent-length: 0\ntransfer-encoding: chunked\n\n0\n\n" + SECOND,
    "bare CR": b"POST /echo HTTP/1.1\r\nhost: a\rcontent-length: 0\r\r\r" + SECOND,
    "space before a field": get(b"GET /echo HTTP/1.1", b" host: a"),
    "chunk size with garbage": post(CHUNKED, body=b"0xyz\r\n\r\n"),
    "chunk size with 0x": post(CHUNKED, body=b"0x5\r\nabcde\r\n" + END),
    "chunk size negative": post(CHUNKED, body=b"-1\r\n\r\n"),
    "chunk size of 17 digits": post(CHUNKED, body=b"10000000000000000\r\n\r\n"),
    "chunk longer than its size": post(CHUNKED, body=b"3\r\nabcdef\r\n" + END),
    "chunk with its end missing": post(CHUNKED, body=b"5\r\nabcdeXX" + END),
    "chunk extension with LF": post(CHUNKED, body=b"5;a=\nb\r\nabcde\r\n" + END),
    "chunk ended by LF": post(CHUNKED, body=b"5\nabcde\n0\n\n"),
    "no version": get(b"GET /echo"),
    "other version": get(b"GET /echo HTTP/1.2", b"host: a"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECOND,
    "space in the target": get(b"GET /echo /x HTTP/1.1", b"host: a"),
    "lower case method": get(b"get /echo HTTP/1.1", b"host: a"),
    "no host": get(b"GET /echo HTTP/1.1"),
    "host twice": get(b"GET /echo HTTP/1.1", b"host: a", b"host: b"),
    "authorization twice": get(
        b"GET /echo HTTP/1.1", b"host: a", b"authorization: Bearer x", b"authorization: Bearer y"
    ),
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "request after close": get(b"GET /echo HTTP/1.1", b"host: a", b"connection: close"),
    "request after an upgrade": get(b"GET /echo HTTP/1.1", b"host: a", b"connection: upgrade", b"upgrade: websocket"),
    "request after an upgrade to h2c": post(
        b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"content-length: 2", body=b"ab"
    ),
    "CONNECT": get(b"CONNECT a:443 HTTP/1.1", b"host: a"),
}
