"""The state layer: what configuring the packages of one definition produced, on top of the chain below.

The payloads are there as unpacked trees; an overlay shows them as one root. dpkg is told that they are unpacked, each
preinst runs without its own package's payload, then dpkg configures. What appears in the upper folder is the state.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import MakeError
from builder.formats import deb, places
from builder.make import (
    accounts,
    bytecode,
    configure,
    dpkg_status,
    leave_out,
    left_behind,
    payload,
    questions,
    settle,
    triggers,
    upper,
)
from builder.make.dpkg_status import Stanza, Unpacked
from builder.make.lowers import Lowers, merged
from builder.make.root import Root
from builder.make.tools_tree import make_tools
from builder.model.digest import Digest
from builder.model.lock import LockedPackage
from builder.model.plan import FileEntry, MadeLayer, StateLayerPlan
from builder.tools import sandbox
from builder.tools.store import Store

ADMIN = "var/lib/dpkg"
RULE_FILE = "etc/dpkg/dpkg.cfg.d/imgbuild"


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a state is computed on.

    Attributes:
        new: the packages to be configured.
        old: those of the definitions below.
        rest: the trees below all that is new, the topmost first.
        folders: those of the rest that are not root's with mode 0755, by path.
    """

    new: tuple[Unpacked, ...]
    old: tuple[Unpacked, ...]
    rest: tuple[Path, ...]
    status: tuple[Stanza, ...]
    folders: Mapping[str, FileEntry]


def make(plan: StateLayerPlan, store: Store) -> MadeLayer:
    """Make the layer, and keep the state as the tree ``state-KEY`` for those that stand on it.

    The store must have the trees of all packages of the chain, of the states and files below.

    Raises:
        ConfigureError: a script failed.
        MakeError: a user or group did not get its number, or there is none for it.
        SandboxError: this machine allows no sandbox.
    """

    def stays_out(path: str, leads_on: bool) -> bool:
        return leave_out.left_out(path, plan.leave_out, leads_on=leads_on)

    inputs = _inputs(plan, store)
    name = f"state-{plan.cache_key}"
    with store.exclusive(f"{name[:40]}.lock"), ExitStack() as stack:
        work = stack.enter_context(store.temporary_folder())
        top = work / "upper"
        top.mkdir(mode=0o755)
        below = Lowers((*_trees(inputs.new, store), *inputs.rest))
        before = (accounts.users(below.text("etc/passwd")), accounts.groups(below.text("etc/group")))
        differing, unusual = settle.folders(dpkg_status.in_order(inputs.new), Lowers(inputs.rest), inputs.folders)
        status, settled = _configure(plan, inputs, differing, below, top, work, store)
        under = Lowers((top, *below.trees))
        after = (accounts.users(under.text("etc/passwd")), accounts.groups(under.text("etc/group")))
        if not plan.learn:
            accounts.check(plan, before, after)
        _finish(plan, top, stays_out)
        upper.clean(top, below, plan.generated, stays_out, settled)
        folders = settle.unusual(under, (*inputs.folders, *unusual, *upper.folders(top)))
        layer = upper.layer(top, store, plan.compression)
        tree = store.folder("trees") / name
        if tree.exists():
            shutil.rmtree(tree)
        os.rename(top, tree)
    made = MadeLayer(plan.cache_key, layer, store.add(status.encode(errors="surrogateescape")), *after, folders=folders)
    store.keep(made)
    return made


def _inputs(plan: StateLayerPlan, store: Store) -> _Inputs:
    new = tuple(_unpacked(package, store) for package in plan.packages)
    status, folders = _below(plan, store)
    known = {stanza.package: stanza for stanza in status}
    old: list[Unpacked] = []
    packages: list[Path] = []
    above: list[Path] = []
    files = plan.files_below
    for state in reversed(plan.chain()[:-1]):
        found = tuple(dpkg_status.unpacked(_tree(one.sha256, store), known[one.name]) for one in state.packages)
        old += found
        packages += _trees(found, store)
        # As in images: a definition's files lie on its state, and below the next one's.
        own, files = files[len(state.files_below) :], state.files_below
        above += [_tree(f"files-{layer.cache_key}", store) for layer in own]
        above.append(_tree(f"state-{state.cache_key}", store))
    return _Inputs(new, tuple(old), (*above, *packages), status, folders)


