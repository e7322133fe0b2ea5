"""The commands, a chapter per resource; each leaves what later ones need, noted for deletion."""

from __future__ import annotations

from ipaddress import ip_network
from shlex import quote

from client import Client, Failed

BOOT_SECONDS = 240.0


def identity(c: Client) -> None:
    """Tokens, catalog, endpoints, versions; projects, users, roles, application credentials."""
    c.run("token issue", "token issue")
    c.run("catalog list", "catalog list")
    c.run("catalog show", "catalog show compute")
    c.run("endpoint list", "endpoint list", admin=True)
    c.run("service list", "service list", admin=True)
    c.run("versions show", "versions show")
    project, user = c.name("project"), c.name("user")
    c.later(f"project delete {project}", admin=True)
    c.run("project create", f"project create {project} --description d", admin=True)
    c.run("project list", "project list", admin=True)
    c.plain(f"project set {project} --description e", admin=True)
    c.run("project show", f"project show {project}", admin=True)
    c.later(f"user delete {user}", admin=True)
    c.run("user create", f"user create {user} --password tour-pass", admin=True)
    c.run("user list", "user list", admin=True)
    c.run("user show", f"user show {user}", admin=True)
    c.run("role list", "role list", admin=True)
    c.plain(f"role add --project {project} --user {user} reader", admin=True)
    c.run("role assignment list", f"role assignment list --user {user} --names", admin=True)
    c.plain(f"role remove --project {project} --user {user} reader", admin=True)
    credential = c.name("credential")
    c.later(f"application credential delete {credential}")
    made = c.run("application credential create", f"application credential create {credential}")
    if not (made.get("secret") or made.get("Secret")):
        raise Failed("application credential create: no secret")
    c.run("application credential list", "application credential list")
    c.run("application credential show", f"application credential show {credential}")
    c.plain(f"application credential delete {credential}")
    c.plain(f"application credential show {credential}", refused=True)


def flavors(c: Client) -> None:
    """Flavors and their properties."""
    c.run("flavor list", "flavor list")
    c.run("flavor list --long", "flavor list --long")
    name = c.name("flavor")
    c.later(f"flavor delete {name}", admin=True)
    size = "--ram 256 --vcpus 1 --disk 1"
    c.run("flavor create", f"flavor create {name} {size} --property a:b=1", admin=True)
    c.plain(f"flavor set {name} --property hw:mem_page_size=small", admin=True)
    c.plain(f"flavor unset {name} --property hw:mem_page_size", admin=True)
    c.run("flavor show", f"flavor show {name}")
    c.plain(f"flavor delete {name}", admin=True)
    c.plain(f"flavor show {name}", refused=True)


def images(c: Client) -> None:
    """Images: upload, import, change, save, list."""
    name, imported = c.name("image"), c.name("imported")
    formats = f"--disk-format qcow2 --container-format bare --file {quote(str(c.image))}"
    c.later(f"image delete {name}")
    c.run("image create", f"image create {name} {formats} --property a=b --min-ram 64")
    c.later(f"image delete {imported}")
    c.run("image create --import", f"image create {imported} {formats} --import")
    c.until(
        "the imported image is active",
        lambda: c.run("image show imported", f"image show {imported}")["status"] == "active",
        60,
    )
    c.plain(f"image set {name} --property c=d --tag t --min-disk 1 --name {name}-2")
    c.plain(f"image set {name}-2 --name {name}")
    c.plain(f"image unset {name} --property c --tag t")
    shown = c.run("image show", f"image show {name}")
    if shown["properties"].get("a") != "b" or "c" in shown["properties"]:
        raise Failed(f"image set and unset: properties are {shown['properties']}")
    wrong = (
        f"{c.name('wrong')} --disk-format raw --container-format bare --file {quote(str(c.image))}"
    )
    c.later(f"image delete {c.name('wrong')}")
    refused = c.plain(f"image create {wrong}", refused=True)
    if "qcow2" not in refused:
        raise Failed(f"image create: the refusal does not say why: {refused[-200:]}")
    saved = c.folder / "saved"
    c.plain(f"image save {name} --file {quote(str(saved))}")
    if saved.read_bytes() != c.image.read_bytes():
        raise Failed("image save: not the bytes that were uploaded")
    c.run("image list", "image list")
    c.run("image list --name", f"image list --name {name} --long")
    c.plain(f"image delete {imported}")
    c.plain(f"image show {imported}", refused=True)


def networks(c: Client) -> None:
    """Networks, subnets, ports."""
    network = c.run("network list", "network list")[0]
    c.run("network list --long", "network list --long")
    c.run("network show by name", f"network show {network['Name']}")
    c.run("network show by id", f"network show {network['ID']}")
    subnet = c.run("subnet list", "subnet list")[0]
    c.run("subnet show", f"subnet show {subnet['ID']}")
    c.run("security group list", "security group list")
    c.run("security group show", "security group show default")
    _own_networks(c)


