"""The verbs of the two clients: one line per verb in each table."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from awa_lib.callbacks.signatures import verify_callback_request
from awa_lib.client.methods import ainserting, averb, inserting, verb
from awa_lib.client.task_results import AsyncTaskResults, TaskResults
from awa_lib.client.workflows import AsyncWorkflows, Workflows
from awa_lib.doctor import doctor
from awa_lib.ops import (
    bulk,
    callbacks,
    cron,
    dead_letters,
    failures,
    inserts,
    jobs,
    policies,
    queues,
    workflow_retries,
    workflows,
)
from awa_lib.reads import bulk as read_bulk
from awa_lib.reads import dead_letters as read_dead_letters
from awa_lib.reads import failures as read_failures
from awa_lib.reads.cron import list_cron_jobs
from awa_lib.reads.job_logs import get_job_logs
from awa_lib.reads.overviews import list_kinds, list_queues
from awa_lib.reads.policies import get_queue_policy, list_queue_policies
from awa_lib.reads.queues import queue_stats
from awa_lib.reads.task_results import task_result
from awa_lib.reads.workflow_tasks import list_workflow_tasks
from awa_lib.reads.workflows import get_workflow, list_workflows, workflow_edges

if TYPE_CHECKING:
    from awa_lib.client.signatures import AsyncInsert, Insert

__all__ = ["AsyncVerbs", "Verbs"]


class Verbs(Workflows, TaskResults):
    """Blocking; needs ``_run(op)`` and ``kinds``."""

    insert = cast("Insert", inserting(inserts.insert))
    insert_many = inserting(inserts.insert_many)
    insert_many_copy = inserting(inserts.insert_many_copy)
    enqueue_many_copy = inserting(inserts.enqueue_many_copy)
    get_job = verb(jobs.get_job)
    list_jobs = verb(jobs.list_jobs)
    get_job_logs = verb(get_job_logs)
    retry = verb(jobs.retry)
    cancel = verb(jobs.cancel)
    set_priority = verb(jobs.set_priority)
    move_queue = verb(jobs.move_queue)
    cancel_by_unique_key = verb(jobs.cancel_by_unique_key)
    retry_failed = verb(jobs.retry_failed)
    discard = verb(jobs.discard)
    discard_failed = verb(jobs.discard_failed)
    pause_queue = verb(queues.pause_queue)
    resume_queue = verb(queues.resume_queue)
    cancel_waiting = verb(queues.cancel_waiting)
    drain_queue = verb(queues.drain_queue)
    queue_stats = verb(queue_stats)
    list_queues = verb(list_queues)
    list_kinds = verb(list_kinds)
    complete_external = verb(callbacks.complete_external)
    fail_external = verb(callbacks.fail_external)
    retry_external = verb(callbacks.retry_external)
    resume_external = verb(callbacks.resume_external)
    heartbeat_callback = verb(callbacks.heartbeat_callback)
    resolve_callback = verb(callbacks.resolve_callback)
    verify_callback_request = verb(verify_callback_request)
    flush_admin_metadata = verb(queues.flush_admin_metadata)
    list_cron_jobs = verb(list_cron_jobs)
    trigger_cron_job = verb(cron.trigger_cron_job)
    pause_cron_job = verb(cron.pause_cron_job)
    resume_cron_job = verb(cron.resume_cron_job)
    delete_cron_job = verb(cron.delete_cron_job)
    set_queue_policy = verb(policies.set_queue_policy)
    get_queue_policy = verb(get_queue_policy)
    list_queue_policies = verb(list_queue_policies)
    list_failures = verb(read_failures.list_failures)
    get_failure = verb(read_failures.get_failure)
    retry_failure = verb(failures.retry_failure)
    mute_failure = verb(failures.mute_failure)
    unmute_failure = verb(failures.unmute_failure)
    set_dead_letters = verb(dead_letters.set_dead_letters)
    list_dlq = verb(read_dead_letters.list_dlq)
    get_dlq_job = verb(read_dead_letters.get_dlq_job)
    dlq_depth = verb(read_dead_letters.dlq_depth)
    dlq_depth_by_queue = verb(read_dead_letters.dlq_depth_by_queue)
    retry_from_dlq = verb(dead_letters.retry_from_dlq)
    bulk_retry_from_dlq = verb(dead_letters.bulk_retry_from_dlq)
    move_failed_to_dlq = verb(dead_letters.move_failed_to_dlq)
    bulk_move_failed_to_dlq = verb(dead_letters.bulk_move_failed_to_dlq)
    purge_dlq_job = verb(dead_letters.purge_dlq_job)
    purge_dlq = verb(dead_letters.purge_dlq)
    preview_bulk_operation = verb(bulk.preview_bulk_operation)
    submit_bulk_operation = verb(bulk.submit_bulk_operation)
    get_bulk_operation = verb(read_bulk.get_bulk_operation)
    list_bulk_operations = verb(read_bulk.list_bulk_operations)
    cancel_bulk_operation = verb(bulk.cancel_bulk_operation)
    run_bulk_operation = verb(bulk.run_bulk_operation)
    task_result = verb(task_result)
    signal = verb(workflows.send_signal)
    cancel_workflow = verb(workflows.cancel_workflow)
    list_workflows = verb(list_workflows)
    get_workflow = verb(get_workflow)
    list_workflow_tasks = verb(list_workflow_tasks)
    workflow_edges = verb(workflow_edges)
    retry_workflow = verb(workflow_retries.retry_workflow)
    doctor = verb(doctor)


class AsyncVerbs(AsyncWorkflows, AsyncTaskResults):
    """Awaited; needs ``_run(op)`` and ``kinds``."""

    insert = cast("AsyncInsert", ainserting(inserts.insert))
    insert_many = ainserting(inserts.insert_many)
    insert_many_copy = ainserting(inserts.insert_many_copy)
    enqueue_many_copy = ainserting(inserts.enqueue_many_copy)
    get_job = averb(jobs.get_job)
    list_jobs = averb(jobs.list_jobs)
    get_job_logs = averb(get_job_logs)
    retry = averb(jobs.retry)
    cancel = averb(jobs.cancel)
    set_priority = averb(jobs.set_priority)
    move_queue = averb(jobs.move_queue)
    cancel_by_unique_key = averb(jobs.cancel_by_unique_key)
    retry_failed = averb(jobs.retry_failed)
    discard = averb(jobs.discard)
    discard_failed = averb(jobs.discard_failed)
    pause_queue = averb(queues.pause_queue)
    resume_queue = averb(queues.resume_queue)
    cancel_waiting = averb(queues.cancel_waiting)
    drain_queue = averb(queues.drain_queue)
    queue_stats = averb(queue_stats)
    list_queues = averb(list_queues)
    list_kinds = averb(list_kinds)
    complete_external = averb(callbacks.complete_external)
    fail_external = averb(callbacks.fail_external)
    retry_external = averb(callbacks.retry_external)
    resume_external = averb(callbacks.resume_external)
    heartbeat_callback = averb(callbacks.heartbeat_callback)
    resolve_callback = averb(callbacks.resolve_callback)
    verify_callback_request = averb(verify_callback_request)
    flush_admin_metadata = averb(queues.flush_admin_metadata)
    list_cron_jobs = averb(list_cron_jobs)
    trigger_cron_job = averb(cron.trigger_cron_job)
    pause_cron_job = averb(cron.pause_cron_job)
    resume_cron_job = averb(cron.resume_cron_job)
    delete_cron_job = averb(cron.delete_cron_job)
    set_queue_policy = averb(policies.set_queue_policy)
    get_queue_policy = averb(get_queue_policy)
    list_queue_policies = averb(list_queue_policies)
    list_failures = averb(read_failures.list_failures)
    get_failure = averb(read_failures.get_failure)
    retry_failure = averb(failures.retry_failure)
    mute_failure = averb(failures.mute_failure)
    unmute_failure = averb(failures.unmute_failure)
    set_dead_letters = averb(dead_letters.set_dead_letters)
    list_dlq = averb(read_dead_letters.list_dlq)
    get_dlq_job = averb(read_dead_letters.get_dlq_job)
    dlq_depth = averb(read_dead_letters.dlq_depth)
    dlq_depth_by_queue = averb(read_dead_letters.dlq_depth_by_queue)
    retry_from_dlq = averb(dead_letters.retry_from_dlq)
    bulk_retry_from_dlq = averb(dead_letters.bulk_retry_from_dlq)
    move_failed_to_dlq = averb(dead_letters.move_failed_to_dlq)
    bulk_move_failed_to_dlq = averb(dead_letters.bulk_move_failed_to_dlq)
    purge_dlq_job = averb(dead_letters.purge_dlq_job)
    purge_dlq = averb(dead_letters.purge_dlq)
    preview_bulk_operation = averb(bulk.preview_bulk_operation)
    submit_bulk_operation = averb(bulk.submit_bulk_operation)
    get_bulk_operation = averb(read_bulk.get_bulk_operation)
    list_bulk_operations = averb(read_bulk.list_bulk_operations)
    cancel_bulk_operation = averb(bulk.cancel_bulk_operation)
    run_bulk_operation = averb(bulk.run_bulk_operation)
    task_result = averb(task_result)
    signal = averb(workflows.send_signal)
    cancel_workflow = averb(workflows.cancel_workflow)
    list_workflows = averb(list_workflows)
    get_workflow = averb(get_workflow)
    list_workflow_tasks = averb(list_workflow_tasks)
    workflow_edges = averb(workflow_edges)
    retry_workflow = averb(workflow_retries.retry_workflow)
    doctor = averb(doctor)
