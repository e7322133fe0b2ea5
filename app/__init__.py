"""Novella: an OpenStack-compatible compute cloud in one Celery application."""
