"""The web application, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask import Flask
from flask_restx import Namespace
from werkzeug.middleware.proxy_fix import ProxyFix

from app.config import Settings
from app.config import settings as configured
from app.store import reserved_networks, revocations, task_listing
from app.store.database import reading
from app.tasks.progress import live
from app.web import (
    errors,
    filters,
    health,
    metrics,
    modes,
    policy,
)
from app.web.api import make_api
from app.web.context import Web
from app.web.extending import installed, loading
from app.web.identity.tokens import KeyRing, Revocations, Revoked, Tokens
from app.web.policy.judge import Judge
from app.web.v1 import views
from app.web.v1.watcher import Sight, Watcher

if TYPE_CHECKING:
    from app.web.keystone.callers import Keystone

SPARE_THREADS = 64


def create_app(settings: Settings | None = None) -> Flask:
    """A web application for `settings`, the process's own unless given.

    Raises Invalid when the settings would open an unguarded cloud to the network, or name a
    Keystone that could not be asked.
    """
    settings = settings or configured()
    modes.check(settings)
    app = Flask("novella", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # its redirects fall through RESTX's error handling
    app.config["RESTX_MASK_SWAGGER"] = False
    extensions = extensions_of(settings)
    app.extensions["novella"] = _parts(settings, extensions)
    filters.install(app)
    metrics.install(app, settings)
    app.register_error_handler(Exception, errors.handle)
    make_api([*_namespaces(), installed.namespace(extensions)]).init_app(app)
    if settings.trusted_proxies > 0:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_port=hops, x_prefix=hops
        )
    return app


def extensions_of(settings: Settings) -> loading.Extensions:
    """What other packages add. Raises Invalid, with the entry point's name, for a wrong one."""
    from app.web.compute import actions, versions

    _namespaces()  # now all routes and actions are there
    urls = [url for _, several, _, _ in versions.ns.resources for url in several]
    return loading.load(settings, actions.ACTIONS, [url.removeprefix("/v2.1") for url in urls])


def _parts(settings: Settings, extensions: loading.Extensions) -> Web:
    keys = KeyRing(settings.path("keys"))
    return Web(
        settings=settings,
        keys=keys,
        tokens=Tokens(keys, Revocations(_revoked), settings.token_seconds),
        # Some threads always remain for requests that do not wait.
        watcher=Watcher(_look, max(1, settings.web_threads - SPARE_THREADS)),
        reserved=reserved_networks.of_settings(settings),
        for_tenants=settings.for_tenants,
        judge=Judge.of(settings, {**policy.RULES, **extensions.rules}),
        extensions=extensions,
        keystone=_keystone(settings),
    )


def _keystone(settings: Settings) -> Keystone | None:
    if settings.auth != "keystone":
        return None
    # Imported only here: keystonemiddleware is an extra, and takes a second to load.
    from app.web.keystone.callers import Keystone

    return Keystone(settings)


def _revoked() -> list[Revoked]:
    with reading() as session:
        return [Revoked(row.kind, row.target, row.created_at) for row in revocations.live(session)]


def _look(task_ids: Sequence[str]) -> dict[str, Sight]:
    with reading() as session:
        marks = task_listing.marks(session, task_ids)
    running = [task_id for task_id, mark in marks.items() if mark.running]
    now = live(running) if running else {}
    return {
        task_id: Sight(
            views.etag(
                mark.revision, *views.standing(mark.progress, mark.message, now.get(task_id))
            ),
            mark.finished,
        )
        for task_id, mark in marks.items()
    }


def _namespaces() -> list[Namespace]:
    # Imported here: each of these files hangs its routes into its service's namespace.
    from app.web.compute import (  # noqa: F401
        actions,
        actions_in_place,
        admin_actions,
        aggregates,
        api_extensions,
        audit_log,
        diagnostics,
        external_events,
        flavor_access,
        flavor_extra_specs,
        flavors,
        floating_ip_proxy,
        hypervisors,
        image_actions,
        image_metadata,
        instance_actions,
        interfaces,
        keypairs,
        later_actions,
        limits,
        migrations,
        network_proxy,
        quota_classes,
        quota_sets,
        rebuild_actions,
        security_group_proxy,
        security_groups,
        server_groups,
        server_metadata,
        server_password,
        server_tags,
        servers,
        services,
        topology,
        usage,
        volume_attachments,
        zones,
    )
    from app.web.compute import hosts as compute_hosts  # noqa: F401
    from app.web.compute import images as compute_images  # noqa: F401
    from app.web.compute import versions as compute
    from app.web.identity import (  # noqa: F401
        application_credentials,
        auth,
        catalog,
        domains,
        grants,
        projects,
        roles,
        users,
    )
    from app.web.identity import versions as identity_versions
    from app.web.image import documents, files, image, images, imports, members, tags  # noqa: F401
    from app.web.image import versions as image_versions
    from app.web.network import (  # noqa: F401
        agents,
        extensions,
        floating_ips,
        groups,
        networks,
        ports,
        quotas,
        routers,
        rules,
        subnets,
    )
    from app.web.network import versions as network
    from app.web.network import zones as network_zones  # noqa: F401
    from app.web.openapi import served
    from app.web.v1 import events, hosts, placement, precaches, tasks  # noqa: F401

    return [
        identity_versions.ns,
        compute.ns,
        image_versions.ns,
        network.ns,
        tasks.ns,
        placement.ns,
        hosts.ns,
        precaches.ns,
        health.ns,
        metrics.ns,
        served.ns,
    ]
