"""The requests of examples/main.tf, in the order in which Terraform's provider sends them.

Read from the provider's and gophercloud's sources; neither can be run in these tests.
"""

from __future__ import annotations

from app.models import Server
from app.store.database import transaction
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZ3b3JsZHdvcmxkd29ybGR3b3JsZHdvcmxkd29ybGQw terraform"


def test_the_catalog_gives_the_provider_the_roots_that_it_expects(site: Site) -> None:
    answer = site.log_in("novella", "novella-password")
    roots = {
        service["type"]: endpoint["url"]
        for service in answer.json["token"]["catalog"]
        for endpoint in service["endpoints"]
        if endpoint["interface"] == "public" and endpoint["region"] == "RegionOne"
    }
    assert roots["compute"].endswith("/v2.1")
    for service, newest in (("image", "v2."), ("network", "v2.0")):
        path = roots[service].partition("//")[2].partition("/")[2]
        found = site.get(f"/{path}", None)
        assert found.status_code in (200, 300)
        versions = found.json["versions"]
        assert any(one["id"].startswith(newest) for one in versions)
        for one in versions:
            assert one["links"][0]["href"].startswith("http")


def test_data_sources_find_image_flavor_and_network_by_name(site: Site) -> None:
    image = site.add_image()
    found = site.get("/image/v2/images?name=tiny").json["images"]
    assert [one["id"] for one in found] == [image]
    flavors = site.get(f"{V}/flavors/detail?is_public=None").json["flavors"]
    (tiny,) = [one for one in flavors if one["name"] == "tiny"]
    assert site.get(f"{V}/flavors/{tiny['id']}").json["flavor"]["ram"] == 192
    assert site.get(f"{V}/flavors/{tiny['id']}/os-extra_specs").json == {"extra_specs": {}}
    networks = site.get("/network/v2.0/networks?name=default").json["networks"]
    assert [one["id"] for one in networks] == [site.default_network()]


def test_an_instance_is_made_read_and_destroyed(site: Site) -> None:
    key = {"keypair": {"name": "terraform", "public_key": KEY}}
    assert site.post(f"{V}/os-keypairs", json=key).status_code == 200
    wanted = {
        "name": "from-terraform",
        "imageRef": site.add_image(),
        "flavorRef": "6",
        "key_name": "terraform",
        "metadata": {"made_by": "terraform"},
        "networks": [{"uuid": site.default_network()}],
        "config_drive": False,
    }
    made = site.post(f"{V}/servers", json={"server": wanted})
    assert made.status_code == 202, made.text
    server_id = made.json["server"]["id"]
    assert site.get(f"{V}/servers/{server_id}").json["server"]["status"] == "BUILD"
    site.set_server(server_id, vm_state="active", task_state=None, power_state=1, launched_at=1.0)

    # No microversion: 2.1, where the flavor is a reference that the provider follows.
    shown = site.get(f"{V}/servers/{server_id}").json["server"]
    assert shown["status"] == "ACTIVE"
    flavor = site.get(f"{V}/flavors/{shown['flavor']['id']}").json["flavor"]
    assert flavor["name"] == "tiny"
    assert shown["key_name"] == "terraform"
    assert shown["metadata"] == {"made_by": "terraform"}
    assert site.get(f"/image/v2/images/{shown['image']['id']}").json["name"] == "tiny"
    assert site.get(f"/network/v2.0/ports?device_id={server_id}").status_code == 200
    assert site.get(f"{V}/servers/{server_id}/tags", version="2.26").json == {"tags": []}
    assert "security_groups" in site.get(f"{V}/servers/{server_id}/os-security-groups").json

    assert site.delete(f"{V}/servers/{server_id}").status_code == 204
    with transaction() as session:
        session.delete(session.get_one(Server, server_id))
    assert site.get(f"{V}/servers/{server_id}").status_code == 404
    assert site.delete(f"{V}/os-keypairs/terraform").status_code == 202
