"""Definitions and locks → what is to be made, with every key. Pure: nothing is read, nothing is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from builder.errors import UsageError
from builder.formats import places
from builder.model.digest import CacheKey, Digest
from builder.model.lock import RULES, Artifact, Lock, LockedAnswer, LockedGroup, LockedUser, LockedWheel, Revision
from builder.model.plan import (
    FileEntry,
    FilesLayerPlan,
    ImagePlan,
    LayerPlan,
    LeaveOutRules,
    PackageLayerPlan,
    RecordsLayerPlan,
    StateLayerPlan,
    StatOverrideEntry,
    WheelLayerPlan,
)
from builder.plan import accounts, config, groups
from dsl import model, versions
from dsl.catalog import CatalogComponent, Definition

Contents = Mapping[tuple[str, str], Digest]
"""The digest of each file's bytes, by its definition's key and its path."""

PLATFORM_FOLDERS = frozenset({"/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm"})
"""Folders that every platform arranges itself: an image does not change their owners."""
VENV = b"home = /usr/bin\ninclude-system-site-packages = false\n"
"""What makes a folder a virtual environment (PEP 405): its ``pyvenv.cfg``."""
MAX_LAYERS = 125
"""docker refuses to unpack an image of more."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A definition with its lock."""

    definition: Definition
    lock: Lock


@dataclass(frozen=True, slots=True)
class Part:
    """What one definition of a chain gives to the images that stand on it."""

    locked: Locked
    packages: tuple[PackageLayerPlan, ...]
    state: StateLayerPlan
    files: FilesLayerPlan | None
    wheels: tuple[WheelLayerPlan, ...] = ()


def leave_out(chain: Sequence[Definition]) -> LeaveOutRules:
    """What the packages of the chain's last definition leave out: its own rules and those of all below."""
    kinds: set[str] = set()
    paths: set[str] = set()
    for definition in chain:
        kinds |= set(definition.model.leave_out)
        kinds -= {keep for keep in definition.model.keep if not keep.startswith("/")}
        paths |= {keep for keep in definition.model.keep if keep.startswith("/")}
    return LeaveOutRules(tuple(sorted(kinds)), tuple(sorted(paths)))


def package_layers(chain: Sequence[Locked], compression: str) -> tuple[PackageLayerPlan, ...]:
    """The package layers of the chain's last definition."""
    locked = chain[-1]
    rules = leave_out([x.definition for x in chain])
    compiler = chain[0].lock.compiler
    plans = []
    for group in groups.groups(locked.lock.packages, locked.lock.grouping):
        key = CacheKey.of(
            "packages",
            {
                "rules": RULES,
                "packages": [[p.name, p.version, p.architecture, p.sha256] for p in group.packages],
                "leave_out": [rules.kinds, rules.keep],
                "compiler": sorted(p.sha256 for p in compiler),
                "compression": compression,
            },
        )
        plans.append(
            PackageLayerPlan(key, locked.lock.name, group.name, group.hot, group.packages, rules, compiler, compression)
        )
    return tuple(plans)


def wheel_layers(chain: Sequence[Locked], compression: str) -> tuple[WheelLayerPlan, ...]:
    """The layers of the wheels of the chain's last definition."""
    lock = chain[-1].lock
    compiler = chain[0].lock.compiler
    plans = []
    for environment in lock.environments:
        grouped: dict[str, list[LockedWheel]] = {}
        for wheel in lock.wheels:
            if wheel.environment == environment.name:
                grouped.setdefault(wheel.group, []).append(wheel)
        for group, wheels in sorted(grouped.items()):
            key = CacheKey.of(
                "wheels",
                {
                    "rules": RULES,
                    "environment": environment.name,
                    "python": environment.python,
                    "wheels": [[w.name, w.version, w.filename, w.sha256] for w in sorted(wheels)],
                    "compiler": sorted(p.sha256 for p in compiler),
                    "compression": compression,
                },
            )
            plans.append(
                WheelLayerPlan(
                    key,
                    lock.name,
                    environment.name,
                    environment.python,
                    group,
                    tuple(sorted(wheels)),
                    compiler,
                    compression,
                )
            )
    return tuple(plans)


def new_environments(definition: Definition) -> tuple[str, ...]:
    """The environments of a definition that no definition below has, too."""
    below = {name for part in definition.chain()[:-1] for name in part.model.environments}
    return tuple(name for name in definition.model.environments if name not in below)


