"""Something that speaks as much of Identity v3 as a check of tokens needs, to say odd things."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
ISSUED, EXPIRES = "2026-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"


@dataclass
class KeystoneStub:
    """`url` has no version. What is neither in `tokens` nor in `statuses` is not a token."""

    url: str
    tokens: dict[str, Json] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Paths of what was looked up that is no token."""

    def add(self, text: str, *paths: Any, role: str = "member") -> None:
        """A good token; with `paths` of an application credential that may GET these of Compute."""
        self.tokens[text] = self.document(role)
        if paths:
            rules = [{"service": "compute", "method": "GET", "path": path} for path in paths]
            self.tokens[text]["application_credential"] = {"id": "c", "access_rules": rules}

    def document(self, role: str) -> Json:
        """A token's description, with a catalog."""
        place = {"region": "R", "region_id": "R", "id": "e", "url": f"{self.url}/v3"}
        endpoints = [place | {"interface": kind} for kind in ("public", "internal", "admin")]
        domain = {"id": "default", "name": "Default"}
        return {
            "methods": ["password"],
            "user": {"id": "u", "name": "ann", "domain": domain},
            "project": {"id": "p", "name": "red", "domain": domain},
            "roles": [{"id": "r", "name": role}],
            "audit_ids": ["a"],
            "issued_at": ISSUED,
            "expires_at": EXPIRES,
            "catalog": [
                {"type": "compute", "id": "c", "name": "nova", "endpoints": []},
                {"type": "identity", "id": "i", "name": "keystone", "endpoints": endpoints},
            ],
        }

    def answer(self, method: str, path: str, subject: str) -> tuple[int, Json]:
        """Status and body."""
        if method == "POST":
            return 201, {"token": self.document("service")}
        if path.startswith("/v3/auth/tokens"):
            if subject in self.tokens:
                return 200, {"token": self.tokens[subject]}
            return self.statuses.get(subject, 404), {"error": {}}
        if path.rstrip("/") == "/v3":
            links = [{"rel": "self", "href": f"{self.url}/v3/"}]
            return 200, {"version": {"id": "v3.14", "status": "stable", "links": links}}
        self.asked.append(path)
        # As if another thing were there, whatever was asked for.
        return 200, {"links": {}}


@contextmanager
def keystone_stub() -> Iterator[KeystoneStub]:
    """One that serves, on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            subject = self.headers.get("X-Subject-Token", "")
            status, told = made.answer(self.command, self.path, subject)
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if self.command == "POST":
                self.send_header("X-Subject-Token", "ours")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = KeystoneStub(f"http://127.0.0.1:{server.server_port}")
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
