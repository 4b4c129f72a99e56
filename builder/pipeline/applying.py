"""Kubernetes objects × a cluster → a plan of what would change; applied in waves that wait for what comes before them."""

from __future__ import annotations

import difflib
import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from builder.cluster import state
from builder.cluster.api import MANAGER, Object, called
from builder.cluster.state import State
from builder.deploy.kubernetes import metadata, objects, target, text
from builder.deploy.kubernetes.objects import Rendered
from builder.deploy.kubernetes.steps import STEP
from builder.errors import ClusterError, RolloutError, UsageError
from builder.report import Reporter
from dsl import model
from dsl.errors import nearest

Action = Literal["create", "change", "keep", "remove"]
_KINDS = (
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "Ingress"), ("networking.k8s.io/v1", "NetworkPolicy"), ("v1", "Service"),
    ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "ServiceAccount"), ("v1", "PersistentVolumeClaim"),
)  # fmt: skip
"""What a site may have in its namespace, in the order in which it is taken away."""
_ADDED = ("gateway.networking.k8s.io/v1", "HTTPRoute")
"""What a cluster may not know: its Gateways are none of Kubernetes' own."""
_BY_RELEASE = (("PodDisruptionBudget", "policy"), ("CronJob", "batch"))
_OF_SERVER = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
ROLLED = "imgbuild.org/rolled"
"""The annotation that says when a workload's pods were changed last: what was changed together has the same."""
_AGAIN = "mend the cause, and apply again"
_PAUSE = 1.0
_LEAVING = 180
_UNKNOWN = 404


class Api(Protocol):
    """What is asked of a cluster."""

    version: tuple[int, int]

    def get(self, one: Object) -> Object | None: ...

    def apply(self, one: Object, *, dry: bool = False, force: bool = False, manager: str = MANAGER) -> Object: ...

    def delete(self, one: Object) -> bool: ...

    def find(self, version: str, kind: str, namespace: str, selector: str) -> tuple[Object, ...]: ...

    def logs(self, pod: Object, container: str, lines: int = 20) -> str: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of an object.

    Attributes:
        wanted: None for what is removed.
        before, after: as the server has it, and would have it; without what only the server says.
        unfinished: it is not yet what was said of it before.
    """

    action: Action
    name: str
    wanted: Object | None
    before: Object | None = field(default=None, repr=False)
    after: Object | None = field(default=None, repr=False)
    unfinished: bool = False

    @property
    def releases(self) -> tuple[str, str]:
        """The release that runs there and the one that is wanted, if they differ."""
        found = [
            side["metadata"].get("labels", {}).get(metadata.VERSION, "") if side else ""
            for side in (self.before, self.after)
        ]
        return (found[0], found[1]) if all(found) and found[0] != found[1] else ("", "")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a site's objects are.

    Attributes:
        component: only what belongs to it; empty for all.
    """

    name: str
    namespace: str
    component: str = ""

    @property
    def selector(self) -> str:
        """The labels of what is its."""
        own = {metadata.SITE: self.name, metadata.MANAGED: metadata.MANAGER}
        own |= {metadata.COMPONENT: self.component} if self.component else {}
        return ",".join(f"{key}={value}" for key, value in own.items())


def named(told: model.Site, component: str = "") -> Site:
    """Where a site's objects are, by its file."""
    name = metadata.short(told.site)
    return Site(name, told.namespace or name, component)


def chosen(found: Rendered, component: str) -> tuple[Object, ...]:
    """The objects of a component, with what all share; all of them if it is empty.

    Raises:
        UsageError: there is no such component.
    """
    if not component:
        return found.objects
    whose = [one["metadata"]["labels"].get(metadata.COMPONENT, "") for one in found.objects]
    if component not in whose:
        raise UsageError(f"no component {component!r} is at this site", nearest(component, set(filter(None, whose))))
    return tuple(one for one, name in zip(found.objects, whose, strict=True) if name in (component, ""))


def plan(api: Api, where: Site, wanted: Sequence[Object], *, force: bool = False) -> tuple[Change, ...]:
    """What applying some objects would change, as the server itself says; and what it would remove.

    Raises:
        ClusterError: the server does not answer, or would refuse an object.
    """
    found = []
    exists = any(api.get(one) for one in wanted if one["kind"] == "Namespace")
    for one in wanted:
        before = api.get(one) if exists or one["kind"] == "Namespace" else None
        if before is not None and "deletionTimestamp" in before["metadata"]:
            before = None  # it goes, and comes again
        if before is not None and one["kind"] == "Job":
            # Its name says what it is: there is nothing to change, but one that failed is made anew.
            action: Action = "change" if state.of(before).failed else "keep"
            found.append(Change(action, called(one), one))
        elif before is None:
            found.append(Change("create", called(one), one, None, one))
        else:
            after = _own(api.apply(one, dry=True, force=force))
            action = "keep" if after == _own(before) else "change"
            unfinished = not state.of(before).done
            found.append(Change(action, called(one), one, _own(before), after, unfinished))
    names = {objects.key(one) for one in wanted}
    gone = (one for one in there(api, where) if objects.key(one) not in names) if exists else ()
    found += [Change("remove", called(one), None, one) for one in gone if one["kind"] != "PersistentVolumeClaim"]
    return tuple(found)