def venv_config(name: str) -> str:
    """The file by which an environment's folder is one."""
    return f"/opt/{name}/pyvenv.cfg"


def _venv(definition: Definition, name: str, contents: Contents) -> Iterator[FileEntry]:
    root = f"/opt/{name}"
    yield from (FileEntry(path, "folder", 0, 0, 0o755) for path in (root, f"{root}/bin"))
    yield FileEntry(f"{root}/bin/python", "link", 0, 0, 0o777, target="/usr/bin/python3")
    yield FileEntry(f"{root}/bin/python3", "link", 0, 0, 0o777, target="python")
    config_ = venv_config(name)
    yield FileEntry(config_, "file", 0, 0, 0o644, contents[definition.key, config_])


def file_entries(locked: Locked, numbers: accounts.Numbers, contents: Contents) -> tuple[FileEntry, ...]:
    """Everything that the definition itself brings after its packages are configured."""
    definition = locked.definition.model
    entries = [
        _file(locked.definition, path, file, numbers, contents)
        for path, file in definition.files.items()
        if file.before is None
    ]
    entries += [_folder(path, folder, numbers) for path, folder in definition.folders.items()]
    said = {entry.path for entry in entries}
    venvs = (_venv(locked.definition, name, contents) for name in new_environments(locked.definition))
    entries += [entry for venv in venvs for entry in venv if entry.path not in said]
    if isinstance(definition, model.ImageDefinition):
        taken = {entry.path for entry in entries} | PLATFORM_FOLDERS
        places = [*definition.run.volumes.values(), *definition.run.writable]
        places += [place for step in definition.steps.values() for place in step.writable]
        for place in places:
            path = place if isinstance(place, str) else place.path
            if path in taken:
                continue
            taken.add(path)
            owned = model.Folder(owner=definition.run.user) if isinstance(place, str) else place
            entries.append(_folder(path, owned, numbers))
    return tuple(sorted(entries))


def parts(
    chain: Sequence[Locked],
    contents: Contents,
    compression: str,
    known: Mapping[str, Part] | None = None,
    *,
    learn: bool = False,
) -> tuple[Part, ...]:
    """What the definitions of a chain give, bottom first.

    Args:
        known: parts of the same locks that were planned before, by the key of their definition.
        learn: whether the last one's state is to find out which numbers scripts allocate.
    """
    found: list[Part] = []
    for depth, locked in enumerate(chain, start=1):
        part = (known or {}).get(locked.definition.key)
        if part is None:
            here = chain[:depth]
            packages = package_layers(here, compression)
            last = learn and depth == len(chain)
            state = _state(here, found, packages, contents, compression, learn=last)
            files = files_layer(here, contents, compression, state)
            part = Part(locked, packages, state, files, wheel_layers(here, compression))
        found.append(part)
    return tuple(found)


def files_layer(
    chain: Sequence[Locked], contents: Contents, compression: str, state: StateLayerPlan
) -> FilesLayerPlan | None:
    """The files layer of the chain's last definition, which lies on its state; None if it brings no files."""
    numbers = accounts.numbers(tuple(x.lock for x in chain))
    entries = file_entries(chain[-1], numbers, contents)
    if not entries:
        return None
    # Files of which it is known what they lie in do not depend on any package.
    paths = {places.placed(entry.path) for entry in entries}
    known = all(folder in places.STANDARD | paths for path in paths for folder in places.above(path))
    key = CacheKey.of(
        "files",
        {
            "rules": RULES,
            "files": [_plain(entry) for entry in entries],
            "compression": compression,
            "state": None if known else state.cache_key,
        },
    )
    return FilesLayerPlan(key, chain[-1].lock.name, entries, compression, None if known else state)


def images(
    wanted: Iterable[tuple[CatalogComponent, Sequence[Locked]]], contents: Contents, defaults: model.Defaults
) -> tuple[ImagePlan, ...]:
    """Images whose chains share their locks: what several stand on is planned once.

    Raises:
        UsageError: as `image`.
    """
    known: dict[str, Part] = {}
    plans = []
    for component, chain in wanted:
        found = parts(chain, contents, defaults.compression, known)
        known |= {part.locked.definition.key: part for part in found}
        plans.append(image(component, found, defaults))
    return tuple(plans)


