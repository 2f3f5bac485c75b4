"""What clients send, byte by byte, and what must come of it: the replies, and what the application saw.

Each is followed by `LAST` on the same connection: it is answered where the connection stays open, and mustn't run where
it was refused. `SMUGGLED` stands in bodies and behind refusals; nothing may ever run it.
"""

from __future__ import annotations

from dataclasses import dataclass

LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
LENGTH = f"Content-Length: {len(SMUGGLED)}"
BY_CHUNKS = "Transfer-Encoding: chunked"

Seen = tuple[str, str, bytes]
"""Method, path and body of a request as the application got it."""


@dataclass(frozen=True)
class Raw:
    name: str
    sent: bytes
    statuses: tuple[int, ...]
    seen: tuple[Seen, ...] = ()
    refused: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def all_sent(self) -> bytes:
        return self.sent + (SMUGGLED if self.refused else b"") + LAST

    @property
    def all_statuses(self) -> list[int]:
        return [*self.statuses] if self.refused else [*self.statuses, 200]

    @property
    def all_seen(self) -> list[Seen]:
        return [*self.seen] if self.refused else [*self.seen, ("GET", "/last", b"")]


def head(*lines: str, start: str = "POST /echo HTTP/1.1", host: str | None = "Host: x") -> bytes:
    named = [line for line in (start, host, *lines) if line is not None]
    return ("\r\n".join(named) + "\r\n\r\n").encode("latin-1")


def _posts(name: str, sent: bytes, times: int = 1, method: str = "POST") -> Raw:
    """Requests whose bodies are the smuggled one."""
    return Raw(name, sent, (200,) * times, ((method, "/echo", SMUGGLED),) * times)


def _gets(name: str, sent: bytes, times: int = 1) -> Raw:
    return Raw(name, sent, (200,) * times, (("GET", "/echo", b""),) * times)


def _refused(name: str, sent: bytes, status: int = 400) -> Raw:
    return Raw(name, sent, (status,), refused=True)


GET = head(start="GET /echo HTTP/1.1")
POST = head(LENGTH) + SMUGGLED
READ_ONCE: tuple[Seen, ...] = (("POST", "/echo", SMUGGLED),)

