"""The blocks of the clients in which a workflow is built and inserted."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from awa_lib.enqueue.workflows import Workflow
from awa_lib.ops import workflows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from awa_lib._sql import Op
    from awa_lib.enqueue.kinds import Kinds
    from awa_lib.ops.workflows import OnTaken

__all__ = ["AsyncWorkflows", "Workflows"]

R = TypeVar("R")


class Workflows:
    """Blocking; needs ``_run(op)`` and ``kinds``."""

    kinds: Kinds

    def _run(self, op: Op[R], /) -> R:
        raise NotImplementedError

    @contextmanager
    def workflow(
        self, name: str, *, key: str | None = None, on_conflict: OnTaken = "raise"
    ) -> Iterator[Workflow]:
        """Build a workflow in a block; insert it whole when the block ends without an error.

        ``flow.id`` is its id then.  With ``key``, at most one workflow of this name and key
        exists: another raises Conflict at the end of the block, or, with ``on_conflict="keep"``,
        is not inserted, and ``flow.created`` is False.  Raises as ``Workflow.add``.
        """
        flow = Workflow(name, key=key, kinds=self.kinds)
        with closing(flow):
            yield flow
        self._run(workflows.insert_workflow(flow, on_conflict=on_conflict))

    @contextmanager
    def extend_workflow(self, workflow_id: int, *, key: str | None = None) -> Iterator[Workflow]:
        """Add tasks to an open workflow in a block, all or none.

        Names in ``after`` may be those of its tasks.  With ``key``, a workflow is extended once:
        another block with the same key adds nothing, and ``flow.created`` is False.  A handler that
        extends its own workflow needs one, because its next attempt extends again.
        Raises WorkflowNotFound, Conflict when it has ended, ValidationError.
        """
        flow = Workflow(str(workflow_id), key=key, kinds=self.kinds)
        with closing(flow):
            yield flow
        self._run(workflows.extend_workflow(workflow_id, flow))


class AsyncWorkflows:
    """Awaited; needs ``_run(op)`` and ``kinds``."""

    kinds: Kinds

    async def _run(self, op: Op[R], /) -> R:
        raise NotImplementedError

    @asynccontextmanager
    async def workflow(
        self, name: str, *, key: str | None = None, on_conflict: OnTaken = "raise"
    ) -> AsyncIterator[Workflow]:
        """Build a workflow in a block, see ``Client.workflow``."""
        flow = Workflow(name, key=key, kinds=self.kinds)
        with closing(flow):
            yield flow
        await self._run(workflows.insert_workflow(flow, on_conflict=on_conflict))

    @asynccontextmanager
    async def extend_workflow(
        self, workflow_id: int, *, key: str | None = None
    ) -> AsyncIterator[Workflow]:
        """Add tasks to an open workflow, see ``Client.extend_workflow``."""
        flow = Workflow(str(workflow_id), key=key, kinds=self.kinds)
        with closing(flow):
            yield flow
        await self._run(workflows.extend_workflow(workflow_id, flow))
