"""Jobs for COPY, in blocks: a block is encoded while the server works on the one before."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from awa_lib.codec import pgtext
from awa_lib.codec.encode import encode
from awa_lib.enqueue.new_jobs import NewJobs, alike, check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from typing import Unpack

    from awa_lib.enqueue.kinds import Kinds
    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.models import Job

__all__ = ["Blocks"]

# The server is idle while the first block is encoded, and each block is a call of the driver.
_BLOCK: Final = 500


class Blocks:
    """Checked jobs.  Of jobs that share type and options, only the first block is encoded yet."""

    def __init__(
        self, given: Sequence[Any], *, kinds: Kinds, **options: Unpack[InsertOptions]
    ) -> None:
        first = check(given[:_BLOCK] if alike(given) else given, kinds=kinds, **options)
        if first.unique_keys and len(first.args) < len(given):
            first = check(given, kinds=kinds, **options)
        self._new = first
        self._given = given
        self.jobs: list[Job] = []
        self.error: Exception | None = None

    def __len__(self) -> int:
        return len(self._given)

    @property
    def first(self) -> NewJobs:
        """The jobs that are encoded."""
        return self._new

    @property
    def copied(self) -> bool:
        """Whether COPY can insert them: none has a unique key or options of its own."""
        return self._new.own is None and not self._new.unique_keys

    def all(self) -> NewJobs:
        """Encode the other jobs at once, and return all.  Raises as ``check``."""
        new = self._new
        new.args.extend(map(encode, self._given[len(new.args) :]))
        new.kinds.extend(new.kinds[:1] * (len(new.args) - len(new.kinds)))
        return new

    def text(self, ids: Sequence[int], now: datetime, *, keep: bool) -> Iterator[str]:
        """Yield COPY rows in blocks, and ``keep`` the jobs.

        After an ``error`` the text ends.  Raised here, it would be told to the server.
        """
        try:
            yield from self._rows(ids, self._new.options.starts(now))
            if keep:
                # The server still works on the last blocks.
                self.jobs = self._new.jobs(ids, now)
        except Exception as error:  # noqa: BLE001 - raised by the op
            self.error = error

    def _rows(self, ids: Sequence[int], run_at: datetime) -> Iterator[str]:
        new = self._new
        before = {
            kind: f"\t{pgtext.copy_field(kind)}\t{pgtext.copy_field(new.options.queue)}\t"
            for kind in set(new.kinds)
        }
        after = _after(new, run_at)
        rest = iter(self._given[len(new.args) :])
        for start in range(0, len(ids), _BLOCK):
            end = start + _BLOCK
            new.args.extend(map(encode, islice(rest, max(0, end - len(new.args)))))
            new.kinds.extend(new.kinds[:1] * (len(new.args) - len(new.kinds)))
            yield "".join(
                [
                    f"{job_id}{before[kind]}{pgtext.copy_json(args)}{after}"
                    for job_id, kind, args in zip(
                        ids[start:end], new.kinds[start:end], new.args[start:end], strict=True
                    )
                ]
            )


def _after(new: NewJobs, run_at: datetime) -> str:
    options = new.options
    fields = (
        "",
        str(options.priority),
        str(options.max_attempts),
        run_at.isoformat(),
        pgtext.copy_json(options.metadata),
        pgtext.copy_field(pgtext.text_array(options.tags)),
    )
    return "\t".join(fields) + "\n"