UPGRADES = {
    "h2c": ("Connection: Upgrade", "Upgrade: h2c"),
    "h2c by curl": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIA"),
    "websocket": ("Connection: keep-alive, upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "in two lines": ("Connection: keep-alive", "Connection: UPGRADE", "Upgrade: h2c", "Upgrade: tls/1.0, foo"),
    "without Connection": ("Upgrade: h2c",),
    "without Upgrade": ("Connection: Upgrade",),
}
H2C = UPGRADES["h2c"]


def _upgrades(name: str, lines: tuple[str, ...]) -> list[Raw]:
    return [
        _posts(f"upgrade {name}", head(*lines, LENGTH) + SMUGGLED),
        _posts(f"upgrade {name}, length first", head(LENGTH, *lines) + SMUGGLED),
        _posts(f"upgrade {name}, chunked", head(*lines, BY_CHUNKS) + CHUNKED),
        _posts(f"upgrade {name}, Expect", head(*lines, LENGTH, "Expect: 100-continue") + SMUGGLED),
        _gets(f"upgrade {name}, GET", head(*lines, start="GET /echo HTTP/1.1")),
    ]


READ = [
    *(case for name, lines in UPGRADES.items() for case in _upgrades(name, lines)),
    _posts("upgrades in a row", (head(*H2C, LENGTH) + SMUGGLED) * 3, 3),
    _posts("an upgrade after a request", POST + head(*H2C, LENGTH) + SMUGGLED + POST, 3),
    _posts("an upgrade in trailers", head(BY_CHUNKS) + CHUNKED[:-2] + b"Upgrade: h2c\r\n\r\n" + POST, 2),
    _posts("length", POST),
    _posts("length with spaces around it", head(f"Content-Length: \t {len(SMUGGLED)} \t") + SMUGGLED),
    _posts("length with zeros before it", head(f"Content-Length: 000{len(SMUGGLED)}") + SMUGGLED),
    _posts("length of the most digits", head(f"Content-Length: {len(SMUGGLED):019d}") + SMUGGLED),
    _posts("chunked", head(BY_CHUNKS) + CHUNKED),
    _posts("chunked in capitals", head("TRANSFER-ENCODING: CHUNKED ") + CHUNKED),
    _posts(
        "extensions of chunks",
        head(BY_CHUNKS) + b'%x;a;b=c;d="e\\"f;"\r\n%s\r\n00;x=y\r\n\r\n' % (len(SMUGGLED), SMUGGLED),
    ),
    _posts(
        "trailers named like headers",
        head(BY_CHUNKS) + CHUNKED[:-2] + b"Host: evil\r\nAuthorization: Bearer t\r\nExpect: x\r\n\r\n",
    ),
    *(
        _posts(f"{method} with a body", head(LENGTH, start=f"{method} /echo HTTP/1.1") + SMUGGLED, method=method)
        for method in ("GET", "DELETE", "PUT", "PATCH")
    ),
    _posts("Expect twice", head(LENGTH, "Expect: 100-continue", "Expect: 100-Continue") + SMUGGLED),
    _gets("pipelined", GET * 5, 5),
    _gets("empty lines first", b"\r\n\r\n" + GET),
    _gets("an address as target", head(start="GET HTTP://other.example:81/echo HTTP/1.1")),
    _gets("host with a port", head(start="GET /echo HTTP/1.1", host="Host: [::1]:8000")),
    _gets("host with the longest port", head(start="GET /echo HTTP/1.1", host="Host: my_host.example.:65535")),
    _gets("a value of bytes beyond ASCII", head("X: \xff\x80", start="GET /echo HTTP/1.1")),
    Raw("an address without path", head(start="GET http://other.example HTTP/1.1"), (404,), (("GET", "/", b""),)),
    Raw("asterisk", head(start="OPTIONS * HTTP/1.1"), (404,), (("OPTIONS", "*", b""),)),
    Raw("a reply before the body", head(LENGTH, start="POST /early HTTP/1.1") + SMUGGLED, (401,)),
]
"""Requests that are read as they are meant."""

_BAD_LINES = {
    "TE with CL": (LENGTH, BY_CHUNKS),
    "TE before CL": (BY_CHUNKS, LENGTH),
    "TE with CL, odd case": ("tRANSFER-eNCODING:chunked", "content-LENGTH:0"),
    "TE gzip": ("Transfer-Encoding: gzip",),
    "TE gzip, chunked": ("Transfer-Encoding: gzip, chunked",),
    "TE chunked, identity": ("Transfer-Encoding: chunked, identity",),
    "TE chunked, chunked": ("Transfer-Encoding: chunked, chunked",),
    "TE identity": ("Transfer-Encoding: identity",),
    "TE xchunked": ("Transfer-Encoding: xchunked",),
    "TE chunked;q=1": ("Transfer-Encoding: chunked;q=1",),
    "TE quoted": ('Transfer-Encoding: "chunked"',),
    "TE twice": (BY_CHUNKS, BY_CHUNKS),
    "TE twice, identity": ("Transfer-Encoding: identity", BY_CHUNKS),
    "TE empty": ("Transfer-Encoding:",),
    "TE after a vertical tab": ("Transfer-Encoding: \x0bchunked",),
    "TE, space before the colon": ("Transfer-Encoding : chunked",),
    "TE, tab before the colon": ("Transfer-Encoding\t: chunked",),
    "TE folded": ("Transfer-Encoding:", " chunked"),
    "CL list, same": ("Content-Length: 5, 5",),
    "CL list": ("Content-Length: 5,6",),
    "CL twice, same": ("Content-Length: 5", "Content-Length: 5"),
    "CL twice": ("Content-Length: 5", "Content-Length: 6"),
    "CL +": ("Content-Length: +5",),
    "CL -": ("Content-Length: -5",),
    "CL with a space in it": ("Content-Length: 1 5",),
    "CL hexadecimal": ("Content-Length: 0x5",),
    "CL with underscore": ("Content-Length: 1_0",),
    "CL fraction": ("Content-Length: 5.0",),
    "CL huge": ("Content-Length: " + "9" * 30,),
    "CL one too large": (f"Content-Length: {2**64}",),
    "CL of one digit too many": (f"Content-Length: {len(SMUGGLED):020d}",),
    "CL endless zeros": ("Content-Length: " + "0" * 5000 + "5",),
    "CL empty": ("Content-Length:",),
    "CL of blanks": ("Content-Length:   ",),
    "CL, other digits": ("Content-Length: \xb2",),
    "CL folded": ("Content-Length:", " 5"),
    "a folded line": ("X: a", " b"),
    "a bare LF": ("X: a\nContent-Length: 5",),
    "a bare CR": ("X: a\rContent-Length: 5",),
    "NUL in a value": ("X: a\0b",),
    "NUL in a name": ("X\0: a",),
    "a control in a value": ("X: a\x01b",),
    "a line without colon": ("X",),
    "a line without name": (": a",),
    "a name in brackets": ("[X]: a",),
    "two Hosts": ("Host: x",),
    "two Hosts, other": ("Host: y",),
}

_BAD_HEADS = {
    "no Host": head(host=None),
    "Host empty": head(host="Host:"),
    "Host with userinfo": head(host="Host: me@x"),
    "Host with path": head(host="Host: x/y"),
    "Host list": head(host="Host: x, y"),
    "Host with odd port": head(host="Host: x:8o"),
    "Host with a long port": head(host="Host: x:123456"),
    "Host beyond ASCII": head(host="Host: \xfc"),
    "a space before the first header": head(host=" Host: x"),
    "HTTP/0.9": b"GET /echo\r\n\r\n",
    "HTTP/0.9, said": head(start="GET /echo HTTP/0.9"),
    "HTTP/1.2": head(start="GET /echo HTTP/1.2"),
    "HTTP/2.0": head(start="GET /echo HTTP/2.0"),
    "HTTP/11": head(start="GET /echo HTTP/11"),
    "http in lower case": head(start="GET /echo http/1.1"),
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "CONNECT": head(start="CONNECT x:443 HTTP/1.1", host="Host: x:443"),
    "CONNECT with a body": head(LENGTH, start="CONNECT x:443 HTTP/1.1", host="Host: x:443"),
    "HTTP/1.0 with TE": head(BY_CHUNKS, start="POST /echo HTTP/1.0") + CHUNKED,
    "HTTP/1.0 with TE and upgrade": head(*H2C, BY_CHUNKS, start="POST /echo HTTP/1.0") + CHUNKED,
    "upgrade with TE and CL": head(*H2C, BY_CHUNKS, LENGTH),
    "upgrade with TE gzip": head(*H2C, "Transfer-Encoding: gzip"),
    "upgrade without Host": head(*H2C, LENGTH, host=None),
    "only LF": b"GET /echo HTTP/1.1\nHost: x\n\n",
    "an odd method": head(start="G\xe9T /echo HTTP/1.1"),
    "a method in lower case": head(start="get /echo HTTP/1.1"),
    "a method nobody knows": head(start="SMUGGLE /echo HTTP/1.1"),
    "tabs in the first line": head(start="GET\t/echo\tHTTP/1.1"),
    "more in the first line": head(start="GET /echo HTTP/1.1 x"),
    "a target without slash": head(start="GET echo HTTP/1.1"),
    "a target with fragment": head(start="GET /echo#x HTTP/1.1"),
    "a target beyond ASCII": head(start="GET /\xfc HTTP/1.1"),
    "an address with userinfo": head(start="GET http://me:me@x/echo HTTP/1.1"),
    "an address of ftp": head(start="GET ftp://x/echo HTTP/1.1"),
    "asterisk for GET": head(start="GET * HTTP/1.1"),
}

_BAD_CHUNKS = {
    "size -": b"-5\r\nhello\r\n0\r\n\r\n",
    "size +": b"+5\r\nhello\r\n0\r\n\r\n",
    "size 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size huge": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "size empty": b"\r\nhello\r\n0\r\n\r\n",
    "a space after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nhello\r\n0\r\n\r\n",
    "LF in a quoted extension": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "no line end after the data": b"5\r\nhello0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "more data than said": b"5\r\nhello there\r\n0\r\n\r\n",
    "Content-Length as trailer": CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n",
    "Transfer-Encoding as trailer": CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
    "Connection as trailer": CHUNKED[:-2] + b"Connection: close\r\n\r\n",
    "a folded trailer": CHUNKED[:-2] + b"X: a\r\n b\r\n\r\n",
    "LF after the last chunk": CHUNKED[:-4] + b"\n\n",
}

REFUSED = [
    *(_refused(name, head(*lines) + CHUNKED) for name, lines in _BAD_LINES.items()),
    *(_refused(name, sent) for name, sent in _BAD_HEADS.items()),
    *(_refused(f"chunks, {name}", head(BY_CHUNKS) + sent) for name, sent in _BAD_CHUNKS.items()),
    _refused("another expectation", head(LENGTH, "Expect: 200-ok") + SMUGGLED, 417),
    _refused("one expectation more", head(LENGTH, "Expect: 100-continue, x") + SMUGGLED, 417),
    Raw("after good requests", POST * 2 + head(host=None), (200, 200, 400), READ_ONCE * 2, refused=True),
    Raw("chunks after a good request", POST + head(BY_CHUNKS) + b"-5\r\n", (200, 400), READ_ONCE, refused=True),
    Raw("behind one that closes", head("Connection: close", LENGTH) + SMUGGLED, (200,), READ_ONCE, refused=True),
]
"""Requests that are refused, and whatever follows on their connection with them."""