def _own_networks(c: Client) -> None:
    """A network of one's own with all that belongs to it, made and removed again."""
    net, group, router = c.name("net"), c.name("group"), c.name("router")
    c.later(f"network delete {net}")
    c.plain(f"network create {net}")
    c.plain(f"subnet create {net} --network {net} --subnet-range 10.254.250.0/24")
    c.plain(f"subnet set {net} --dns-nameserver 9.9.9.9")
    c.plain(f"security group create {group}")
    c.plain(f"security group rule create {group} --protocol tcp --dst-port 22:23")
    c.plain(f"security group rule create {group} --protocol icmp --remote-group {group}")
    c.plain(f"port create {net} --network {net} --security-group {group}")
    c.plain(f"port set {net} --description tour")
    c.plain(f"router create {router}")
    c.plain(f"router add subnet {router} {net}")
    c.plain(f"router remove subnet {router} {net}")
    for what in (f"router delete {router}", f"port delete {net}", f"security group delete {group}"):
        c.plain(what)
    c.plain(f"network delete {net}")


def keypairs(c: Client) -> None:
    """Key pairs."""
    name, private = c.name("key"), c.folder / "key"
    c.later(f"keypair delete {name}")
    c.plain(f"keypair create {name} --private-key {quote(str(private))}")
    c.run("keypair list", "keypair list")
    shown = c.run("keypair show", f"keypair show {name}")
    public = c.folder / "key.pub"
    public.write_text(c.plain(f"keypair show {name} --public-key"))
    c.plain(f"keypair delete {name}")
    c.run("keypair create --public-key", f"keypair create {name} --public-key {quote(str(public))}")
    if shown["name"] != name:
        raise Failed(f"keypair show: {shown['name']}")


def servers(c: Client) -> None:
    """Servers: made by name and by id, seen, changed, stopped, started, rebooted, deleted."""
    name, data = c.name("server"), c.folder / "user-data"
    data.write_text("#!/bin/sh\necho tour\n")
    network = c.run("network list", "network list")[0]
    by_name = (
        f"--image {c.name('image')} --flavor {c.flavor} --network {network['Name']} "
        f"--key-name {c.name('key')} --user-data {quote(str(data))} --property role=tour "
        "--security-group default"
    )
    c.later(f"server delete --wait {name}")
    made = c.run("server create by name", f"server create {name} {by_name} --wait")
    image = c.run("image show", f"image show {c.name('image')}")["id"]
    flavor = c.run("flavor show tiny", f"flavor show {c.flavor}")["id"]
    second = c.name("second")
    by_id = (
        f"--image {image} --flavor {flavor} --nic net-id={network['ID']} "
        f"--key-name {c.name('key')} --user-data {quote(str(data))} --config-drive true"
    )
    c.later(f"server delete --wait {second}")
    c.run("server create by id", f"server create {second} {by_id} --wait")
    c.run("server list", "server list")
    c.run("server list --long", f"server list --long --name {name}")
    c.run("server list --all-projects", "server list --all-projects", admin=True)
    c.run("server show by name", f"server show {name}")
    c.run("server show by id", f"server show {made['id']}")
    c.run("server show as administrator", f"server show {made['id']}", admin=True)
    c.run("port list", "port list")
    port = c.run("port list --server", f"port list --server {made['id']}")[0]
    c.run("port show", f"port show {port['ID']}")
    marker = f"--limit 1 --marker {c.run('server list', 'server list')[0]['ID']}"
    listed = c.run("server list --marker", f"server list --status ACTIVE {marker}")
    if len(listed) != 1:
        raise Failed(f"server list {marker}: {listed}")


def server_options(c: Client) -> None:
    """What a create can ask for besides, and what an administrator can."""
    name, sibling = (
        c.name("options"),
        c.run("server show by name", f"server show {c.name('server')}"),
    )
    common = f"--image {c.name('image')} --flavor {c.flavor}"
    c.later(f"server delete --wait {name}")
    made = c.run(
        "server create with options",
        f"server create {name} {common} --nic auto --description text --tag one "
        "--hostname other --availability-zone nova --property a=b "
        f"--hint same_host={sibling['id']} --min 1 --max 1 --wait",
    )
    told = {
        "description": (made["description"], "text"),
        "tags": (list(made["tags"]), ["one"]),
        "properties": (made["properties"], {"a": "b"}),
        "zone": (made["OS-EXT-AZ:availability_zone"], "nova"),
    }
    for what, (got, asked) in told.items():
        if got != asked:
            raise Failed(f"server create: {what} is {got!r}, not {asked!r}")
    full = c.run("server show as administrator", f"server show {made['id']}", admin=True)
    if full["OS-EXT-SRV-ATTR:hostname"] != "other":
        raise Failed(f"server create --hostname: {full['OS-EXT-SRV-ATTR:hostname']}")
    host = full["OS-EXT-SRV-ATTR:host"]
    c.run("server list --host", f"server list --all-projects --host {host}", admin=True)
    c.plain(f"server delete --wait {name}")
    _placed(c, common, host)


