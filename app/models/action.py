"""Actions (the durable record of one request on one server), their events, and idempotency."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id, now


class Action(Base):
    """One request on one server, from its acceptance to its end; `id` is the task's id.

    `state` is queued, running, succeeded, failed or cancelled; `stage` the step of the kind's
    workflow that is due; `tries` counts hosts that failed or went down; `revision` grows with
    every change (it is the task's ETag).
    """

    __tablename__ = "actions"
    __table_args__ = (
        Index(
            "uq_actions_unfinished",
            "server_id",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index(
            "ix_actions_due",
            "next_ring_at",
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index("ix_actions_request_id", "request_id"),
        Index("ix_actions_finished_at", "finished_at"),
        Index("ix_actions_created_at", "created_at"),
        Index("ix_actions_server_id_created_at", "server_id", "created_at"),
        Index("ix_actions_project_id_created_at", "project_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    server_id: Mapped[str] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"))
    project_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(64))
    request_id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    args: Mapped[dict[str, Any]] = mapped_column(default=dict)

    state: Mapped[str] = mapped_column(String(16), default="queued")
    stage: Mapped[str] = mapped_column(String(32))
    direction: Mapped[str] = mapped_column(String(8), default="do")
    host: Mapped[str | None] = mapped_column(String(255))
    selection: Mapped[list[str]] = mapped_column(default=list)
    tried: Mapped[list[str]] = mapped_column(default=list)
    tries: Mapped[int] = mapped_column(default=0)
    placement: Mapped[dict[str, Any] | None] = mapped_column()

    next_ring_at: Mapped[float] = mapped_column()
    rings: Mapped[int] = mapped_column(default=0)
    deadline: Mapped[float] = mapped_column()
    stage_started_at: Mapped[float | None] = mapped_column()
    progress: Mapped[int] = mapped_column(default=0)
    progress_at: Mapped[float | None] = mapped_column()
    message: Mapped[str | None] = mapped_column(Text)
    fault: Mapped[dict[str, Any] | None] = mapped_column()
    revision: Mapped[int] = mapped_column(default=0)

    created_at: Mapped[float] = mapped_column(default=now())
    started_at: Mapped[float | None] = mapped_column()
    finished_at: Mapped[float | None] = mapped_column()


class ActionEvent(Base):
    """One stage of an action, once per attempt: written with the stage's own compare-and-set."""

    __tablename__ = "action_events"
    __table_args__ = (
        Index("ix_action_events_action_id", "action_id", "id"),
        Index("ix_action_events_finished_at", "finished_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    action_id: Mapped[str] = mapped_column(ForeignKey("actions.id", ondelete="CASCADE"))
    stage: Mapped[str] = mapped_column(String(32))
    direction: Mapped[str] = mapped_column(String(8), default="do")
    host: Mapped[str | None] = mapped_column(String(255))
    fence: Mapped[int] = mapped_column()
    started_at: Mapped[float] = mapped_column(default=now())
    finished_at: Mapped[float | None] = mapped_column()
    result: Mapped[str | None] = mapped_column(String(16))
    fault: Mapped[dict[str, Any] | None] = mapped_column()


class Idempotency(Base):
    """The answer that a POST with an Idempotency-Key got, kept for 24 hours per project."""

    __tablename__ = "idempotency"

    project_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    method: Mapped[str] = mapped_column(String(8))
    path: Mapped[str] = mapped_column(Text)
    body_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column()
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(default=now())