def _below(plan: StateLayerPlan, store: Store) -> tuple[tuple[Stanza, ...], dict[str, FileEntry]]:
    if plan.below is None:
        return (), {}
    made = store.made(plan.below.cache_key)
    if made is None or made.status is None:
        raise MakeError(f"the state of {plan.below.definition} has not been made")
    status = dpkg_status.parse(store.read(made.status).decode(errors="surrogateescape"))
    folders = {folder.path: folder for folder in made.folders}
    for layer in plan.files_below[len(plan.below.files_below) :]:
        for entry in layer.files:
            if entry.kind == "folder":
                folders[places.placed(entry.path)] = replace(entry, path=places.placed(entry.path))
    return status, folders


def _unpacked(package: LockedPackage, store: Store) -> Unpacked:
    with store.open(Digest.from_hex(package.sha256)) as file:
        control = deb.control(file, package.name).stanza
    stanzas = dpkg_status.parse(control)
    if len(stanzas) != 1:
        raise MakeError(f"a package's control file is broken: {control[:200]!r}")
    return dpkg_status.unpacked(_tree(package.sha256, store), stanzas[0])


def _tree(name: str, store: Store) -> Path:
    tree = store.tree(name)
    if tree is None:
        raise MakeError(f"the store has no tree {name}", "imgbuild cache clean, then try again")
    return tree


def _trees(packages: Sequence[Unpacked], store: Store) -> tuple[Path, ...]:
    return merged(dpkg_status.in_order(packages), store) if packages else ()


def _configure(
    plan: StateLayerPlan,
    inputs: _Inputs,
    folders: Sequence[FileEntry],
    below: Lowers,
    top: Path,
    work: Path,
    store: Store,
) -> tuple[str, Mapping[str, Path]]:
    tools = work / "tools"
    environment = make_tools(tools, plan, below, payload.together(plan.clock, store) if plan.clock else None)
    ordered = dpkg_status.in_order(inputs.new)
    _write_records(top, inputs)
    settings = {**configure.ENVIRONMENT, **environment}
    with (
        store.log(plan.cache_key).open("wb", buffering=0) as log,
        sandbox.opened(_made(work / "sandbox"), settings, log, plan.architecture) as box,
    ):
        box.mount((tools, *below.trees), top)
        root = Root(box.root, f"configuring {plan.definition}")
        brought = {folder.path: place for folder in folders if (place := below.find(folder.path)) and place.is_dir()}
        for folder in folders:
            if folder.path in brought:
                _write(root, folder, store)
        for entry in plan.early_files:
            _write(root, entry, store)
        early = accounts.early_names(inputs.new)
        # Scripts that find no systemd-sysusers call adduser.
        sysusers = early if root.exists("usr/bin/systemd-sysusers") else accounts.NONE
        _add_users(plan, root, frozenset(early), sysusers)
        if plan.debconf:
            lines = questions.selections(plan.debconf, (*inputs.new, *inputs.old))
            configure.command(box, ["debconf-set-selections"], "debconf", lines.encode())
        base = dpkg_status.essential(inputs.new) if plan.below is None else frozenset()
        hidden_before = False
        waiting = {package.name for package in ordered if "preinst" in package.members}
        configured: set[str] = set()
        for package in ordered:
            if package.name not in waiting:
                continue
            known = {other.name for other in ordered} - waiting
            # In an empty root there is nothing yet by which anything could be configured.
            first = dpkg_status.before_preinst(package, ordered, known, configured) if plan.below else ()
            if first:
                if hidden_before:
                    box.mount((tools, *below.trees), top)
                    hidden_before = False
                configure.packages(box, first)
                configured |= set(first)
            waiting.discard(package.name)
            hide = package.name not in base
            if hide or hidden_before:
                trees = (tree for tree in below.trees if not (hide and tree == package.tree))
                box.mount((tools, *trees), top)
                hidden_before = hide
            configure.preinst(box, root, package)
        if hidden_before:
            box.mount((tools, *below.trees), top)
        _add_users(plan, root, frozenset(early), early)
        settled = brought | dict(settle.owners(root, inputs.new, inputs.old))
        modules = _modules(root, settled, (*inputs.new, *inputs.old))
        if modules:
            bytecode.compile_in(box, tuple(modules.values()))
            settled |= {cached: settled[path] for cached, path in modules.items()}
        settle.overrides(root, plan, inputs.new, lambda argv: configure.command(box, argv, "statoverrides"))
        configure.all_packages(box, lambda: root.read(f"{ADMIN}/status"), inputs.new)
        _add_users(plan, root, frozenset(plan.create_users))
        if plan.user_groups:
            accounts.join(root, plan.user_groups)
        for name, path in plan.alternatives:
            configure.command(box, ["update-alternatives", "--quiet", "--set", name, path], f"alternative {name}")
        names = {package.name for package in inputs.new}
        rules = leave_out.for_dpkg(plan.leave_out)
        status = (
            dpkg_status.without_left_out(stanza, lambda path: leave_out.left_out(path, rules))
            if stanza.package in names
            else stanza
            for stanza in dpkg_status.parse(root.read(f"{ADMIN}/status"))
        )
        return dpkg_status.format(status), settled


