"""Many ids in one statement."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson
from sqlalchemy import String, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql import ColumnElement


def among(
    session: Session, column: InstrumentedAttribute[Any], ids: Collection[str]
) -> ColumnElement[bool]:
    """Whether the column, of texts, holds one of the ids; they are one parameter, however many.

    With `in_` each of a thousand ids is a parameter that is made, named and rendered at every
    execution, which takes longer than the query.
    """
    if session.get_bind().dialect.name == "sqlite":
        given = func.json_each(orjson.dumps(list(ids)).decode()).table_valued("value")
        return column.in_(select(given.c.value))
    return column == any_(bindparam(None, list(ids), type_=ARRAY(String)))
