"""``awa demo``: every file of a tree becomes a job, and one worker is killed on purpose."""
