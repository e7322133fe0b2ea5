"""Two Celery apps with the same tasks: one as Celery comes, one with what docs/celery.md says."""
