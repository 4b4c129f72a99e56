"""What a definition itself brings, laid over the ordinary way: what the image must then be, exactly."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from builder.compare import view
from builder.compare.view import Facts, View
from builder.file_differences import FileDifference
from builder.formats import deb, places
from builder.make import dpkg_status, leave_out
from builder.make.leave_out import dpkg_cfg
from builder.make.state_layer import RULE_FILE
from builder.model.digest import Digest
from builder.model.plan import FileEntry, FilesLayerPlan, ImagePlan, LeaveOutRules, StateLayerPlan, WheelLayerPlan
from builder.tools.store import Store

GENERATED = "initial data, left out as the definition says"
LEFT_OUT = "kinds of files that the definition leaves out, where dpkg does not"
CHECKSUMS = "checksums that dpkg makes of a package that brings none"
_HOPS = 40
Names = tuple[Mapping[int, str], Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What an image must be.

    Attributes:
        view: the ordinary way's, with what the definition brings.
        counts: how many paths and records of it are the definition's, by what they are.
        generated: paths whose content the definition leaves out, without a leading ``/``.
        rules: which kinds of files it leaves out.
        unsummed: where dpkg writes the checksums of packages that bring none.
        below: the files of packages of definitions with other rules, and which.
    """

    view: View
    counts: Mapping[str, int]
    generated: tuple[str, ...]
    rules: LeaveOutRules
    unsummed: frozenset[str] = frozenset()
    below: tuple[tuple[frozenset[str], LeaveOutRules], ...] = ()

    def reason(self, difference: FileDifference) -> str:
        """Why an image of this definition and these packages lacks a path; empty if there is no such reason."""
        if difference.new:
            return ""
        if difference.path in self.unsummed:
            return CHECKSUMS
        if difference.path.startswith(tuple(f"{path}/" for path in self.generated)):
            return GENERATED
        # What a definition keeps, those below it may have left out.
        rules = next((rules for paths, rules in self.below if difference.path in paths), self.rules)
        if leave_out.left_out(difference.path, rules, leads_on=difference.old.get("type") in ("folder", "link")):
            return LEFT_OUT
        return ""

    def dangling(self, path: str) -> bool:
        """Whether a path is a link that leads nowhere in the ordinary way's root."""
        return "target" in self.view.get(path, {}) and _place(self.view, path) is None


def _place(view: View, path: str) -> str | None:
    """Where a path leads through all links of a root; None if nowhere."""
    todo, done, hops = path.split("/")[::-1], "", 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = posixpath.dirname(done)
            continue
        place = f"{done}/{part}".lstrip("/")
        if place not in view:
            return None
        if view[place].get("type") != "link":
            done = place
            continue
        hops += 1
        if hops > _HOPS:
            return None
        target = view[place]["target"]
        done = "" if target.startswith("/") else done
        todo += target.split("/")[::-1]
    return done


def expected(ordinary: View, image: View, plan: ImagePlan, names: Names, store: Store) -> Expected:
    """Lay what a definition brings over the ordinary way's view.

    Args:
        names: of users and groups in the image, by number.
    """
    states = [layer for layer in plan.layers if isinstance(layer, StateLayerPlan)]
    found = dict(ordinary)
    counts = {
        "files": _files(found, plan, states, names, store),
        "files of wheels": _wheels(found, plan, store),
        "rules of what is left out": _rules(found, states),
        "users": _users(found, image, states),
        "statoverrides": sum(len(state.statoverrides) for state in states),
        "alternatives": sum(len(state.alternatives) for state in states),
        "answers": sum(len(state.debconf) for state in states),
    }
    generated = tuple(path.strip("/") for state in states for path in state.generated)
    rules = states[-1].leave_out
    told = {what: count for what, count in counts.items() if count}
    controls = [(state, control) for state in states for control in _controls(state, store)]
    below = tuple(
        (frozenset(path for of, control in controls if of is state for path in _files_of(control)), state.leave_out)
        for state in states
        if state.leave_out != rules
    )
    return Expected(found, told, generated, rules, frozenset(_unsummed(control for _, control in controls)), below)


