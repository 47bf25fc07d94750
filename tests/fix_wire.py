"""As much of PostgreSQL's protocol as a proxy needs to know which statement an answer is for."""

from __future__ import annotations

from collections.abc import Iterator

_ENCRYPTION = {80_877_103, 80_877_104}
"""Requests for TLS and GSSAPI, which are answered with one byte."""


class Frames:
    """Cuts a stream into messages: their kind and their body."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the messages that are complete."""
        data = self._rest + data
        begin = 0
        while len(data) >= begin + 5:
            end = begin + 1 + int.from_bytes(data[begin + 1 : begin + 5], "big")
            if len(data) < end:
                break
            yield data[begin : begin + 1], data[begin + 5 : end]
            begin = end
        self._rest = data[begin:]


class Questions:
    """Reads what a client sends, and knows the text of each statement that it executes."""

    def __init__(self) -> None:
        self._start = b""
        self._started = False
        self._frames = Frames()
        self._texts: dict[bytes, bytes] = {}

    def read(self, data: bytes) -> list[bytes]:
        """Return the texts of the statements that are executed by this data."""
        if not self._started:
            data = self._after_start(data)
        return [text for kind, body in self._frames.read(data) if (text := self._text(kind, body))]

    def _after_start(self, data: bytes) -> bytes:
        self._start += data
        while len(self._start) >= 8:
            size = int.from_bytes(self._start[:4], "big")
            if len(self._start) < size:
                break
            code = int.from_bytes(self._start[4:8], "big")
            self._start = self._start[size:]
            if code not in _ENCRYPTION:
                self._started = True
                return self._start
        return b""

    def _text(self, kind: bytes, body: bytes) -> bytes | None:
        if kind == b"Q":
            return body.rstrip(b"\0")
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._texts[name] = text
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            return self._texts.get(name)
        return None


class Answer:
    """Collects the answer to a statement until the server is ready for the next."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._messages: list[tuple[bytes, bytes]] = []
        self.complete = False
        """The server has done it: what it changed outside a transaction is committed."""

    def read(self, data: bytes) -> None:
        for kind, body in self._frames.read(data):
            self._messages.append((kind, body))
            self.complete = self.complete or kind == b"Z"

    def head(self, part: str) -> bytes:
        """Return a part of the answer: ``nothing``, what is before its ``rows``, or ``half``."""
        messages = [
            kind + (len(body) + 4).to_bytes(4, "big") + body for kind, body in self._messages
        ]
        if part == "rows":
            kinds = [kind for kind, _ in self._messages]
            return b"".join(messages[: kinds.index(b"D") if b"D" in kinds else 0])
        whole = b"".join(messages)
        return whole[: len(whole) // 2] if part == "half" else b""
