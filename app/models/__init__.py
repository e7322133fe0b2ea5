"""SQLAlchemy tables, a file per noun."""

from app.models.action import Action, ActionEvent, Idempotency
from app.models.aggregate import Aggregate, AggregateHost
from app.models.base import Base, horizon, new_id, now
from app.models.cloud import Cloud
from app.models.flavor import Flavor, FlavorAccess
from app.models.host import Allocation, Cleanup, Host, MissingGuest
from app.models.identity import (
    ApplicationCredential,
    Domain,
    Project,
    Revocation,
    Role,
    RoleAssignment,
    User,
)
from app.models.image import Image
from app.models.image_member import ImageMember
from app.models.keypair import Keypair
from app.models.network import FloatingIp, HostNetworking, Network, Port, Router, Subnet
from app.models.precache import Precache
from app.models.quota import Quota, QuotaClass, QuotaUsage, UserQuota
from app.models.security_group import (
    PortGroup,
    SecurityGroup,
    SecurityRule,
    ServerSecurityGroup,
)
from app.models.server import Server, ServerNic, ServerTag
from app.models.server_group import ServerGroup, ServerGroupMember

__all__ = [
    "ServerSecurityGroup",
    "PortGroup",
    "SecurityRule",
    "SecurityGroup",
    "Router",
    "HostNetworking",
    "FloatingIp",
    "Action",
    "ActionEvent",
    "Aggregate",
    "AggregateHost",
    "Allocation",
    "ApplicationCredential",
    "Base",
    "Cleanup",
    "Cloud",
    "Domain",
    "Flavor",
    "FlavorAccess",
    "Host",
    "Idempotency",
    "Image",
    "ImageMember",
    "Keypair",
    "MissingGuest",
    "Network",
    "Port",
    "Precache",
    "Project",
    "Quota",
    "QuotaClass",
    "QuotaUsage",
    "Revocation",
    "Role",
    "RoleAssignment",
    "Server",
    "ServerGroup",
    "ServerGroupMember",
    "ServerNic",
    "ServerTag",
    "Subnet",
    "User",
    "horizon",
    "UserQuota",
    "new_id",
    "now",
]
