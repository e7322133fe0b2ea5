"""A real guest that is paused, suspended, copied, rescued, rebuilt and given an interface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cloud import Cloud, eventually
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd

READY = "NOVELLA-GUEST ready"
MARK, OTHER = "was-here", "rescued!"
# Tells what it finds on the disks, and leaves its mark on its own; in a rescue on the second one.
SCRIPT = f"""#!/bin/sh
found() {{
    dd if=/dev/$1 bs=512 skip=2000000 count=1 2>/dev/null | head -c {len(MARK)} | tr -d '\\000'
}}
echo "marks vda=[$(found vda)] vdb=[$(found vdb)]"
disk=vda text={MARK}
[ ! -e /dev/vdb ] || disk=vdb text='{OTHER}'
printf "$text" | dd of=/dev/$disk bs=512 seek=2000000 conv=notrunc 2>/dev/null
sync
"""


def done(client: Client, server_id: str, status: str, **action: Any) -> None:
    """Do it, and see that it ended well."""
    task = client.finished(client.act(server_id, **action))
    assert task["state"] == "succeeded", task["fault"]
    assert client.server(server_id)["status"] == status


def boots(client: Client, server_id: str, times: int, marks: str) -> None:
    """Wait until the guest has booted so often; it found these marks on its disks then."""
    eventually(lambda: client.console(server_id).count(READY) == times, 120, f"boot {times}")
    lines = [line for line in client.console(server_id).splitlines() if "marks" in line]
    assert lines[-1].endswith(marks), lines


def test_a_guest_goes_through_everything_that_leaves_it_on_its_host(
    real_cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], tiny_image: Path
) -> None:
    root = f"http://127.0.0.1:{real_cloud.web_port}"
    client, admin = Client(root), Client(root, "admin")
    image = client.upload(tiny_image)
    server_id, task_id = client.create(image, user_data=SCRIPT)
    assert client.finished(task_id)["state"] == "succeeded"
    boots(client, server_id, 1, "vda=[] vdb=[]")

    done(client, server_id, "PAUSED", pause=None)
    done(client, server_id, "ACTIVE", unpause=None)
    done(client, server_id, "SUSPENDED", suspend=None)
    real_cloud.kill("host-n1")
    real_cloud.start_host("n1", libvirt_uri=hypervisors("n1").uri)
    done(client, server_id, "ACTIVE", resume=None)
    assert client.console(server_id).count(READY) == 1, "it went on, and did not boot"

    path = f"/compute/v2.1/servers/{server_id}"
    made = client.call("POST", f"{path}/os-interface", 200, json={"interfaceAttachment": {}})
    port = made.json()["interfaceAttachment"]
    assert client.finished(made.headers["X-Task-Id"])["state"] == "succeeded"
    address = port["fixed_ips"][0]["ip_address"]
    client.says(server_id, f"NOVELLA-GUEST address={address}/")
    version = {"OpenStack-API-Version": "compute 2.48"}
    use = admin.call("GET", f"{path}/diagnostics", headers=version).json()
    assert (use["state"], use["num_nics"], use["num_disks"]) == ("running", 2, 2)
    taken = client.call("DELETE", f"{path}/os-interface/{port['port_id']}", 202)
    assert client.finished(taken.headers["X-Task-Id"])["state"] == "succeeded"
    use = admin.call("GET", f"{path}/diagnostics", headers=version).json()
    assert [nic["mac_address"] == port["mac_addr"] for nic in use["nic_details"]] == [False]
    refused = client.call(
        "POST", f"{path}/action", 409, json={"changePassword": {"adminPass": "x"}}
    )
    assert "guest agent" in refused.text

    answer = client.call("POST", f"{path}/action", 202, json={"createImage": {"name": "copy"}})
    assert client.finished(answer.headers["X-Task-Id"])["state"] == "succeeded"
    copy = answer.headers["Location"].rsplit("/", 1)[-1]
    rescue = client.call("POST", f"{path}/action", 200, json={"rescue": None})
    assert client.finished(rescue.headers["X-Task-Id"])["state"] == "succeeded"
    boots(client, server_id, 2, f"vda=[] vdb=[{MARK}]")
    done(client, server_id, "ACTIVE", unrescue=None)
    boots(client, server_id, 3, f"vda=[{OTHER}] vdb=[]")
    done(client, server_id, "ACTIVE", rebuild={"imageRef": copy})
    boots(client, server_id, 4, f"vda=[{MARK}] vdb=[]")
    assert client.finished(client.delete(server_id))["state"] == "succeeded"