def image(component: CatalogComponent, found: Sequence[Part], defaults: model.Defaults) -> ImagePlan:
    """One image: cold groups definition by definition, hot groups in one order, wheels, states, files, records.

    It has no revision yet, as a ``-dev`` build has none.

    Raises:
        UsageError: the package that its version is read from is not there, or it has more layers than engines take.
    """
    compression = defaults.compression
    chain = tuple(part.locked for part in found)
    packages = [plan for part in found for plan in part.packages]
    cold = [plan for plan in packages if not plan.hot]
    hot = sorted((plan for plan in packages if plan.hot), key=lambda plan: groups.hot_rank(plan.group))
    upper: list[LayerPlan] = []
    for part in found:
        upper += [part.state, *((part.files,) if part.files else ())]
    state = found[-1].state
    records = RecordsLayerPlan(
        CacheKey.of("records", {"rules": RULES, "state": state.cache_key, "compression": compression}),
        state,
        compression,
    )
    wheels = [plan for part in found for plan in part.wheels]
    layers: tuple[LayerPlan, ...] = (*cold, *hot, *wheels, *upper, records)
    definition = chain[-1].definition
    if len(layers) > MAX_LAYERS:
        raise UsageError(
            f"{definition.name} would have {len(layers)} layers; engines take {MAX_LAYERS}",
            f"let it stand on fewer definitions, or group anew: imgbuild lock --regroup {component.name}",
        )
    version_ = version(component, chain)
    numbers = accounts.numbers(tuple(x.lock for x in chain))
    described = config.describe(component, definition, numbers, defaults, chain[-1].lock.digest())
    content_key = CacheKey.of("image", {"layers": [layer.cache_key for layer in layers], "config": described})
    name = f"{version_}-{component.overlay}" if component.overlay else version_
    name = f"{component.stream}-{name}" if component.stream else name
    plan = ImagePlan(
        component.name,
        definition.name,
        name,
        0,
        content_key,
        chain[-1].lock.architecture,
        layers,
        json.dumps(described),
    )
    return at_revision(plan, 0)


def at_revision(plan: ImagePlan, revision: int) -> ImagePlan:
    """The plan with a revision in its labels; 0 for a ``-dev`` build."""
    revised = replace(plan, revision=revision)
    labelled = config.with_version(json.loads(plan.config), revised.tag)
    return replace(revised, config=json.dumps(labelled, sort_keys=True, ensure_ascii=False))


def version(component: CatalogComponent, chain: Sequence[Locked]) -> str:
    """The version of the product: literal, or that of the package that carries it.

    Raises:
        UsageError: the package is not in the locks of the chain.
    """
    rule = component.model.version
    if isinstance(rule, str):
        return rule
    kind, _, name = rule.from_.partition("/")
    locks = [x.lock for x in reversed(chain)]
    rows: Iterable[Artifact] = (p for lock in locks for p in (lock.wheels if kind == "wheel" else lock.packages))
    found = next((row.version for row in rows if row.name == name), None)
    if found is None:
        where = chain[-1].definition.name
        raise UsageError(f"the version of {component.name} is that of {name}, which {where} does not have")
    return versions.product_version(found)


def revise(old: tuple[Revision, ...], plan: ImagePlan, used: int = 0) -> Revision:
    """The revision that this content means: the one it has, the next one, or the first of a new version.

    An architecture that joins a version joins its revision: what that means for the others stays.

    Args:
        old: of all architectures.
        used: the highest one that this version ever had for this architecture, if it comes back: none gets a second
            meaning.
    """
    here = [x for x in old if (x.image, x.version) == (plan.image, plan.version)]
    known = next((x for x in here if x.means(plan.image, plan.architecture)), None)
    last = max((x.revision for x in here), default=0)
    if known is not None:
        revision = last + (known.content_key != plan.content_key)
    else:
        revision = last if here and not used else max(last, used) + 1
    return Revision(plan.image, plan.version, revision, plan.content_key, plan.architecture)


def revised(old: Iterable[Revision], new: Iterable[Revision]) -> tuple[Revision, ...]:
    """Rows with those of one image that are new; all architectures of its version are at one revision.

    Args:
        new: one for each architecture that was planned.
    """
    made = tuple(new)
    rows = {(x.image, x.architecture): x for x in (*old, *made)}
    last: dict[tuple[str, str], int] = {}
    for x in made:
        last[x.image, x.version] = max(x.revision, last.get((x.image, x.version), 0))
    return tuple(replace(x, revision=last.get((x.image, x.version), x.revision)) for x in rows.values())