def _controls(state: StateLayerPlan, store: Store) -> Iterator[deb.Control]:
    for package in state.packages:
        with store.open(Digest.from_hex(package.sha256)) as file:
            yield deb.control(file, package.name)


def _files_of(control: deb.Control) -> Iterator[str]:
    sums = (control.get("md5sums") or b"").decode(errors="surrogateescape").splitlines()
    for line in sums:
        yield places.placed(line.partition("  ")[2])


def _unsummed(controls: Iterable[deb.Control]) -> Iterator[str]:
    for control in controls:
        if control.get("md5sums") is None:
            (stanza,) = dpkg_status.parse(control.stanza)
            yield f"{dpkg_status.INFO}/{stanza.info_name}.md5sums"


def _files(found: View, plan: ImagePlan, states: Iterable[StateLayerPlan], names: Names, store: Store) -> int:
    early = [entry for state in states for entry in state.early_files]
    late = [entry for layer in plan.layers if isinstance(layer, FilesLayerPlan) for entry in layer.files]
    for entry in (*early, *late):
        path = places.placed(entry.path)
        parent = posixpath.dirname(path)
        while parent:
            found.setdefault(parent, {"type": "folder", "owner": "root:root", "mode": "0755"})
            parent = posixpath.dirname(parent)
        found[path] = _facts(entry, names, store)
    return len({entry.path for entry in (*early, *late)})


def _wheels(found: View, plan: ImagePlan, store: Store) -> int:
    # No part of Debian's packages, nor of what is configured: they lie where nothing else does.
    count = 0
    for layer in plan.layers:
        if not isinstance(layer, WheelLayerPlan):
            continue
        from builder.make import wheel_layer

        for entry, sha256 in wheel_layer.entries(layer, store):
            facts = {"type": entry.type, "owner": "root:root", "mode": f"{entry.mode:04o}"}
            if entry.type == "file":
                facts |= {"size": str(entry.size), "content": sha256}
                count += 1
            found[entry.path] = facts
    return count


def _facts(entry: FileEntry, names: Names, store: Store) -> Facts:
    users, groups = names
    facts = {
        "type": entry.kind,
        "owner": f"{users.get(entry.uid, f'#{entry.uid}')}:{groups.get(entry.gid, f'#{entry.gid}')}",
    }
    if entry.kind == "link":
        return {**facts, "target": entry.target}
    facts["mode"] = f"{entry.mode:04o}"
    if entry.content is not None:
        facts |= {"size": str(store.path(entry.content).stat().st_size), "content": entry.content.hex}
    return facts


def _rules(found: View, states: Iterable[StateLayerPlan]) -> int:
    texts = [dpkg_cfg(state.leave_out) for state in states]
    rules = next((text for text in reversed(texts) if text), "")
    if not rules:
        return 0
    facts = {"type": "file", "owner": "root:root", "mode": "0644"}
    found.setdefault(posixpath.dirname(RULE_FILE), {"type": "folder", "owner": "root:root", "mode": "0755"})
    found[RULE_FILE] = facts | view.fingerprint(rules.encode())
    return 1


def _users(found: View, image: View, states: Iterable[StateLayerPlan]) -> int:
    """The numbers are the locks'; a user that the definition asks for is as it says, or as a package makes it."""
    asked = set()
    for state in states:
        for group in state.groups:
            if (record := found.get(f"group:{group.name}")) is not None:
                found[f"group:{group.name}"] = {**record, "number": str(group.gid)}
        for user in state.users:
            name = f"user:{user.name}"
            if name not in found:
                continue
            found[name] = {**found[name], "number": str(user.uid)}
            if user.name in state.create_users:
                asked.add(user.name)
                said = {"home": user.home, "shell": user.shell, "comment": user.comment}
                if said.items() <= image.get(name, {}).items():
                    found[name] |= said
    return len(asked)
