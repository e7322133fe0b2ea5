"""Key pairs over HTTP, each as its microversion has them."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from sqlalchemy import select

from app.models import User
from app.store.database import reading
from app.web.compute.sshkeys import generate
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1/os-keypairs"
PUBLIC = generate("test")[1]


def user(name: str) -> str:
    """A user's id."""
    with reading() as session:
        return session.scalars(select(User.id).where(User.name == name)).one()


def make(site: Site, version: str = "2.1", who: str = "novella", **more: Any) -> Any:
    """The answer to a new key."""
    body = {"name": "k", "public_key": PUBLIC} | more
    return site.post(V, who, json={"keypair": body}, version=version)


def test_a_key_is_as_its_version_has_it(site: Site) -> None:
    old, new = make(site, "2.1", name="a"), make(site, "2.2", name="b")
    assert (old.status_code, new.status_code) == (200, 201)
    assert set(old.json["keypair"]) == {"name", "public_key", "fingerprint", "user_id"}
    assert set(new.json["keypair"]) == set(old.json["keypair"]) | {"type"}
    listed = site.get(V).json
    assert set(listed) == {"keypairs"}
    assert set(listed["keypairs"][0]["keypair"]) == {"name", "public_key", "fingerprint"}
    shown = site.get(f"{V}/a", version="2.2").json["keypair"]
    times = {"created_at", "updated_at", "deleted_at", "deleted"}
    assert set(shown) == {"name", "public_key", "fingerprint", "user_id", "type", "id"} | times


def test_keys_are_paged_from_2_35(site: Site) -> None:
    for name in "abc":
        make(site, name=name)
    assert len(site.get(f"{V}?limit=2", version="2.34").json["keypairs"]) == 3
    first = site.get(f"{V}?limit=2", version="2.35").json
    assert [one["keypair"]["name"] for one in first["keypairs"]] == ["a", "b"]
    rest = site.get(first["keypairs_links"][0]["href"], version="2.35").json
    assert [one["keypair"]["name"] for one in rest["keypairs"]] == ["c"]
    assert "keypairs_links" not in rest
    assert site.get(f"{V}?marker=zz", version="2.35").status_code == 400
    assert site.get(f"{V}?limit=x", version="2.35").status_code == 400


def test_administrators_see_to_the_keys_of_others_from_2_10(site: Site) -> None:
    theirs = user("novella")
    made = make(site, "2.10", "admin", user_id=theirs)
    assert (made.status_code, made.json["keypair"]["user_id"]) == (201, theirs)
    assert site.get(f"{V}/k").status_code == 200
    assert site.get(f"{V}/k", "admin").status_code == 404
    assert site.get(f"{V}/k?user_id={theirs}", "admin", version="2.10").status_code == 200
    assert len(site.get(f"{V}?user_id={theirs}", "admin", version="2.10").json["keypairs"]) == 1
    assert site.get(f"{V}?user_id={theirs}", "admin").json["keypairs"] == []
    gone = site.delete(f"{V}/k?user_id={theirs}", "admin", version="2.10")
    assert gone.status_code == 204
    assert make(site, "2.10", "admin", user_id="nobody").status_code == 400


def test_nobody_else_sees_to_them(site: Site) -> None:
    make(site)
    theirs = user("novella")
    for method, path in (("GET", V), ("GET", f"{V}/k"), ("DELETE", f"{V}/k")):
        answer = site.call(method, f"{path}?user_id={theirs}", "other", version="2.10")
        assert answer.status_code == 403
    assert make(site, "2.10", "other", user_id=theirs).status_code == 403


def test_a_certificate_is_made_or_kept_from_2_2(site: Site) -> None:
    made = site.post(V, json={"keypair": {"name": "w", "type": "x509"}}, version="2.2")
    assert made.status_code == 201, made.text
    pair = made.json["keypair"]
    assert pair["type"] == "x509"
    assert pair["fingerprint"].count(":") == 19
    assert pair["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    x509.load_pem_x509_certificate(pair["public_key"].encode())
    kept = make(site, "2.2", name="w2", type="x509", public_key=pair["public_key"])
    assert kept.json["keypair"]["fingerprint"] == pair["fingerprint"]
    assert make(site, "2.2", name="w3", type="x509").status_code == 400


BAD_KEYS: list[Any] = [
    ("2.1", {"type": "ssh"}),
    ("2.2", {"type": "pgp"}),
    ("2.9", {"user_id": "x"}),
    ("2.1", {"colour": "red"}),
    ("2.1", {"name": ""}),
    ("2.1", {"name": "a/b"}),
    ("2.1", {"name": " a"}),
    ("2.1", {"name": "a\n"}),
    ("2.1", {"name": "x" * 256}),
    ("2.1", {"name": 7}),
    ("2.1", {"public_key": ""}),
    ("2.1", {"public_key": "ssh-rsa JUNK x"}),
    ("2.1", {"public_key": "ssh-rsa " + "A" * 16400}),
]


def test_a_bad_key_is_400(site: Site) -> None:
    for version, given in BAD_KEYS:
        answer = make(site, version, **given)
        assert answer.status_code == 400, answer.text
        assert "badRequest" in answer.json


def test_an_unknown_parameter_is_400_from_2_75(site: Site) -> None:
    make(site)
    assert site.get(f"{V}/k?limit=2", version="2.74").status_code == 200
    assert site.get(f"{V}/k?limit=2", version="2.75").status_code == 400
    assert site.delete(f"{V}/k?x=2", version="2.75").status_code == 400


def test_from_2_92_keys_are_brought_not_made(site: Site) -> None:
    body = {"keypair": {"name": "made.here@home"}}
    assert site.post(V, json=body, version="2.91").status_code == 201
    refused = site.post(V, json={"keypair": {"name": "other"}}, version="2.92")
    assert (refused.status_code, "public_key" in refused.text) == (400, True)
