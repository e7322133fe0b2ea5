"""The web process's entry point: `gunicorn -c python:app.web.gunicorn app.web.wsgi:application`."""

from __future__ import annotations

from app import logs
from app.config import settings
from app.web.factory import create_app

logs.configure(settings(), "web")
application = create_app(settings())
