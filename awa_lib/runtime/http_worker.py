"""HTTP workers: send jobs to a function behind HTTP, which carries them out.

The request is ``POST`` with a JSON object: job_id, kind, args, attempt, max_attempts, and in async
mode callback_id and (with a base URL) callback_url.  httpx sends it (extra ``http``).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from awa_lib._json import dumps
from awa_lib.callbacks.signatures import (
    REQUEST_HEADER,
    SIGNATURE_HEADER,
    secret_key,
    sign_callback,
    sign_callback_request,
)
from awa_lib.errors import TerminalError, ValidationError
from awa_lib.results import RetryAfter, WaitForCallback

if TYPE_CHECKING:
    import ssl

    import httpx

    from awa_lib.models import Job

__all__ = ["FunctionFailed", "FunctionRefused", "HttpWorker"]

_ERROR_BODY_BYTES: Final = 2_000
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_LONGEST_DELAY_SECONDS: Final = 86_400.0
_RETRY_AFTER_DIGITS: Final = 20
_CONNECT_SECONDS: Final = 10.0
# Limits of DNS.
_LONGEST_LABEL: Final = 63
_LONGEST_HOST: Final = 253


class FunctionFailed(Exception):
    """The function could not be reached or answered with a server error; the job is retried."""


class FunctionRefused(TerminalError):
    """The function refused the job: it fails without a retry."""


@dataclass(kw_only=True)
class HttpWorker:
    """The handler of a kind that sends its jobs to a function."""

    url: str
    mode: str = "async"
    """async: a 2xx answer means accepted, and the function calls back.  sync: it means done."""
    timeout_seconds: float = 30.0
    """Limit of the whole exchange."""
    callback_timeout_seconds: float = 3_600.0
    callback_base_url: str | None = None
    """URL of the callback receiver; without it there is no callback_url."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: bytes | str | None = field(default=None, repr=False)
    """32 bytes or 64 hex digits; signs the requests."""
    verify: bool | str | ssl.SSLContext = True
    """Check of TLS certificates: True, a CA file, an SSLContext, or False for no check."""
    _client: httpx.AsyncClient | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check every field.  Raises ValidationError, whose text never holds the secret."""
        for name in ("url", "callback_base_url"):
            value = getattr(self, name)
            if value is None and name != "url":
                continue
            check_url(name, value)
        if self.mode not in {"async", "sync"}:
            raise ValidationError(f"mode must be 'async' or 'sync', got {self.mode!r}")
        for name in ("timeout_seconds", "callback_timeout_seconds"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:
                raise ValidationError(f"{name} must be a number > 0, got {value!r}")
        if not isinstance(self.headers, Mapping) or not all(
            isinstance(key, str) and isinstance(value, str) and _is_header(key + value)
            for key, value in self.headers.items()
        ):
            raise ValidationError("headers must be a dict of strings of printable ASCII characters")
        self._check_verify()
        if self.secret is not None:
            secret_key(self.secret)

    def _check_verify(self) -> None:
        from ssl import SSLContext  # 16 ms, and only HTTP workers need it

        if not isinstance(self.verify, bool | str | SSLContext):
            raise ValidationError(
                f"verify must be True, False, a CA file or an SSLContext: {self.verify!r}"
            )
        if isinstance(self.verify, str) and not Path(self.verify).is_file():
            raise ValidationError(f"the CA file {self.verify!r} of verify does not exist")

    async def __call__(self, job: Job) -> Any:
        """Send a job.  Raises FunctionFailed or FunctionRefused."""
        body: dict[str, Any] = {
            "job_id": job.id,
            "kind": job.kind,
            "args": job.args,
            "attempt": job.attempt,
            "max_attempts": job.max_attempts,
        }
        headers = {
            **self.headers,
            "Content-Type": "application/json",
            "User-Agent": _agent(),
            "Accept-Encoding": "identity",
        }
        if self.mode == "sync":
            return await self._post(dumps(body).encode(), headers)
        token = await job.register_callback(timeout_seconds=self.callback_timeout_seconds)
        if token.answered:
            # An earlier attempt sent the request, and the function has answered.
            return WaitForCallback(token)
        body["callback_id"] = token.id
        if self.callback_base_url is not None:
            base = self.callback_base_url.rstrip("/")
            body["callback_url"] = f"{base}/api/callbacks/{token.id}/complete"
        content = dumps(body).encode()
        if self.secret is not None:
            headers[SIGNATURE_HEADER] = sign_callback(self.secret, token.id)
            headers[REQUEST_HEADER] = sign_callback_request(
                self.secret, token.id, "dispatch", content
            )
        try:
            return await self._post(content, headers) or WaitForCallback(token)
        except (FunctionFailed, FunctionRefused):
            # A function that has called back is done, whatever its response was.
            if await job.cancel_callback(token):
                raise
            return WaitForCallback(token)

    async def _post(self, content: bytes, headers: Mapping[str, str]) -> RetryAfter | None:
        """Return None for 2xx, RetryAfter for a Retry-After; raise for other answers."""
        import httpx

        answers: list[httpx.Response] = []
        body = bytearray()
        try:
            async with asyncio.timeout(self.timeout_seconds):
                client = await self._open()
                async with client.stream(
                    "POST", self.url, content=content, headers=headers
                ) as response:
                    answers.append(response)
                    if not response.is_success:
                        await _read_start(response, body)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise _not_sent(error) from error
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            # A status is enough: the rest of the body adds nothing.
            if not answers:
                raise self._not_answered(error) from error
        except ValueError as error:  # also of encoding the host name
            raise _not_sent(error) from error
        return _judge(answers[0], body[:_ERROR_BODY_BYTES].decode("utf-8", "replace"))

    def _not_answered(self, error: Exception) -> FunctionFailed:
        if isinstance(error, TimeoutError) and not str(error):
            return FunctionFailed(f"function did not answer within {self.timeout_seconds:g} s")
        return FunctionFailed(f"function not reached: {_plain(error)}")

    async def aclose(self) -> None:
        """Close the connections; the next job opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _open(self) -> httpx.AsyncClient:
        if (client := self._client) is None:
            # In a thread: reading the certificates takes tens of milliseconds.
            made = await asyncio.to_thread(self._make)
            client = self._client = self._client or made  # another task may have been faster
        return client

    def _make(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(
            verify=self.verify,
            timeout=httpx.Timeout(
                self.timeout_seconds, connect=min(self.timeout_seconds, _CONNECT_SECONDS)
            ),
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
        )


def check_url(name: str, value: object) -> None:
    """Raise ValidationError unless this is a URL that requests can be sent to."""
    parts, problem = None, None
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        problem = "it has invalid brackets or characters"
    if parts is not None and parts.scheme in {"http", "https"}:
        problem = _port_problem(parts) or _host_problem(parts.hostname or "")
    elif problem is None:
        # A URL may hold a password.
        shown = "" if parts is not None and "@" in parts.netloc else f", got {value!r}"
        raise ValidationError(f"{name} must be an http or https URL{shown}")
    if problem is not None:
        raise ValidationError(
            f"{name} must be an http or https URL: {problem}",
            hint="for example https://functions.example:8443/resize",
        )


def _port_problem(parts: SplitResult) -> str | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    return "its port must be a number from 1 to 65535" if port == 0 else None


def _host_problem(host: str) -> str | None:
    if not host:
        return "it has no host"
    if ":" in host:
        return None  # urlsplit has read an IPv6 address
    if not host.isprintable() or any(char.isspace() or char in '<>^|%\\`{}"' for char in host):
        return f"the host {host!r} has invalid characters"
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        return f"the host {host!r} cannot be written in DNS: {error}"
    labels = name.removesuffix(".").split(".")
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        return f"each label of the host must have 1 to {_LONGEST_LABEL} characters: {host!r}"
    return (
        None if len(name) <= _LONGEST_HOST else f"the host has more than {_LONGEST_HOST} characters"
    )


def _not_sent(error: Exception) -> FunctionRefused:
    return FunctionRefused(
        f"the request cannot be sent: {_plain(error)}",
        hint="correct the url or the headers of this http_worker",
    )


def _judge(response: httpx.Response, text: str) -> RetryAfter | None:
    status = response.status_code
    if response.is_success:
        return None
    message = f"function returned {status}: {text}"
    if response.is_redirect:
        raise FunctionRefused(
            f"function returned {status}, a redirect to {response.headers.get('location')!r}",
            hint="redirects are not followed: set url to the address of the function",
        )
    if status in _RETRIED_STATUSES or status >= _SERVER_ERROR:
        headers = response.headers
        delay = _delay(headers.get("retry-after", ""), headers.get("date", ""))
        if delay is not None:
            return RetryAfter(delay)
        raise FunctionFailed(message)
    raise FunctionRefused(message)


def _delay(text: str, sent_at: str) -> float | None:
    """Return the delay of a Retry-After, in seconds or a date; None when it is invalid.

    A date is relative to that of the answer: the clock of this host may be wrong.
    """
    if text.isascii() and text.isdecimal():
        return min(float(text[:_RETRY_AFTER_DIGITS]), _LONGEST_DELAY_SECONDS)
    until = _seconds(text)
    if until is None:
        return None
    now = _seconds(sent_at)
    return min(max(until - (time.time() if now is None else now), 0.0), _LONGEST_DELAY_SECONDS)


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


async def _read_start(response: httpx.Response, body: bytearray) -> None:
    """Read the beginning of a body, without decompressing it."""
    async for part in response.aiter_raw():
        body += part
        if len(body) >= _ERROR_BODY_BYTES:
            break


def _is_header(text: str) -> bool:
    return text.isprintable() and text.isascii()


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__


def _agent() -> str:
    try:
        return f"awa-toolkit/{metadata.version('awa-toolkit')}"
    except metadata.PackageNotFoundError:
        return "awa-toolkit"
