"""Alembic's entry: online only, for the URL that the caller put into the configuration."""

from alembic import context
from alembic.util.exc import CommandError
from sqlalchemy import event

from app.models import Base
from app.store.database import make_engine


def without_cascades(connection, record):
    """Altering a table of SQLite's rebuilds it, and dropping the old one would empty all others
    that refer to it."""
    connection.execute("PRAGMA foreign_keys=OFF")


engine = make_engine(context.config.attributes["url"])
is_sqlite = engine.dialect.name == "sqlite"
if is_sqlite:
    event.listen(engine, "connect", without_cascades)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=is_sqlite,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
        if is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise CommandError("the migration would leave rows that refer to nothing")
engine.dispose()
