"""The options of a worker: of its queues, of the process, of its heartbeats."""