def _placed(c: Client, common: str, host: str) -> None:
    """Creates at one host, in each way of saying so, without a network and with an address."""
    subnet = c.run("subnet list", "subnet list")[0]
    address = str(ip_network(subnet["Subnet"])[200])
    places = {
        f"--availability-zone nova:{host} --nic none": "",
        f"--host {host} --nic net-id={subnet['Network']},v4-fixed-ip={address}": address,
    }
    for number, (where, wanted) in enumerate(places.items()):
        name = c.name(f"placed-{number}")
        c.later(f"server delete --wait {name}", admin=True)
        create = f"server create {name} {common} {where} --wait"
        made = c.run("server create at a host", create, admin=True)
        found = [one for addresses in made["addresses"].values() for one in addresses]
        if (made["OS-EXT-SRV-ATTR:host"], found) != (host, [wanted] if wanted else []):
            raise Failed(f"server create {where}: is on {made['OS-EXT-SRV-ATTR:host']} at {found}")
        c.plain(f"server delete --wait {name}", admin=True)


def server_in_place(c: Client) -> None:
    """What a server goes through on its host, and what it is made into."""
    name = c.name("server")
    for verb, status in (
        *(("pause", "PAUSED"), ("unpause", "ACTIVE")),
        *(("suspend", "SUSPENDED"), ("resume", "ACTIVE")),
    ):
        c.plain(f"server {verb} {name}")
        _reaches(c, name, status)
    server_id = c.run("server show by name", f"server show {name}")["id"]
    c.run("server show --diagnostics", f"server show --diagnostics {server_id}", admin=True)
    c.plain(f"server dump create {name}")
    copy, kept = c.name("copy"), c.name("backup")
    c.later(f"image delete {copy}")
    _soon(c, f"server image create --name {copy} --wait {name}")
    c.run("image show of a server", f"image show {copy}")
    c.later(f"image delete {kept}")
    backup = f"server backup create --name {kept} --type daily --rotate 1 --wait {name}"
    c.run("server backup create", backup)
    _boots_anew(c, name)
    _another_interface(c, name)
    for state in ("error", "active"):
        c.plain(f"server set --state {state} --auto-approve {server_id}", admin=True)
        _reaches(c, name, state.upper())
    refused = c.plain(f"server set --password tour-pass {name}", refused=True)
    if "guest agent" not in refused:
        raise Failed(f"server set --password: the refusal does not say why: {refused[-200:]}")
    c.plain(f"server resize --flavor m1.small {name}", refused=True)


def _boots_anew(c: Client, name: str) -> None:
    c.plain(f"server rescue {name} --image {c.name('image')}")
    _reaches(c, name, "RESCUE")
    c.plain(f"server unrescue {name}")
    _reaches(c, name, "ACTIVE")
    c.run("server rebuild", f"server rebuild {name} --image {c.name('copy')}")
    _reaches(c, name, "ACTIVE")


def _another_interface(c: Client, name: str) -> None:
    """Of a stopped server: a guest that boots may not let an interface go for a while."""
    c.plain(f"server stop {name}")
    _reaches(c, name, "SHUTOFF")
    network = c.run("network list", "network list")[0]
    before = {port["ID"] for port in c.run("port list", f"port list --server {name}")}
    c.plain(f"server add network {name} {network['ID']}")
    after = {port["ID"] for port in c.run("port list", f"port list --server {name}")}
    [port] = after - before
    _soon(c, f"server remove port {name} {port}")
    _soon(c, f"server start {name}")
    _reaches(c, name, "ACTIVE")


def _soon(c: Client, command: str) -> None:
    """Run it as soon as the server's request before it, which shows no task state, has ended."""

    def works() -> bool:
        try:
            c.plain(command)
        except Failed as error:
            if "409" not in str(error):
                raise
            return False
        return True

    c.until(f"openstack {command}", works, BOOT_SECONDS)


