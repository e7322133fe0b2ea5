"""Bodies of Compute's old requests about security groups and addresses."""

from __future__ import annotations

from app.web.body import UUID, Json, Schema, integer, only

_NULL: Json = {"type": "null"}
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"}
_ADDRESS: Json = {"type": "string", "minLength": 1, "maxLength": 45}
_NUMBER: Json = {"anyOf": [integer(0, 65535), {"enum": [-1, "-1", "", None]}]}

GROUP = Schema(
    "ComputeSecurityGroup",
    only({"security_group": only({"name": _NAME, "description": _NAME})}),
)
RULE = Schema(
    "ComputeSecurityGroupRule",
    only(
        {
            "security_group_rule": only(
                {"parent_group_id": UUID},
                {
                    "ip_protocol": {"type": ["string", "null"], "maxLength": 16},
                    "from_port": _NUMBER,
                    "to_port": _NUMBER,
                    "cidr": {"type": ["string", "null"], "maxLength": 64},
                    "group_id": {"anyOf": [UUID, _NULL, {"type": "string", "maxLength": 0}]},
                },
            )
        }
    ),
)
FLOATING = Schema(
    "ComputeFloatingIp", only({}, {"pool": {"type": ["string", "null"], "maxLength": 255}})
)
ADD_GROUP = Schema("addSecurityGroup", only({"addSecurityGroup": only({"name": _NAME})}))
REMOVE_GROUP = Schema("removeSecurityGroup", only({"removeSecurityGroup": only({"name": _NAME})}))
ADD_FLOATING = Schema(
    "addFloatingIp",
    only(
        {
            "addFloatingIp": only(
                {"address": _ADDRESS}, {"fixed_address": {"anyOf": [_ADDRESS, _NULL]}}
            )
        }
    ),
)
REMOVE_FLOATING = Schema(
    "removeFloatingIp", only({"removeFloatingIp": only({"address": _ADDRESS})})
)
