"""Check the signatures of callback requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from awa_cli.web.problems import Refused
from awa_cli.web.rate_limits import Buckets
from awa_cli.web.raw_check import RawCheck
from awa_lib._sql import atomic
from awa_lib.callbacks.signatures import (
    REQUEST_HEADER,
    SIGNATURE_HEADER,
    check_callback_request,
    verify_callback_signature,
)
from awa_lib.ops.callbacks import find_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_cli.web.settings import Settings
    from awa_lib._sql import Op

__all__ = ["SignatureCheck"]

R = TypeVar("R")


class SignatureCheck:
    """Checks the signatures of callback requests."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.secret
        self._strict = settings.strict
        self._raw = None if settings.verify is None else RawCheck(settings.verify)
        self._failures = Buckets(1, 20)

    def guarded(
        self,
        op: Op[R],
        callback_id: str,
        *,
        action: str,
        body: bytes,
        headers: Mapping[str, str],
        peer: str,
    ) -> Op[R]:
        """Return the op if the signature is valid, or an op that checks it in the database first.

        The signature of a whole request can be used once.  It is marked as used in the
        transaction of the change, so that a request that failed can be sent again.  One that
        answered its callback can be sent again too: nothing is changed then.
        Raises Refused (401, 429).
        """
        if self._secret is None:
            return op
        if (signature := headers.get(REQUEST_HEADER)) is not None:
            check = check_callback_request(self._secret, callback_id, action, body, signature)
            return self._once(check, op, callback_id, peer)
        signature = headers.get(SIGNATURE_HEADER)
        if signature is None or self._strict:
            needed = REQUEST_HEADER if self._strict else SIGNATURE_HEADER
            raise self._refusal(f"missing {needed} header", peer)
        if not verify_callback_signature(self._secret, callback_id, signature):
            raise self._refusal("invalid callback signature", peer)
        return op

    async def require_raw(self, body: bytes, headers: Mapping[str, str], peer: str) -> None:
        """Check a raw callback.  Raises Refused (401, 403, 429, 503)."""
        if self._raw is None:
            raise Refused(
                403,
                "raw callbacks are not accepted",
                "this server does not know how their sender signs them",
                "start it with --verify MODULE:FUNCTION; see docs/guides/callbacks.md",
            )
        if not await self._raw.accepts(body, headers):
            raise self._refusal(
                "invalid signature of a raw callback",
                peer,
                "the function of --verify did not accept it",
                "check the secrets of the sender and of the function; see the log of the server",
            )

    @atomic
    def _once(
        self, check: Op[Literal["first", "used", "invalid"]], op: Op[R], callback_id: str, peer: str
    ) -> Op[R]:
        checked = yield from check
        # An answered callback is never open again, so a replay can only learn of its answer.
        again = checked == "used" and (yield from find_answer(callback_id)) is not None
        if checked != "first" and not again:
            raise self._refusal("invalid callback signature", peer)
        return (yield from op)

    def _refusal(
        self,
        what: str,
        peer: str,
        why: str = "the secret, the id or the body is not what was signed, or the signature is "
        "too old",
        do: str = "sign the request as docs/guides/callbacks.md describes: awa callback sign ID",
    ) -> Refused:
        """Return 401, or 429 after many failures; valid signatures are never limited."""
        if not self._failures.take(peer):
            return Refused(
                429,
                "too many invalid callback signatures",
                what,
                "check the secret that the sender uses",
                {"Retry-After": "1"},
            )
        return Refused(401, what, why, do)