def diff(one: Change) -> str:
    """What is other in an object, as a unified diff of YAML; what a Secret holds is not shown."""
    old, new = (text.one(_masked(side)).splitlines(keepends=True) if side else [] for side in (one.before, one.after))
    return "".join(difflib.unified_diff(old, new, f"{one.name} (there)", f"{one.name} (wanted)"))


def apply(
    api: Api,
    where: Site,
    changes: Sequence[Change],
    reporter: Reporter,
    *,
    wait: bool,
    seconds: float,
    force: bool = False,
    way_on: str = _AGAIN,
) -> None:
    """Apply what a plan says, wave by wave: each is begun when all before it is what it is to be; then remove the rest.

    Args:
        wait: for the last wave, too.
        seconds: how long each wave may take.
        way_on: what is to be done where something fails.

    Raises:
        ClusterError: the server refuses something.
        RolloutError: a step failed, or something did not come up in time; what comes after it was left alone.
    """
    mark = datetime.now(UTC).isoformat(timespec="microseconds")
    wanted = [one for one in changes if one.wanted is not None]
    waves = [(number, list(part)) for number, part in itertools.groupby(wanted, lambda one: _wave(one))]
    for number, part in waves:
        for one in part:
            _put(api, one, mark, force=force)
        waited = [one.wanted for one in part if one.wanted and one.wanted["kind"] in _WAITED]
        if waited and (wait or number != waves[-1][0]):
            _wait(api, where, waited, reporter, seconds, way_on)
    removed = [one for one in changes if one.action == "remove" and one.before]
    kept = _mentioned(api, where) if removed else ""
    for one in removed:
        assert one.before
        # What a version before may be rolled back to stays as long as that is there.
        if one.before["kind"] in ("ConfigMap", "Secret") and one.before["metadata"]["name"] in kept:
            continue
        api.delete(one.before)
        reporter.note(f"removed {one.name}")


def run(api: Api, where: Site, found: Sequence[Object], reporter: Reporter, *, seconds: float, keep: bool) -> str:
    """Run a Job to its end, anew if it has run before: what it said.

    Args:
        found: what it is configured from, and the Job at last.
        keep: let the Job stay where it has ended well: the next apply would make it otherwise.

    Raises:
        ClusterError: the server refuses something.
        RolloutError: it failed, or did not end in time.
    """
    job = found[-1]
    for one in found[:-1]:
        api.apply(one)
    if api.get(job) is not None:
        api.delete(job)
        _gone(api, job)
    api.apply(job)
    _wait(api, where, (job,), reporter, seconds)
    pods = api.find("v1", "Pod", where.namespace, _selector(job))
    newest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)
    container = job["spec"]["template"]["spec"]["containers"][0]["name"]
    said = api.logs(newest, container, lines=1000) if newest else ""
    if not keep:
        api.delete(job)
    return said