def _state(
    chain: Sequence[Locked],
    parts_below: Sequence[Part],
    packages: Sequence[PackageLayerPlan],
    contents: Contents,
    compression: str,
    *,
    learn: bool,
) -> StateLayerPlan:
    below = parts_below[-1].state if parts_below else None
    files_below = tuple(part.files for part in parts_below if part.files)
    locked = chain[-1]
    definition = locked.definition.model
    numbers = accounts.numbers(tuple(x.lock for x in chain))
    early = tuple(
        sorted(
            _file(locked.definition, path, file, numbers, contents)
            for path, file in definition.files.items()
            if file.before == "configure"
        )
    )
    overrides = tuple(
        sorted(
            StatOverrideEntry(path, o.owner, o.group or o.owner, o.mode) for path, o in definition.statoverrides.items()
        )
    )
    users: tuple[LockedUser, ...] = locked.lock.users
    groups_: tuple[LockedGroup, ...] = locked.lock.groups
    create = tuple(sorted(definition.users))
    memberships = tuple(sorted((name, group) for name, user in definition.users.items() for group in user.groups))
    alternatives = tuple(sorted(definition.alternatives.items()))
    generated = tuple(sorted(definition.generated))
    rules = leave_out([x.definition for x in chain])
    layer_keys = [plan.cache_key for plan in packages]
    clock = chain[0].lock.clock
    key = CacheKey.of(
        "state",
        {
            "rules": RULES,
            "below": below.cache_key if below else None,
            "files_below": [layer.cache_key for layer in files_below],
            "layers": layer_keys,
            "users": [[u.name, u.uid, u.gid, u.home, u.shell, u.comment] for u in users],
            "groups": [[g.name, g.gid] for g in groups_],
            "create": create,
            "memberships": memberships,
            "early": [_plain(entry) for entry in early],
            "debconf": [[a.package, a.question, a.type, a.value] for a in locked.lock.answers],
            "statoverrides": [[o.path, o.owner, o.group, o.mode] for o in overrides],
            "alternatives": alternatives,
            "generated": generated,
            "leave_out": [rules.kinds, rules.keep],
            "compression": compression,
            "clock": [package.sha256 for package in clock],
            "learn": learn,
        },
    )
    return StateLayerPlan(
        cache_key=key,
        definition=locked.lock.name,
        architecture=locked.lock.architecture,
        below=below,
        files_below=files_below,
        packages=locked.lock.packages,
        users=users,
        groups=groups_,
        create_users=create,
        user_groups=memberships,
        early_files=early,
        debconf=locked.lock.answers,
        statoverrides=overrides,
        alternatives=alternatives,
        generated=generated,
        leave_out=rules,
        compression=compression,
        clock=clock,
        learn=learn,
    )


def _file(
    definition: Definition, path: str, file: model.File, numbers: accounts.Numbers, contents: Contents
) -> FileEntry:
    uid, gid = numbers.of(file.owner, file.group)
    if file.link is not None:
        return FileEntry(path, "link", uid, gid, 0o777, target=file.link)
    return FileEntry(path, "file", uid, gid, int(file.mode, 8), contents[definition.key, path])


def _folder(path: str, folder: model.Ownership, numbers: accounts.Numbers) -> FileEntry:
    uid, gid = numbers.of(folder.owner, folder.group)
    return FileEntry(path, "folder", uid, gid, int(folder.mode, 8))


def answers(definition: model.Definition) -> tuple[LockedAnswer, ...]:
    """The answers that a definition gives to debconf questions."""
    asked = [(package, question, x) for package, found in definition.debconf.items() for question, x in found.items()]
    return tuple(sorted(_answer(package, question, answer) for package, question, answer in asked))


def _answer(package: str, question: str, answer: str | bool | int | model.Answer) -> LockedAnswer:
    if isinstance(answer, model.Answer):
        kind, value = answer.type, answer.value
    else:
        kind, value = ("boolean" if isinstance(answer, bool) else "string"), answer
    return LockedAnswer(package, question, kind, str(value).lower() if isinstance(value, bool) else str(value))


def _plain(entry: FileEntry) -> list[str | int | None]:
    return [entry.path, entry.kind, entry.uid, entry.gid, entry.mode, entry.content, entry.target]
