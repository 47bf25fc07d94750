"""Worker processes of ``awa worker``: load the client, start and restart processes."""
