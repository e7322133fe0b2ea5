"""Server actions of administrators; and one that has gone for everybody."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Refused
from app.store import server_admin, server_listing
from app.store.database import reading
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.compute import schemas
from app.web.compute.actions import register
from app.web.compute.schemas import plain


@register("os-resetState", "os_compute_api:os-admin-actions:reset_state", schemas.RESET_STATE)
def reset_state(server_id: str, value: Any) -> Response:
    """Declare a server active or in error, whatever it is doing; that ends."""

    def work(session: Session) -> Accepted:
        caller = context.caller()
        return Accepted([server_admin.reset_state(session, caller, server_id, value["state"])])

    return accept(work)


@register(
    "injectNetworkInfo",
    "os_compute_api:os-admin-actions:inject_network_info",
    plain("injectNetworkInfo"),
)
def inject_network_info(server_id: str, value: Any) -> Response:
    """Accepted for old clients: guests have their addresses by DHCP, so there is nothing to do."""

    def work(session: Session) -> Accepted:
        caller = context.caller()
        return Accepted([server_admin.inject_network_info(session, caller, server_id)])

    return accept(work)


@register(
    "resetNetwork",
    "os_compute_api:os-admin-actions:reset_network",
    plain("resetNetwork"),
    answers=(410,),
)
def reset_network(server_id: str, value: Any) -> Response:
    """Has gone from Nova, and was never here: 410."""
    with reading() as session:
        server_listing.get(session, context.caller(), server_id)
    raise Refused("The action resetNetwork is gone.", code="gone")
