"""What the signals have said, for the test cases."""

from __future__ import annotations

from contextlib import contextmanager

from app.api import task_enqueued, task_finished, task_started


@contextmanager
def signals():
    """Collect (signal, sender, status, is_finished) of every signal."""
    heard = []
    receivers = []
    for name, signal in (
        ("enqueued", task_enqueued),
        ("started", task_started),
        ("finished", task_finished),
    ):

        def receive(sender, task_result, name=name, **_):
            heard.append((name, sender, str(task_result.status)))

        signal.connect(receive)
        receivers.append((signal, receive))
    try:
        yield heard
    finally:
        for signal, receive in receivers:
            signal.disconnect(receive)
