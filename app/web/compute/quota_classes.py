"""Quota classes. That of the name `default` has the limits of projects without their own."""

from __future__ import annotations

from flask import Response

from app.errors import Invalid
from app.store import quotas
from app.store.database import reading, transaction
from app.web import context
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import resource_schemas as schemas
from app.web.compute.quota_sets import numbers
from app.web.compute.versions import ns
from app.web.shapes import operating as shapes

_RULE = "os_compute_api:os-quota-class-sets:"


def _shown(limits: dict[str, int], **more: str) -> Response:
    schema = schemas.quota_class_set(context.version()).schema
    names = schema["properties"]["quota_class_set"]["properties"]
    return answer({"quota_class_set": {**more, **{name: limits[name] for name in names}}})


def _checked(class_name: str) -> str:
    if len(class_name) > 255:
        raise Invalid("The name of a quota class is longer than 255 characters.")
    return class_name


@ns.route("/v2.1/os-quota-class-sets/<class_name>")
class QuotaClassSet(Route):
    shows = {"get": shapes.CLASS, "put": shapes.CLASS_SET}
    policy = {"get": f"{_RULE}show", "put": f"{_RULE}update"}

    def get(self, class_name: str) -> Response:
        """Show a class's limits; -1 is without limit."""
        with reading() as session:
            limits = quotas.class_limits(session, _checked(class_name))
        return _shown(limits, id=class_name)

    @documented(ns, schemas.QUOTA_CLASSES[0])
    def put(self, class_name: str) -> Response:
        """Set limits of a class; those of `default` hold at once for all without their own."""
        wanted = body(schemas.quota_class_set(context.version()))["quota_class_set"]
        given = numbers(wanted, "quota_class_set")
        with transaction() as session:
            quotas.set_class_limits(session, _checked(class_name), given)
            limits = quotas.class_limits(session, class_name)
        return _shown(limits)
