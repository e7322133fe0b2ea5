"""The first start of a cloud: its schema, its first rows, its passwords and signing key."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.cli.local import files, subnets
from app.cli.local.place import Place
from app.config import Settings
from app.images.keys import load_keys
from app.models import Cloud
from app.store import migrations, seed
from app.store.database import make_engine
from app.store.seed import Seeded

_DATABASE_WORD = "sqlite:///"


def first_start(place: Place, settings: Settings, environ: Mapping[str, str]) -> Seeded:
    """Bring the schema up to date and fill it, unless a cloud is there; harmless again.

    Passwords are in `place.secrets`, files of mode 0600. NOVELLA_NETWORK_CIDR of `environ` says
    where the default network is.
    """
    url = settings.database
    if url.startswith(_DATABASE_WORD):
        # Made here, so that it is ours alone from its first byte; SQLite's other files follow it.
        os.close(os.open(url.removeprefix(_DATABASE_WORD), os.O_CREAT | os.O_RDWR, 0o600))
    migrations.upgrade(url)
    load_keys(place.state / "keys")
    engine = make_engine(url)
    try:
        with Session(engine) as session, session.begin():
            return _seed(session, place, settings.cloud_id, environ)
    finally:
        engine.dispose()


def _seed(session: Session, place: Place, cloud_id: str, environ: Mapping[str, str]) -> Seeded:
    cidr = ""
    if session.scalar(select(Cloud.id)) is None:
        cidr = environ.get("NOVELLA_NETWORK_CIDR") or str(
            subnets.choose(cloud_id or "novella", subnets.in_use())
        )
    names = ("admin", "novella")
    passwords = {name: files.secret(place, f"{name}-password") for name in names}
    return seed.first_start(
        session, network_cidr=cidr, passwords=passwords, cloud_id=cloud_id or None
    )