_WAITED = ("Job", "Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class Row:
    """How something of a site is.

    Attributes:
        kind: ``step`` for a Job.
        version: the release's tag.
    """

    kind: str
    name: str
    version: str
    state: State

    def data(self) -> dict[str, Any]:
        """For machines."""
        told = {"kind": self.kind, "name": self.name, "version": self.version, "state": self.state.told}
        return {**told, "done": self.state.done, "failed": self.state.failed}


def status(api: Api, where: Site) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """How what runs at a site is, and why what does not run does not.

    Raises:
        ClusterError: the server does not answer.
    """
    found = []
    for one in there(api, where, kinds=_WAITED):
        told = one["metadata"]
        step = (told.get("annotations") or {}).get(STEP, "")
        kind, name = ("step", step) if step else (one["kind"], told["name"])
        found.append(Row(kind, name, told["labels"].get(metadata.VERSION, ""), state.of(one)))
    pods = api.find("v1", "Pod", where.namespace, where.selector)
    return tuple(sorted(found, key=lambda row: (row.kind == "step", row.name))), state.troubles(pods)


def delete(api: Api, where: Site, reporter: Reporter, *, volumes: bool) -> tuple[str, ...]:
    """Delete all that is a site's; the namespace stays, since others may use it.

    Args:
        volumes: with the claims of its volumes, and so what they hold.

    Raises:
        ClusterError: the server does not answer, or refuses.
    """
    found = [one for one in there(api, where) if volumes or one["kind"] != "PersistentVolumeClaim"]
    found = [one for one in found if api.delete(one)]
    for one in found:
        _gone(api, one)
        reporter.note(f"deleted {called(one)}")
    return tuple(called(one) for one in found)


def _put(api: Api, one: Change, mark: str, *, force: bool) -> None:
    assert one.wanted is not None
    if one.action == "keep":
        return
    if one.action == "change" and one.wanted["kind"] == "Job":
        api.delete(one.wanted)
        _gone(api, one.wanted)
    elif one.action == "create":
        _gone(api, one.wanted)
    api.apply(one.wanted, force=force)
    if one.action == "change" and _template(one.before) != _template(one.after):
        # Somebody else's field, so that what is rendered need not know of it.
        told = {key: one.wanted["metadata"][key] for key in ("name", "namespace")}
        noted = {"apiVersion": one.wanted["apiVersion"], "kind": one.wanted["kind"], "metadata": told}
        api.apply({**noted, "metadata": {**told, "annotations": {ROLLED: mark}}}, manager=f"{MANAGER}-rollout")


def _template(one: Object | None) -> Any:
    return (one or {}).get("spec", {}).get("template")


def _gone(api: Api, one: Object) -> None:
    """Wait for an object that was deleted."""
    deadline = time.monotonic() + _LEAVING
    while (found := api.get(one)) is not None and "deletionTimestamp" in found["metadata"]:
        if time.monotonic() > deadline:
            hint = f"`kubectl describe {one['kind'].lower()} {one['metadata']['name']}` says what holds it"
            raise ClusterError(f"{called(one)} was deleted {_LEAVING} s ago and is still there", hint)
        time.sleep(0.2)


def _wait(
    api: Api, where: Site, wanted: Sequence[Object], reporter: Reporter, seconds: float, way_on: str = _AGAIN
) -> None:
    names = ", ".join(step_or_name(one) for one in wanted)
    deadline = time.monotonic() + seconds
    told = ""
    while True:
        states = {step_or_name(one): state.of(api.get(one) or one) for one in wanted}
        left = {name: found for name, found in states.items() if not found.done}
        if told or left:
            reporter.progress(names, len(states) - len(left), len(states))
        if not left:
            return
        if not told:
            reporter.step(f"waiting for {names}")
        said = "; ".join(f"{name}: {found.told}" for name, found in left.items())
        if said != told:
            reporter.detail(said)
            told = said
        failed = [one for one in wanted if states[step_or_name(one)].failed]
        if failed or time.monotonic() > deadline:
            stuck = failed or [one for one in wanted if step_or_name(one) in left]
            raise _stuck(api, where, stuck, left, late=not failed, seconds=seconds, way_on=way_on)
        time.sleep(_PAUSE)


def _stuck(
    api: Api,
    where: Site,
    stuck: Sequence[Object],
    left: Mapping[str, State],
    *,
    late: bool,
    seconds: float,
    way_on: str,
) -> RolloutError:
    pods = [pod for one in stuck for pod in api.find("v1", "Pod", where.namespace, _selector(one))]
    lines = [*state.troubles(pods)]
    for pod in pods:
        container = state.failing(pod)
        if container:
            lines += api.logs(pod, container).splitlines()
            break
    said = "; ".join(f"{name}: {left[name].told}" for name in map(step_or_name, stuck) if name in left)
    what = f"not there after {seconds:.0f} s" if late else "it failed"
    hint = f"what comes after it was left alone, and what ran before still runs; {way_on}"
    return RolloutError(f"{what}: {said}", "\n".join(lines), hint)


def _selector(one: Object) -> str:
    labels = one["spec"]["template"]["metadata"]["labels"]
    return ",".join(f"{key}={labels[key]}" for key in (metadata.NAME, metadata.INSTANCE, metadata.SITE))


def step_or_name(one: Object) -> str:
    """What people call a step or a workload: ``keystone/db-sync``."""
    return str((one["metadata"].get("annotations") or {}).get(STEP) or one["metadata"]["name"])


def there(api: Api, where: Site, kinds: Iterable[str] = ()) -> Iterator[Object]:
    """What a site has on a cluster.

    Args:
        kinds: only these.
    """
    wanted = set(kinds)
    by_release = ((target.since_stable(group, api.version), kind) for kind, group in _BY_RELEASE)
    known = (*_KINDS[:4], *by_release, _ADDED, *_KINDS[4:])
    for version, kind in known:
        if not wanted or kind in wanted:
            for one in _found(api, where, version, kind):
                # What a CronJob or a controller made goes with it.
                if not one["metadata"].get("ownerReferences"):
                    yield one


def _found(api: Api, where: Site, version: str, kind: str) -> tuple[Object, ...]:
    try:
        return api.find(version, kind, where.namespace, where.selector)
    except ClusterError as error:
        if error.status == _UNKNOWN and (version, kind) == _ADDED:
            return ()
        raise


def _mentioned(api: Api, where: Site) -> str:
    """The texts of all that a workload may be rolled back to."""
    found = []
    for kind in ("ReplicaSet", "ControllerRevision"):
        for one in api.find("apps/v1", kind, where.namespace, f"{metadata.SITE}={where.name}"):
            found.append(json.dumps({key: one.get(key) for key in ("spec", "data")}))
    return "\n".join(found)


def _own(one: Object) -> Object:
    told = {key: value for key, value in one["metadata"].items() if key not in _OF_SERVER}
    return {**{key: value for key, value in one.items() if key != "status"}, "metadata": told}


def _masked(one: Object) -> Object:
    if one["kind"] != "Secret":
        return _own(one)
    return {**_own(one), "data": {key: f"{len(value)} characters" for key, value in (one.get("data") or {}).items()}}


def _wave(one: Change) -> int:
    assert one.wanted is not None
    return objects.wave(one.wanted)
