"""tempest.conf for a running cloud, from what that cloud says of itself."""

from __future__ import annotations

import configparser
from pathlib import Path

from tools.tempest import features
from tools.tempest.facts import Facts

Sections = dict[str, dict[str, str]]


def sections(facts: Facts, folder: Path) -> Sections:
    """Every option that is set; Tempest's defaults hold for the rest."""
    made: Sections = {
        "DEFAULT": {"log_file": str(folder / "tempest.log"), "use_stderr": "false"},
        "oslo_concurrency": {"lock_path": str(folder / "locks")},
        "auth": {
            "use_dynamic_credentials": "true",
            "create_isolated_networks": "false",
            "admin_username": "admin",
            "admin_password": facts.admin_password,
            "admin_project_name": "admin",
            "admin_domain_name": "Default",
        },
        "identity": {
            "uri_v3": f"{facts.root}/identity/v3",
            "region": "RegionOne",
            "v3_endpoint_type": "public",
        },
        "service_available": {
            "cinder": "false",
            "swift": "false",
            "horizon": "false",
            "neutron": "true",
            "glance": "true",
            "nova": "true",
        },
        "compute": {
            "image_ref": facts.images[0],
            "image_ref_alt": facts.images[1],
            "flavor_ref": facts.flavors[0],
            "flavor_ref_alt": facts.flavors[1],
            "min_microversion": facts.min_microversion,
            "max_microversion": facts.max_microversion,
            "min_compute_nodes": str(facts.hosts),
            "fixed_network_name": facts.network,
            "build_timeout": "180",
            "build_interval": "1",
        },
        "network": {"shared_physical_network": "true"},
        "network-feature-enabled": {"api_extensions": ",".join(facts.network_extensions)},
        "image": {"build_timeout": "180", "build_interval": "1"},
        "validation": {"run_validation": "false"},
        features.SECTION: features.options(facts.actions, facts.routes),
    }
    if facts.external_network:
        made["network"] |= {
            "public_network_id": facts.external_network[0],
            "floating_network_name": facts.external_network[1],
        }
    return made


def write(made: Sections, path: Path) -> None:
    """As oslo.config reads it."""
    parser = configparser.RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_dict(made)
    with path.open("w") as file:
        parser.write(file)
