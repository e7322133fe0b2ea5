"""Images by way of Compute, until 2.35, and their metadata, until 2.38."""

from __future__ import annotations

from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"


def names(site: Site, query: str) -> set[str]:
    """Which of the images a list has."""
    return {one["name"] for one in site.get(f"{V}/images{query}").json["images"]}


def test_images_are_listed_shown_and_deleted_as_nova_has_them(site: Site) -> None:
    image_id = site.add_image(name="base", min_ram=64)
    queued = {"name": "queued", "disk_format": "raw", "container_format": "bare"}
    site.post("/image/v2/images", json=queued)
    snapshot = site.add_image(name="snap", image_type="snapshot", instance_uuid="some-server")
    shown = site.get(f"{V}/images/{image_id}").json["image"]
    assert (shown["status"], shown["progress"], shown["minRam"]) == ("ACTIVE", 100, 64)
    assert {link["rel"] for link in shown["links"]} == {"self", "bookmark", "alternate"}
    assert "server" not in shown
    made_of = site.get(f"{V}/images/{snapshot}").json["image"]
    assert made_of["server"]["id"] == "some-server"
    assert names(site, "") == {"base", "queued", "snap"}
    assert names(site, "?status=saving") == {"queued"}
    assert names(site, "?status=odd") == set()
    assert names(site, "?name=base") == names(site, "?minRam=64") == {"base"}
    assert names(site, "?type=snapshot") == {"snap"}
    assert names(site, "/detail?server=http://somewhere/servers/some-server") == {"snap"}
    assert names(site, "?changes-since=2099-01-01T00:00:00Z") == set()
    page = site.get(f"{V}/images?limit=1").json
    assert "marker=" in page["images_links"][0]["href"]
    assert site.get(f"{V}/images/{image_id}", "other").status_code == 404
    assert site.delete(f"{V}/images/{image_id}", "other").status_code == 404
    assert site.delete(f"{V}/images/{image_id}").status_code == 204
    assert site.get(f"{V}/images/{image_id}").status_code == 404
    assert site.delete(f"{V}/images/").status_code == 404
    for path in ("/images", "/images/detail", f"/images/{snapshot}"):
        assert site.get(V + path, version="2.36").status_code == 404


def test_an_image_s_metadata_is_its_custom_properties(site: Site) -> None:
    image_id = site.add_image()
    path = f"{V}/images/{image_id}/metadata"

    def put(where: str, body: dict[str, object]) -> int:
        return site.call("PUT", path + where, json=body).status_code

    assert put("", {"metadata": {"a": "1", "b": "2"}}) == 200
    posted = site.post(path, json={"metadata": {"b": "3", "c": "4"}})
    assert posted.json == {"metadata": {"a": "1", "b": "3", "c": "4"}}
    assert put("/a", {"meta": {"a": "5"}}) == 200
    assert put("/a", {"meta": {"b": "5"}}) == 400
    assert site.get(f"{path}/a").json == {"meta": {"a": "5"}}
    assert site.delete(f"{path}/a").status_code == 204
    assert site.delete(f"{path}/a").status_code == 404
    assert site.get(path).json == {"metadata": {"b": "3", "c": "4"}}
    assert site.get(f"/image/v2/images/{image_id}").json["b"] == "3"
    assert put("", {"metadata": {"name": "x"}}) == 400
    assert put("", {"metadata": {"status": "x"}}) == 403
    assert put("", {"metadata": {str(n): "x" for n in range(129)}}) == 403
    assert site.get(path, "other").status_code == 404
    assert site.get(path, version="2.38").status_code == 200
    assert site.get(path, version="2.39").status_code == 404
