"""Signatures of callback requests: that of awa 0.5, and one of the whole request.

The signature of awa 0.5 (header ``X-Awa-Signature``) is the hex BLAKE3 keyed hash of the callback
id as it is in the URL, with a 32-byte key.  It proves that the sender was given the id, but covers
neither body, action nor time, and can be sent again.

A request signature (header ``X-Awa-Request-Signature``) is ``t=<unix seconds>,n=<32 hex>,s=<hex>``
where s is the BLAKE3 keyed hash of these lines, joined by newlines, then the raw body::

    awa-request-v1
    <t>
    <n>
    <action: complete, fail, resume or heartbeat>
    <callback id>

It is valid for 300 s, and once: see ``AsyncClient.verify_callback_request``.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from awa_lib._sql import sql
from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = [
    "REQUEST_HEADER",
    "SIGNATURE_HEADER",
    "sign_callback",
    "sign_callback_request",
    "verify_callback_request",
    "verify_callback_signature",
]

SIGNATURE_HEADER: Final = "X-Awa-Signature"
REQUEST_HEADER: Final = "X-Awa-Request-Signature"
_KEY_BYTES: Final = 32
_VALID_SECONDS: Final = 300
_PARTS: Final = re.compile(r"t=(\d{1,12}),n=([0-9a-f]{32}),s=([0-9a-f]{64})")


def secret_key(secret: bytes | str) -> bytes:
    """Return the 32 bytes of a secret, given as bytes or as 64 hex digits.

    Raises ValidationError, without the secret in its text.
    """
    key: object = secret
    if isinstance(secret, str):
        try:
            key = bytes.fromhex(secret)
        except ValueError:
            raise ValidationError("the callback secret is not 64 hex digits") from None
    if not isinstance(key, bytes) or len(key) != _KEY_BYTES:
        size = len(key) if isinstance(key, bytes) else type(secret).__name__
        raise ValidationError(
            f"the callback secret must be {_KEY_BYTES} bytes, or {2 * _KEY_BYTES} hex digits: "
            f"got {size}"
        )
    return key


def sign_callback(secret: bytes | str, callback_id: str) -> str:
    """Return the signature of awa 0.5: 64 hex digits, over the id as it is in the URL.

    ``secret`` is 32 bytes, or 64 hex digits.  Raises ValidationError.
    """
    return _mac(secret_key(secret), _id_bytes(callback_id))


def verify_callback_signature(secret: bytes | str, callback_id: str, signature: str | None) -> bool:
    """Return whether a signature of awa 0.5 is valid, in constant time; ignores case.

    A missing header (None) is not valid.  Raises ValidationError for a bad secret.
    """
    expected = sign_callback(secret, callback_id)
    return isinstance(signature, str) and _equal(expected, signature.lower())


def sign_callback_request(
    secret: bytes | str, callback_id: str, action: str, body: bytes, *, now: float | None = None
) -> str:
    """Return the value of the ``X-Awa-Request-Signature`` header for one request.

    ``body`` is exactly what will be sent; ``now`` is in epoch seconds.  Raises
    ValidationError.
    """
    stamp = str(int(time.time() if now is None else now))
    nonce = secrets.token_hex(16)
    mac = _mac(secret_key(secret), _covered(stamp, nonce, action, callback_id, body))
    return f"t={stamp},n={nonce},s={mac}"


def verify_callback_request(
    secret: bytes | str, callback_id: str, action: str, body: bytes, signature: str | None
) -> Op[bool]:
    """Return whether a request signature is valid, in time, and used for the first time.

    A valid signature is stored in awa.callback_signatures, so that the fleet accepts it once.
    ``body`` is the raw body as received; a missing header (None) is not valid.  Raises
    ValidationError for a bad secret, or a value of another type.
    """
    checked = yield from check_callback_request(secret, callback_id, action, body, signature)
    return checked == "first"


def check_callback_request(
    secret: bytes | str, callback_id: str, action: str, body: bytes, signature: str | None
) -> Op[Literal["first", "used", "invalid"]]:
    """Check a request signature as ``verify_callback_request`` does; tell used from not valid."""
    key = secret_key(secret)
    parts = _PARTS.fullmatch(signature) if isinstance(signature, str) else None
    stamp, nonce, given = parts.groups() if parts else ("", "", "")
    expected = _mac(key, _covered(stamp, nonce, action, callback_id, body))
    if parts is None:
        return "invalid"
    if not _equal(expected, given) or abs(time.time() - int(stamp)) > _VALID_SECONDS:
        return "invalid"
    # Kept for twice the time, for senders whose clock is ahead.
    rows = yield sql.callbacks(
        "use_signature", signature=bytes.fromhex(given), keep_seconds=2 * _VALID_SECONDS
    )
    return "first" if rows else "used"


def _covered(stamp: str, nonce: str, action: str, callback_id: str, body: bytes) -> bytes:
    if not isinstance(action, str):
        raise ValidationError(f"action must be text: {action!r}")
    if not isinstance(body, bytes):
        raise ValidationError(
            f"body must be bytes, got {type(body).__name__}",
            why="the signature covers the exact bytes of the body",
        )
    head = f"awa-request-v1\n{stamp}\n{nonce}\n{action}\n"
    return _bytes(head) + _id_bytes(callback_id) + b"\n" + body


def _id_bytes(callback_id: str) -> bytes:
    if not isinstance(callback_id, str):
        raise ValidationError(f"callback_id must be text: {callback_id!r}")
    return _bytes(callback_id)


def _bytes(text: str) -> bytes:
    # The text of a URL may contain lone surrogates: not valid, but no error.
    return text.encode(errors="surrogatepass")


def _mac(key: bytes, message: bytes) -> str:
    from blake3 import blake3  # 2 ms, not needed to enqueue without unique keys

    mac: Any = blake3(message, key=key)
    return str(mac.hexdigest())


def _equal(expected: str, given: str) -> bool:
    return hmac.compare_digest(_bytes(expected), _bytes(given))
