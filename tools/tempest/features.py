"""What the cloud can do, and the options of tempest.conf that say so: the one table of both.

A feature is there when its server actions and its routes are. So a branch that adds one also
switches on its tests, and nothing is switched off that works.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

SECTION = "compute-feature-enabled"


@dataclass(frozen=True)
class Feature:
    """An option of `[compute-feature-enabled]`: true when all that it needs is there.

    `actions` are names of server actions, `routes` ends of Compute's paths.
    """

    option: str
    actions: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()

    def is_there(self, actions: Collection[str], routes: Collection[str]) -> bool:
        """Whether a cloud with these actions and paths has it."""
        has_routes = all(any(path.endswith(end) for path in routes) for end in self.routes)
        return has_routes and all(name in actions for name in self.actions)


FEATURES = (
    Feature("console_output", ("os-getConsoleOutput",)),
    Feature("pause", ("pause", "unpause")),
    Feature("suspend", ("suspend", "resume")),
    Feature("rescue", ("rescue", "unrescue")),
    Feature("stable_rescue", ("rescue", "unrescue")),
    Feature("snapshot", ("createImage", "createBackup")),
    Feature("resize", ("resize", "confirmResize", "revertResize")),
    Feature("cold_migration", ("migrate",)),
    Feature("live_migration", ("os-migrateLive",)),
    Feature("block_migration_for_live_migration", ("os-migrateLive",)),
    Feature("shelve", ("shelve", "unshelve", "shelveOffload")),
    Feature("shelve_migrate", ("shelve", "unshelve", "migrate")),
    Feature("interface_attach", routes=("/os-interface",)),
    Feature("enable_instance_password", routes=("/os-server-password",)),
)

# What every cloud of ours has, or has not, whatever its routes are.
FIXED = {
    "disk_config": "true",
    "config_drive": "true",
    "change_password": "false",  # needs a guest agent, which the tiny guest has not
    "personality": "true",
    "hostname_fqdn_sanitization": "true",
    "scheduler_enabled_filters": "all",
    "ide_bus": "false",
    "metadata_service": "false",
    "vnc_console": "false",
    "spice_console": "false",
    "serial_console": "false",
    "swap_volume": "false",
    "volume_multiattach": "false",
    "volume_backed_live_migration": "false",
    "attach_encrypted_volume": "false",
    "vtpm_live_migration": "false",
    "unified_limits": "false",
}

# Tests that Tempest runs whatever its options say, and the option that should rule them.
WITHOUT_OPTION = {
    "tempest.api.compute.admin.test_servers_on_multinodes"
    ".UnshelveToHostMultiNodesTest.test_unshelve_to_specific_host": "shelve",
}


def left_out(made: Mapping[str, str]) -> dict[str, str]:
    """Tests that must not run with these options, with the reason, though no option skips them."""
    return {
        name: f"{option} is not available, and no option of Tempest's says so for this test"
        for name, option in WITHOUT_OPTION.items()
        if made[option] == "false"
    }


def options(actions: Collection[str], routes: Collection[str]) -> dict[str, str]:
    """All options of the section for a cloud with these server actions and paths."""
    found = {one.option: str(one.is_there(actions, routes)).lower() for one in FEATURES}
    return FIXED | found
