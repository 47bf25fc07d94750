"""Callback requests prove that they come from who was told the callback's id."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from awa_cli.web.problems import Refused
from awa_cli.web.rate_limits import Buckets
from awa_lib._sql import atomic
from awa_lib.callbacks.signatures import (
    REQUEST_HEADER,
    SIGNATURE_HEADER,
    verify_callback_request,
    verify_callback_signature,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_cli.web.settings import Settings
    from awa_lib._sql import Op

__all__ = ["Prover"]

R = TypeVar("R")


class Prover:
    """Checks the signature of callback requests, where a secret is set."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.secret
        self._strict = settings.strict
        self._failures = Buckets(1, 20)

    def prove(
        self,
        op: Op[R],
        callback_id: str,
        action: str,
        body: bytes,
        headers: Mapping[str, str],
        peer: str,
    ) -> Op[R]:
        """Return the op when the signature is right, or bound to the check that needs the database.

        A whole-request signature is used up in the transaction of the change, so that a request
        that failed can be sent again.  Raises Refused (401, 429).
        """
        if self._secret is None:
            return op
        if (signature := headers.get(REQUEST_HEADER)) is not None:
            check = verify_callback_request(self._secret, callback_id, action, body, signature)
            return self._once(check, op, peer)
        signature = headers.get(SIGNATURE_HEADER)
        if signature is None or self._strict:
            wanted = REQUEST_HEADER if self._strict else SIGNATURE_HEADER
            raise self._refusal(f"missing {wanted} header", peer)
        if not verify_callback_signature(self._secret, callback_id, signature):
            raise self._refusal("invalid callback signature", peer)
        return op

    @atomic
    def _once(self, check: Op[bool], op: Op[R], peer: str) -> Op[R]:
        if not (yield from check):
            raise self._refusal("invalid callback signature", peer)
        return (yield from op)

    def _refusal(self, what: str, peer: str) -> Refused:
        """Return the refusal; who sends many wrong ones is told to stop, right ones always pass."""
        if not self._failures.take(peer):
            return Refused(
                429,
                "too many wrong callback signatures",
                what,
                "check the secret of the sender",
                {"Retry-After": "1"},
            )
        return Refused(
            401,
            what,
            "the secret, the id or the body is not what was signed, or it is too old",
            "sign as docs/guides/callbacks.md says: awa callback sign ID",
        )