def server_changes(c: Client) -> None:
    """What changes a server."""
    name = c.name("server")
    c.plain(f"server set {name} --property colour=blue --description text --tag one")
    c.plain(f"server unset {name} --property role --tag one --description")
    c.plain(f"server set {name} --name {name}-2")
    c.plain(f"server set {name}-2 --name {name}")
    shown = c.run("server show changed", f"server show {name}")
    if shown["properties"] != {"colour": "blue"}:
        raise Failed(f"server set and unset: properties are {shown['properties']}")
    c.plain(f"server lock {name} --reason tour")
    c.plain(f"server unlock {name}")
    for verb, status in (("stop", "SHUTOFF"), ("start", "ACTIVE")):
        c.plain(f"server {verb} {name}")
        _reaches(c, name, status)
    c.plain(f"server reboot {name} --wait")
    c.plain(f"server reboot --hard {name} --wait")
    _reaches(c, name, "ACTIVE")
    c.until(
        "the console has output",
        lambda: bool(c.plain(f"console log show {name} --lines 5").strip()),
        BOOT_SECONDS,
    )
    event = c.run("server event list", f"server event list {name}")[0]
    c.run("server event show", f"server event show {name} {event['Request ID']}")
    c.plain(f"server delete --wait {name} {c.name('second')}")
    c.plain(f"server show {name}", refused=True)


def _reaches(c: Client, name: str, status: str) -> None:
    def reached() -> bool:
        return bool(c.run("server show", f"server show {name}")["status"] == status)

    c.until(f"{name} is {status}", reached, BOOT_SECONDS)


def limits(c: Client) -> None:
    """What a project may have and has."""
    c.run("limits show --absolute", "limits show --absolute")
    c.run("quota show", "quota show")
    c.run("quota show --usage", "quota show --usage")
    project = c.name("project")
    c.plain(f"quota set --instances 7 {project}", admin=True)
    c.run("quota list", "quota list --compute", admin=True)
    c.run("quota show of a project", f"quota show {project}", admin=True)
    c.run("usage show", "usage show")
    c.run("usage list", "usage list", admin=True)
    c.run("availability zone list", "availability zone list --compute")
    c.run("availability zone list of all", "availability zone list")
    c.run("availability zone list --long", "availability zone list --compute --long", admin=True)


def operators(c: Client) -> None:
    """What administrators look at."""
    service = c.run(
        "compute service list", "compute service list --service nova-compute", admin=True
    )
    host = service[0]["Host"]
    c.plain(f"compute service set --disable --disable-reason tour {host} nova-compute", admin=True)
    c.run("compute service list --long", "compute service list --long", admin=True)
    c.plain(f"compute service set --enable {host} nova-compute", admin=True)
    found = c.run("hypervisor list", "hypervisor list", admin=True)[0]
    c.run("hypervisor list --long", "hypervisor list --long", admin=True)
    c.run("hypervisor show", f"hypervisor show {found['Hypervisor Hostname']}", admin=True)
    c.run(
        "hypervisor stats show", "--os-compute-api-version 2.87 hypervisor stats show", admin=True
    )


def aggregates(c: Client) -> None:
    """Host aggregates: made, filled, changed, emptied, deleted."""
    name = c.name("aggregate")
    service = c.run(
        "compute service list", "compute service list --service nova-compute", admin=True
    )
    host = service[0]["Host"]
    c.later(f"aggregate delete {name}", admin=True)
    c.run("aggregate create", f"aggregate create {name} --property a=b", admin=True)
    c.later(f"aggregate remove host {name} {host}", admin=True)
    c.run("aggregate add host", f"aggregate add host {name} {host}", admin=True)
    c.plain(f"aggregate set {name} --property ram_allocation_ratio=1.5 --name {name}-2", admin=True)
    c.plain(f"aggregate set {name}-2 --name {name}", admin=True)
    c.plain(f"aggregate unset {name} --property ram_allocation_ratio", admin=True)
    c.run("aggregate list", "aggregate list", admin=True)
    c.run("aggregate list --long", "aggregate list --long", admin=True)
    shown = c.run("aggregate show", f"aggregate show {name}", admin=True)
    if shown["properties"] != {"a": "b"} or shown["hosts"] != [host]:
        raise Failed(f"aggregate set and unset: {shown}")
    c.plain(f"aggregate delete {name}", admin=True, refused=True)
    c.run("aggregate remove host", f"aggregate remove host {name} {host}", admin=True)
    c.plain(f"aggregate delete {name}", admin=True)


def server_groups(c: Client) -> None:
    """Server groups: made, seen, deleted."""
    name = c.name("group")
    c.later(f"server group delete {name}")
    made = c.run(
        "server group create",
        f"server group create {name} --policy anti-affinity --rule max_server_per_host=2",
    )
    c.run("server group list", "server group list")
    c.run("server group list --long", "server group list --long")
    c.run("server group list --all-projects", "server group list --all-projects", admin=True)
    shown = c.run("server group show", f"server group show {made['id']}")
    if shown["policy"] != "anti-affinity":
        raise Failed(f"server group show: {shown}")
    c.plain(f"server group delete {name}")


CHAPTERS = (
    identity,
    flavors,
    images,
    networks,
    keypairs,
    servers,
    server_options,
    server_in_place,
    server_changes,
    limits,
    operators,
    aggregates,
    server_groups,
)