def _modules(root: Root, settled: Mapping[str, Path], packages: Sequence[Unpacked]) -> dict[str, str]:
    # The byte code in the package layers may be that of another package's module. By where it goes.
    modules = {path for path in settled if path.endswith(".py")}
    interpreter = root.target("usr/bin/python3") if modules else ""
    if not interpreter.startswith("python3."):
        return {}
    version = interpreter.removeprefix("python")
    private = tuple(
        found
        for package in packages
        if modules.intersection(package.files)
        for found in bytecode.private(package.text("postinst").encode(errors="surrogateescape"))
    )
    cached = {path: bytecode.cache_path(path, version, private) for path in sorted(modules)}
    return {place: path for path, place in cached.items() if place}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _write_records(top: Path, inputs: _Inputs) -> None:
    # Straight into the upper folder: the folders above these are root's, 0755, everywhere.
    admin = top / ADMIN
    for folder in ("info", "triggers", "updates", "alternatives", "parts"):
        (admin / folder).mkdir(parents=True, exist_ok=True)
    interested = tuple(interest for package in inputs.old for interest in triggers.interests(package))
    told = triggers.pending(interested, inputs.new)
    status = []
    for stanza in inputs.status:
        pending = told.get(stanza.info_name)
        status.append(triggers.with_pending(stanza, pending) if pending else stanza)
    status += [dpkg_status.fresh(package) for package in inputs.new]
    (admin / "status").write_text(dpkg_status.format(status), errors="surrogateescape")
    (admin / "available").write_text("")
    # Without it dpkg takes the names of the files in info for those of old times.
    (admin / "info" / "format").write_text("1\n")
    all_interested = (*interested, *(i for package in inputs.new for i in triggers.interests(package)))
    for name, text in triggers.files(all_interested).items():
        (admin / "triggers" / name).write_text(text)
    (admin / "triggers" / "Unincorp").touch()


def _add_users(
    plan: StateLayerPlan, root: Root, names: frozenset[str], sysusers: Mapping[str, str] = accounts.NONE
) -> None:
    if not root.exists("etc/passwd"):
        return
    users = tuple(user for user in plan.users if user.name in names)
    wanted = names | {user.name for user in users}
    gids = {user.gid for user in users}
    groups = tuple(group for group in plan.groups if group.name in wanted or group.gid in gids)
    accounts.add(root, users, groups, upper.DAY, sysusers)


def _write(root: Root, entry: FileEntry, store: Store) -> None:
    if entry.kind == "folder":
        root.folder(entry.path, entry.mode, entry.uid, entry.gid)
    elif entry.kind == "link":
        root.link(entry.path, entry.target, entry.uid, entry.gid)
    else:
        assert entry.content is not None
        root.write(entry.path, store.read(entry.content), entry.mode, entry.uid, entry.gid)


def _finish(plan: StateLayerPlan, top: Path, stays_out: Callable[[str, bool], bool]) -> None:
    root = Root(top, f"configuring {plan.definition}")
    settle.drop_alternatives(root, f"{ADMIN}/alternatives", lambda path: stays_out(path, False))
    if shadow := root.read("etc/shadow"):
        root.rewrite("etc/shadow", accounts.fixed_days(shadow, upper.DAY))
    if "locales" in plan.leave_out.kinds and (text := root.read(left_behind.TEMPLATES)):
        root.rewrite(left_behind.TEMPLATES, left_behind.without_translations(text))
    if rules := leave_out.dpkg_cfg(plan.leave_out):
        root.write(RULE_FILE, rules.encode(), 0o644, 0, 0)
