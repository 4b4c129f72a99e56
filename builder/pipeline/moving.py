"""A plan for a cluster → only what has to do with releases that move; and what runs there → what ran before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.cluster import fields
from builder.cluster.api import MANAGER, Object, called
from builder.deploy.kubernetes import metadata, objects
from builder.deploy.kubernetes.steps import STEP
from builder.deploy.kubernetes.workloads import BACK_TO
from builder.errors import ClusterError, UsageError
from builder.pipeline import applying
from builder.pipeline.applying import Api, Change, Site
from dsl import versions

_RUNNERS = ("Deployment", "StatefulSet", "DaemonSet")
_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Move:
    """A workload whose release moves.

    Attributes:
        name: of the workload, as its object is called.
        image: whose releases these are.
        before, after: tags; the same where the move was begun before and is not at its end.
        wave: when it rolls.
    """

    name: str
    image: str
    before: str
    after: str
    wave: int

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {"workload": self.name, "image": self.image, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class Moves:
    """What moves at a site.

    Attributes:
        rows: in the order in which they roll.
        changes: all that belongs to them, in the order in which it is done.
        left: what would change, too, and has to do with no release.
    """

    rows: tuple[Move, ...]
    changes: tuple[Change, ...]
    left: tuple[Change, ...] = ()

    @property
    def order(self) -> tuple[tuple[str, ...], ...]:
        """Which steps run and which workloads roll, by the waves in which they do."""
        waves: dict[int, list[str]] = {}
        for one in self.changes:
            if one.wanted and one.action != "keep" and one.wanted["kind"] in ("Job", *_RUNNERS):
                waves.setdefault(objects.wave(one.wanted), []).append(applying.step_or_name(one.wanted))
        return tuple(map(tuple, waves.values()))

    @property
    def releases(self) -> tuple[tuple[str, str, str], ...]:
        """Images with the releases that they come from and go to, each once."""
        return tuple(dict.fromkeys((one.image, one.before, one.after) for one in self.rows if one.before != one.after))

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "moves": [one.data() for one in self.rows],
            "order": [list(wave) for wave in self.order],
            "left": [{"action": one.action, "object": one.name} for one in self.left],
        }


def of(changes: Sequence[Change]) -> Moves:
    """What of a plan is an update: workloads that run another release than is wanted, with their steps and configuration.

    One that was begun and has not ended is one, too: something of it is of the old release still, or is not up.
    """
    moves: dict[str, Move] = {}
    for one in changes:
        if one.wanted is None or one.wanted["kind"] not in _RUNNERS or one.action == "create":
            continue
        key, after = owner(one.wanted), _version(one.wanted)
        old = {_version(other.before) for other in changes if other.before and owner(other.before) == key} - {after, ""}
        before = one.releases[0] or min(old, default="")
        if before or one.unfinished:
            name = str(one.wanted["metadata"]["name"])
            moves[key] = Move(name, _image(one.wanted), before or after, after, objects.wave(one.wanted))
    mine = tuple(one for one in changes if owner(one.wanted or one.before or {}) in moves)
    left = tuple(one for one in changes if one.action != "keep" and one not in mine)
    return Moves(tuple(sorted(moves.values(), key=lambda one: one.wave)), mine, left)


def owner(one: Object) -> str:
    """The workload that an object belongs to; empty if it is the site's own."""
    told = one.get("metadata", {})
    step = (told.get("annotations") or {}).get(STEP, "")
    return metadata.short(step.rpartition("/")[0]) if step else (told.get("labels") or {}).get(metadata.INSTANCE, "")


def back(api: Api, where: Site) -> Moves:
    """What taking back the last rollout comes to: each workload that took part gets the template that it had before.

    Raises:
        UsageError: nothing of it has been rolled by imgbuild, or something would go back further than its definition allows.
        ClusterError: the server does not answer, or what ran before is not there any more.
    """
    there = [one for one in applying.there(api, where) if one["kind"] in (*_RUNNERS, "CronJob")]
    runners = [one for one in there if one["kind"] in _RUNNERS]
    newest = max((_mark(one) for one in runners), default="")
    rolled = [one for one in runners if newest and _mark(one) == newest]
    if not rolled:
        raise UsageError(
            f"nothing of {where.component or where.name} was rolled here that could be taken back",
            "`imgbuild deploy status` shows what runs; `apply` and `update` note what they roll",
        )
    rows: list[Move] = []
    changes: list[Change] = []
    refused: list[str] = []
    for one in sorted(rolled, key=objects.wave, reverse=True):
        template = _before(api, where, one)
        move = Move(
            str(one["metadata"]["name"]), _image(one), _version(one), _version(template), objects.wave(one)
        )  # fmt: skip
        refused += _too_far(one, move)
        rows.append(move)
        changes.append(_change(one, {**one["spec"], "template": template}, move))
        for cron in there:
            if cron["kind"] == "CronJob" and owner(cron) == owner(one):
                was, now = _reference(one["spec"]["template"]), _reference(template)
                changes.append(_change(cron, _with_image(cron["spec"], was, now), move))
    if refused:
        raise UsageError("; ".join(refused), "mend it by a newer release; `-c COMPONENT` takes back others alone")
    return Moves(tuple(rows), tuple(changes))


