"""What an image declares → what its pod and its containers may do, and nothing more."""

from __future__ import annotations

from typing import Any

from builder.declared import Declared
from builder.deploy.kubernetes.target import Target

APPARMOR = "container.apparmor.security.beta.kubernetes.io"
_APPARMOR_FIELD = (1, 30)


def numbers(user: str) -> tuple[int, int]:
    """The user and the group of ``42436:42436``."""
    uid, _, gid = user.partition(":")
    return int(uid), int(gid)


def pod(declared: Declared) -> dict[str, Any]:
    """The securityContext of a pod.

    Files of configuration and volumes belong to the group that the image runs as (fsGroup); what is there already is
    looked through once, not at each start.
    """
    uid, gid = numbers(declared.user)
    groups = declared.run.get("groups", [])
    return {
        "runAsUser": uid,
        "runAsGroup": gid,
        **({"runAsNonRoot": True} if uid else {}),
        **({"supplementalGroups": list(groups)} if groups else {}),
        "fsGroup": gid,
        "fsGroupChangePolicy": "OnRootMismatch",
        **({} if privileged(declared) else {"seccompProfile": {"type": "RuntimeDefault"}}),
    }


def container(declared: Declared, target: Target, user: str = "") -> dict[str, Any]:
    """The securityContext of a container.

    Args:
        user: whom a step runs as, if not as its service.
    """
    uid, gid = numbers(user or declared.user)
    own: dict[str, Any] = {}
    if user:
        own = {"runAsUser": uid, "runAsGroup": gid, **({} if uid else {"runAsNonRoot": False})}
    if privileged(declared):
        return {**own, "privileged": True, "readOnlyRootFilesystem": True}
    capabilities = {
        "drop": ["ALL"],
        **({"add": list(added)} if (added := declared.platform.get("capabilities")) else {}),
    }
    found: dict[str, Any] = {
        **own,
        # Kubernetes refuses SYS_ADMIN without it.
        "allowPrivilegeEscalation": declared.may_mount,
        "readOnlyRootFilesystem": True,
        "capabilities": capabilities,
    }
    if declared.may_mount and target.version >= _APPARMOR_FIELD:
        found["appArmorProfile"] = {"type": "Unconfined"}
    return found


def noted(declared: Declared, target: Target, containers: tuple[str, ...]) -> dict[str, str]:
    """What older releases want said of AppArmor beside a pod."""
    if not declared.may_mount or privileged(declared) or target.version >= _APPARMOR_FIELD:
        return {}
    return {f"{APPARMOR}/{name}": "unconfined" for name in containers}


def privileged(declared: Declared) -> bool:
    """Whether it has full access to its host: as it says, or as there is nothing less for what it needs.

    ``/proc`` as the kernel shows it (procMount) is only for pods in a user namespace, which cannot have the network of
    their host; mounts that the host shares (Bidirectional) and devices are only for privileged containers.
    """
    return any(declared.platform.get(key) for key in ("privileged", "unmasked", "shared", "devices"))