def _before(api: Api, where: Site, one: Object) -> dict[str, Any]:
    """The template of the pods that an object had before its newest one."""
    own = one["metadata"]
    kind = "ReplicaSet" if one["kind"] == "Deployment" else "ControllerRevision"
    labels = one["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found: list[tuple[int, dict[str, Any]]] = []
    for each in api.find("apps/v1", kind, where.namespace, selector):
        told = each["metadata"]
        if not any(ref.get("uid") == own.get("uid") for ref in told.get("ownerReferences") or ()):
            continue
        if kind == "ReplicaSet":
            found.append((int((told.get("annotations") or {}).get(_REVISION, 0)), each["spec"]["template"]))
        else:
            found.append((int(each["revision"]), each["data"]["spec"]["template"]))
    found.sort(key=lambda row: row[0])
    if len(found) < 2:
        raise UsageError(f"{called(one)} has no version before this one", "the cluster keeps the last three of each")
    template = {key: value for key, value in found[-2][1].items() if key != "$patch"}
    told = {key: value for key, value in template["metadata"].items() if key in ("labels", "annotations") and value}
    told["labels"] = {key: value for key, value in told["labels"].items() if key != "pod-template-hash"}
    template["metadata"] = told
    _require_configuration(api, where, one, template)
    return template


def _require_configuration(api: Api, where: Site, one: Object, template: Mapping[str, Any]) -> None:
    for volume in template["spec"].get("volumes") or ():
        for key, kind, named in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
            if name := (volume.get(key) or {}).get(named):
                wanted = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": where.namespace}}
                if api.get(wanted) is None:
                    raise ClusterError(f"{called(one)} cannot go back: {called(wanted)}, which it had, is gone")


def _too_far(one: Object, move: Move) -> list[str]:
    from debian.debian_support import Version

    least = (one["metadata"].get("annotations") or {}).get(BACK_TO, "")
    parsed = versions.parse_tag(move.after)
    before = parsed[0] if parsed else move.after
    if not least or Version(before) >= Version(least):
        return []
    return [
        f"{move.name} {move.before} cannot go back to {move.after}: its definition says `back_to: {least}`, "
        f"what is older cannot run on what it has left behind"
    ]


def _change(one: Object, spec: Mapping[str, Any], move: Move) -> Change:
    """What an object becomes: what we said of it, but for its pods."""
    said = fields.owned(one, MANAGER)
    told = said.get("metadata", {})
    labels = {**told.get("labels", {}), metadata.VERSION: move.after}
    described = {**told, "name": one["metadata"]["name"], "namespace": one["metadata"]["namespace"], "labels": labels}
    key = "jobTemplate" if one["kind"] == "CronJob" else "template"
    wanted = {
        **said, "apiVersion": one["apiVersion"], "kind": one["kind"], "metadata": described,
        "spec": {**said.get("spec", {}), key: spec[key]},
    }  # fmt: skip
    return Change("change", called(one), wanted, one, wanted)


def _with_image(value: Any, old: str, new: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_image(each, old, new) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_image(each, old, new) for each in value]
    return new if value == old else value


def _reference(template: Mapping[str, Any]) -> str:
    return str(template["spec"]["containers"][0]["image"])


def _mark(one: Object) -> str:
    return str((one["metadata"].get("annotations") or {}).get(applying.ROLLED, ""))


def _version(one: Mapping[str, Any] | None) -> str:
    return str(((one or {}).get("metadata", {}).get("labels") or {}).get(metadata.VERSION, ""))


def _image(one: Object) -> str:
    """The name of the image that a workload runs."""
    return str(one["metadata"]["labels"][metadata.NAME])
