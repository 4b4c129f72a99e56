"""What a package's files say → a proposal of how its service runs in an image, each value with where it comes from."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from builder.formats import systemd
from builder.formats.systemd import OwnedFolder, SystemUser, Unit
from builder.propose import scripts
from builder.propose.payload import PackageFiles, is_shell

_KNOWN = Path(__file__).with_name("known.yaml")
_BINARIES = ("usr/sbin/", "usr/bin/")
_LISTENS = (
    re.compile(r"^\s*listen(?:er)?\s+(?:\S*[:\]])?(\d{1,5})\b", re.IGNORECASE),
    re.compile(r"^\s*(?:[a-z]+[_-])?port\s*[=:\s]\s*(\d{1,5})\s*$", re.IGNORECASE),
    re.compile(r"^\s*bind\s+\S*:(\d{1,5})\b", re.IGNORECASE),
)
"""Lines of configuration files by which many programs are told their port."""
_PORT_FLAG = re.compile(r"^-+(?:a|(?:[a-z.-]*)(?:listen|socket|bind|address|port)[a-z.-]*)$")


@dataclass(frozen=True, slots=True)
class Said:
    """A value and where it comes from."""

    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """How a service runs.

    Attributes:
        command: its words; the reason names the unit.
        look: what the reader has to look up, in lines.
        user: None if it runs as root; then ``root`` says why.
        folders: writable ones; ``volumes`` those whose content stays.
        owners: users that the packages make, beside it: folders may be theirs.
        others: services of the same packages that are not this one.
    """

    command: Said
    user: SystemUser | None
    user_why: str
    root: str = ""
    owners: tuple[SystemUser, ...] = ()
    ports: Mapping[str, Said] = field(default_factory=dict)
    volumes: tuple[tuple[OwnedFolder, str], ...] = ()
    folders: tuple[tuple[OwnedFolder, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_why: str = ""
    workdir: Said | None = None
    stop_signal: Said | None = None
    packages: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    files: Mapping[str, Any] = field(default_factory=dict)
    generated: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    look: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@cache
def known() -> Mapping[str, Mapping[str, Any]]:
    """What is known of some programs beyond their units."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(_KNOWN.read_text())
    return found


def propose(name: str, packages: tuple[PackageFiles, ...], services: str = "") -> Proposal:
    """Read packages of one source.

    Args:
        name: of the package that was asked for; it is the first of ``packages``.
        services: the text of /etc/services.
    """
    files = _Files(packages)
    unit, others = _unit(name, files)
    argv, why, look, environment = _command(name, unit, files)
    program = posixpath.basename(argv[0]) if argv else ""
    told = known().get(program, {})
    argv, more = _foreground(argv, unit, told)
    if {"command", "add", "drop"} & told.keys():
        why += ", with arguments for a container"
    look += more
    user, user_why, root = _user(name, program, unit, told, files)
    folders, volumes = _folders(unit, told, user, files)
    ports = _ports(name, program, argv, unit, told, files, services)
    if user and any(port.value < 1024 for port in ports.values() if isinstance(port.value, int)):
        look += ("a port below 1024: docker and podman allow it to any user, Kubernetes by a sysctl of the pod",)
    workdir = systemd.specifiers(unit.last("Service", "WorkingDirectory"), unit.name).lstrip("-") if unit else ""
    signal = unit.last("Service", "KillSignal") if unit else ""
    return Proposal(
        command=Said(argv, why),
        user=user,
        user_why=user_why,
        root=root,
        owners=files.users(),
        ports=ports,
        volumes=volumes,
        folders=folders,
        env={**environment, **told.get("env", {})},
        env_why=f"/{told['env_file']}" if environment else "",
        workdir=Said(workdir, "WorkingDirectory=") if workdir.startswith("/") and len(workdir) > 1 else None,
        stop_signal=Said(signal, "KillSignal=") if signal and signal != "SIGTERM" else None,
        packages=tuple(told.get("packages", ())),
        capabilities=tuple(told.get("capabilities", ())),
        files=told.get("files", {}),
        generated=told.get("generated", {}),
        steps=_put_folder(told.get("steps", {}), posixpath.dirname(argv[0]) if argv else ""),
        look=look,
        others=others,
    )


def _put_folder(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {key: _put_folder(one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [_put_folder(one, folder) for one in value]
    return value.replace("{folder}", folder) if isinstance(value, str) else value


class _Files:
    """The files of several packages; those of the first go before the others'."""

    def __init__(self, packages: tuple[PackageFiles, ...]) -> None:
        self.packages = packages
        self.texts: dict[str, str] = {}
        self.programs: dict[str, str] = {}
        for package in reversed(packages):
            self.texts |= package.texts
            self.programs |= package.programs
        self.folders = tuple(folder for package in packages for folder in package.folders)
        self.scripts = "\n".join(package.scripts for package in packages)
        self.own_units = {posixpath.basename(path) for path in packages[0].texts if path.startswith("usr/lib/systemd/")}

    def below(self, folder: str, suffix: str = "") -> dict[str, str]:
        """The texts right in a folder, by their names."""
        return {
            path.removeprefix(folder): text
            for path, text in sorted(self.texts.items())
            if path.startswith(folder) and path.endswith(suffix) and "/" not in path.removeprefix(folder)
        }

    def is_script(self, program: str) -> bool:
        """Whether a program of these packages is a script that starts the service, and not the service itself."""
        by = self.programs.get(_canonical(program), "")
        for _ in range(5):
            if not by.startswith("/usr/") or _canonical(by) not in self.programs:
                break
            by = self.programs[_canonical(by)]
        return bool(re.match(r"\S*/(?:env )?(?:sh|bash|dash|perl)\b", by))

    def users(self) -> tuple[SystemUser, ...]:
        """The users that these packages make."""
        found = [
            user for text in self.below("usr/lib/sysusers.d/", ".conf").values() for user in systemd.sysusers(text)
        ]
        return tuple({user.name: user for user in reversed((*found, *scripts.users(self.scripts)))}.values())


def _canonical(program: str) -> str:
    path = program.lstrip("/")
    return f"usr/{path}" if path.startswith(("bin/", "sbin/", "lib/")) else path


# which unit


def _unit(name: str, files: _Files) -> tuple[Unit | None, tuple[str, ...]]:
    units = [systemd.unit(file, text) for file, text in files.below("usr/lib/systemd/system/", ".service").items()]
    stays = [
        unit
        for unit in units
        if "@" not in unit.name
        and unit.last("Service", "Type") not in ("oneshot", "idle")
        and unit.last("Service", "RemainAfterExit") not in ("yes", "true", "1")
        and unit.all("Service", "ExecStart")
    ]
    if not stays:
        return None, ()
    wanted = {name, name.removesuffix("-server"), name.removesuffix("-daemon"), f"{name}d"}

    def rank(unit: Unit) -> tuple[bool, ...]:
        aliases = {alias.removesuffix(".service") for value in unit.all("Install", "Alias") for alias in value.split()}
        return (
            unit.stem not in wanted,
            not (wanted & aliases),
            unit.name not in files.own_units,
            not unit.all("Install", "WantedBy"),
            len(unit.stem) > 0 and "-" in unit.stem.removeprefix(name),
        )

    stays.sort(key=lambda unit: (rank(unit), unit.name))
    others = tuple(unit.stem for unit in stays[1:] if unit.all("Install", "WantedBy"))
    return stays[0], others


# the command


def _command(
    name: str, unit: Unit | None, files: _Files
) -> tuple[tuple[str, ...], str, tuple[str, ...], dict[str, str]]:
    look: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    why = ""
    if unit:
        why = f"ExecStart= of {unit.name}"
        starts = unit.all("Service", "ExecStart")
        argv = systemd.command(starts[-1], unit.name)
        if argv and is_shell(argv[0]):
            argv, look = _without_shell(argv)
        if argv and argv[0].startswith("/etc/init.d/"):
            why = f"{argv[0]}, which {unit.name} runs"
            argv, look = _openstack(argv[0].removeprefix("/etc/init.d/"), files)
        environment = systemd.environment(unit.all("Service", "Environment"))
        for value in unit.all("Service", "EnvironmentFile"):
            path = systemd.specifiers(value.lstrip("-"), unit.name).lstrip("/")
            environment |= systemd.assignments(files.texts.get(path, ""))
        argv, unknown = systemd.expand(argv, environment)
        if unknown:
            look += (f"the unit adds {' '.join('$' + one for one in unknown)}, which its environment files may set",)
    if argv and files.is_script(argv[0]):
        binary = _likely(name, unit, files)
        if binary and binary != argv[0] and not files.is_script(binary):
            look += (f"{unit.name if unit else name} runs {argv[0]}, a script: see there for arguments of {binary}",)
            argv, why = (binary,), f"the program that {argv[0]} starts"
        else:
            look += (f"{argv[0]} is a script: the service's own executable is better, see what it runs at its end",)
    if not argv:
        binary = _likely(name, unit, files)
        if binary:
            argv, why = (binary,), "no unit says how it is started; this program has the package's name"
        else:
            argv, why = (f"/usr/bin/{name}",), "no unit and no program of the package's name was found"
        if posixpath.basename(argv[0]) not in known():
            look += ("look up how it stays in the foreground and logs to stdout",)
    told = known().get(posixpath.basename(argv[0]), {})
    variables = systemd.assignments(files.texts.get(told.get("env_file", ""), ""))
    variables = {key: value.replace("$SUFFIX", "") for key, value in variables.items() if value and key.isupper()}
    variables = {key: value for key, value in variables.items() if "$" not in value and key != "SUFFIX"}
    return argv, why, look, variables


def _without_shell(argv: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    line = next((word for word in argv[1:] if not word.startswith("-")), "")
    found = re.findall(r"(?:^|[;&|]|\s)exec\s+([^;&|]+)", line)
    last = found[-1] if found else re.split(r"[;&|]+", line)[-1]
    words = tuple(word for word in systemd.words(last) if not re.match(r"^\d*[<>]", word))
    return words, ("the unit starts it by a shell, of which this is the last command",)


def _openstack(script: str, files: _Files) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What Debian's OpenStack init scripts run, told by the constants at their top (openstack-pkg-tools)."""
    said = systemd.assignments(files.texts.get(f"etc/init.d/{script}", ""), first=True)

    def value(key: str) -> str:
        text = said.get(key, "")
        for _ in range(3):
            text = re.sub(r"\$\{?(\w+)\}?", lambda m: said.get(m[1], m[0]), text)
        return "" if "$" in text else text

    if value("UWSGI_PORT") and value("UWSGI_INI_PATH"):
        ini = value("UWSGI_INI_PATH")
        argv = ["uwsgi_python3", "--http-socket", f"0.0.0.0:{value('UWSGI_PORT')}", "--ini", ini]
        look = [f"{ini} sets a log file (logto), a user and many processes: `--logto2 /dev/stdout` or own arguments"]
        pyargv = value("PYARGV")
        if pyargv:
            argv += ["--pyargv", pyargv]
        return tuple(argv), tuple(look)
    project, name = value("PROJECT_NAME") or script, value("NAME") or script
    if not value("PROJECT_NAME"):
        return (), (f"/etc/init.d/{script} says how it is started",)
    config = value("CONFIG_FILE") or f"/etc/{project}/{project}.conf"
    daemon = "" if "uwsgi" in value("DAEMON") else value("DAEMON")
    return (daemon or f"/usr/bin/{name}", f"--config-file={config}"), ()


def _likely(name: str, unit: Unit | None, files: _Files) -> str:
    """The program that has the package's or the unit's name."""
    stems = [name, unit.stem if unit else name, name.removesuffix("-server"), re.sub(r"[-.\d]+$", "", name)]
    stems += [f"{stem}d" for stem in stems]
    for stem in stems:
        for folder in _BINARIES:
            if f"{folder}{stem}" in files.programs:
                return f"/{folder}{stem}"
    inside = [path for path in files.programs if path.startswith("usr/lib/") and "/bin/" in path]
    for stem in stems:
        near = sorted(path for path in inside if posixpath.basename(path) in known() and stem.startswith(posixpath.basename(path)))  # fmt: skip
        if near:
            return f"/{near[0]}"
    return ""


def _foreground(
    argv: tuple[str, ...], unit: Unit | None, told: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    look: tuple[str, ...] = (told["look"],) if "look" in told else ()
    if "command" in told:
        return (argv[0], *told["command"]), look
    for flag, count in told.get("drop", {}).items():
        while flag in argv:
            at = argv.index(flag)
            argv = (*argv[:at], *argv[at + 1 + count :])
    if "add" in told:
        return (*argv, *(word for word in told["add"] if word not in argv)), look
    if unit and unit.last("Service", "Type") == "forking":
        look += ("the unit says Type=forking: look up the argument that keeps it in the foreground",)
    return argv, look


# who


def _user(
    name: str, program: str, unit: Unit | None, told: Mapping[str, Any], files: _Files
) -> tuple[SystemUser | None, str, str]:
    made = {user.name: user for user in files.users()}
    said = systemd.specifiers(unit.last("Service", "User"), unit.name) if unit else ""
    if "root" in told:
        return None, "", str(told["root"])
    if said and said != "root":
        group = systemd.specifiers(unit.last("Service", "Group"), unit.name) if unit else ""
        user = made.get(said) or SystemUser(said)
        if group and group not in (said, "root") and not user.group:
            user = replace(user, group=group)
        return user, f"User= of {unit.name if unit else ''}", ""
    if "user" in told:
        user = made.get(told["user"]) or SystemUser(told["user"], told.get("home", ""))
        return user, "the user that it changes to itself when it is started as root", ""
    if made:
        stems = (program, program.removesuffix("d"), name, name.removesuffix("-server"), unit.stem if unit else "")
        best = next((made[stem] for stem in stems if stem in made), None) or next(iter(made.values()))
        why = "the package makes this user; " + ("the unit itself starts as root" if unit else "no unit names one")
        return best, why, ""
    if unit and unit.last("Service", "DynamicUser") in ("yes", "true", "1"):
        return SystemUser(re.sub(r"[^a-z0-9_-]", "-", name)[:32]), "DynamicUser= of the unit", ""
    return None, "", "its package makes no user: look up whether it can run as one"


# where it writes


def _folders(
    unit: Unit | None, told: Mapping[str, Any], user: SystemUser | None, files: _Files
) -> tuple[tuple[tuple[OwnedFolder, str], ...], tuple[tuple[OwnedFolder, str], ...]]:
    said = systemd.specifiers(unit.last("Service", "User"), unit.name) if unit else ""
    owner = user.name if user else said or "root"
    found: dict[str, tuple[OwnedFolder, str]] = {}

    def add(folder: OwnedFolder, why: str) -> None:
        path = posixpath.normpath(re.sub(r"^/var/(run|lock)(?=/|$)", r"/run/\1", folder.path)).replace("/run/run", "/run")  # fmt: skip
        if (not path.startswith(("/run/", "/var/")) and path != "/run") or path in (
            "/run/lock",
            "/var/lib",
            "/var/log",
            "/var/cache",
        ):
            return
        if path.startswith(("/var/www", "/var/lib/dpkg", "/var/lib/systemd", "/run/systemd")) or "%" in path:
            return
        before = found.get(path)
        if before and before[0].owner:
            return
        found[path] = (replace(folder, path=path), why)

    if unit:
        for key, base in (
            ("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib"),
            ("CacheDirectory", "/var/cache"), ("LogsDirectory", "/var/log"),
        ):  # fmt: skip
            mode = unit.last("Service", f"{key}Mode") or "0755"
            for value in unit.all("Service", key):
                for word in systemd.words(systemd.specifiers(value, unit.name)):
                    add(OwnedFolder(f"{base}/{word.partition(':')[0]}", owner, "", mode), f"{key}=")
        pid = unit.last("Service", "PIDFile")
        if pid.count("/") > 2:
            add(OwnedFolder(posixpath.dirname(systemd.specifiers(pid, unit.name)), owner), "PIDFile=")
    for text in files.below("usr/lib/tmpfiles.d/", ".conf").values():
        for folder in systemd.tmpfiles(text):
            add(folder, "tmpfiles.d")
    names = {owner, *(one.name for one in files.users())} - {"root"}
    for path in told.get("volumes", ()):
        add(OwnedFolder(path, owner), "its data")
    for path in told.get("writable", ()):
        add(OwnedFolder(path, owner), "what it writes to")
    before = "\n".join(unit.all("Service", "ExecStartPre")) if unit else ""
    for folder in scripts.folders(before):
        if folder.owner in names:
            add(folder, "ExecStartPre=")
    for folder in scripts.folders(files.scripts):
        # Only a folder, not a file in one: the payload has it, or it is right below the usual places.
        is_folder = folder.path in files.folders or (folder.path.count("/") == 3 and "." not in folder.path)
        if folder.owner in names and is_folder:
            add(folder, "its owner in the package's script")
    if user and user.home.startswith("/var/lib/") and not any(path.startswith(user.home) for path in found):
        add(OwnedFolder(user.home, owner), "the user's home")
    if unit:
        for value in (*unit.all("Service", "ReadWritePaths"), *unit.all("Service", "ReadWriteDirectories")):
            for word in value.split():
                if word.lstrip("-+").count("/") > 2:
                    add(OwnedFolder(word.lstrip("-+"), owner), "ReadWritePaths=")
    for folder_path in files.folders:
        if re.fullmatch(rf"/var/(lib|log|cache)/{re.escape(owner)}", folder_path):
            add(OwnedFolder(folder_path, owner), "a folder of the package")
    volumes: list[tuple[OwnedFolder, str]] = []
    folders: list[tuple[OwnedFolder, str]] = []
    for path, (folder, why) in sorted(found.items()):
        # A folder inside another one that is listed comes with it.
        if any(path.startswith(f"{other}/") for other in found):
            continue
        full = replace(folder, owner=folder.owner or owner)
        stays = path in told.get("volumes", ()) or (path.startswith("/var/lib/") and path not in told.get("writable", ()))  # fmt: skip
        (volumes if stays else folders).append((full, why))
    private = unit is not None and unit.last("Service", "PrivateTmp") in ("yes", "true", "1", "disconnected")
    folders.append((OwnedFolder("/tmp", "root", "", "1777"), "PrivateTmp=" if private else "many programs want one"))
    return tuple(folders), tuple(volumes)


# where it listens


def _ports(
    name: str, program: str, argv: tuple[str, ...], unit: Unit | None, told: Mapping[str, Any], files: _Files,
    services: str,
) -> dict[str, Said]:  # fmt: skip
    if "ports" in told:
        return {key: Said(_port(value), f"{program}'s default configuration") for key, value in told["ports"].items()}
    by_socket = _socket_ports(unit, files)
    if by_socket:
        return _named(by_socket, services)
    by_flag = [Said(port, "the command") for port in _flag_ports(argv)]
    if by_flag:
        return _named(by_flag, services)
    mentioned = [word.lstrip("/") for word in argv if word.lstrip("/") in files.texts]
    mentioned += [path for path in files.texts if re.match(rf"etc/(?:{re.escape(program)}|{re.escape(name)})/[^/]*\.(conf|cnf|ini|cfg)$", path)]  # fmt: skip
    found = []
    for path in dict.fromkeys(mentioned):
        for line in files.texts[path].splitlines():
            for pattern in _LISTENS:
                match = pattern.match(line)
                if match and 0 < int(match[1]) < 65536:
                    found.append(Said(int(match[1]), f"/{path}"))
    if found:
        return _named(found, services)
    stems = {program, name, program.removesuffix("d"), name.removesuffix("-server"), unit.stem if unit else name}
    for port, protocol, names in _services(services):
        if stems & names:
            value = port if protocol == "tcp" else f"{port}/{protocol}"
            return {_key(sorted(stems & names)[0]): Said(_port(value), "/etc/services")}
    return {}


def _port(value: int | str) -> Any:
    if isinstance(value, int):
        return value
    number, _, protocol = value.partition("/")
    return {"port": int(number), "protocol": protocol}


def _socket_ports(unit: Unit | None, files: _Files) -> list[Said]:
    found = []
    for file, text in files.below("usr/lib/systemd/system/", ".socket").items():
        socket = systemd.unit(file, text)
        if "@" in file or (unit and socket.stem != unit.stem and socket.last("Socket", "Service") != unit.name):
            continue
        for value in socket.all("Socket", "ListenStream"):
            match = re.fullmatch(r"(?:\S*:)?(\d{1,5})", value)
            if match:
                found.append(Said(int(match[1]), file))
    return found


def _flag_ports(argv: tuple[str, ...]) -> list[int]:
    found = []
    for flag, word in zip(("", *argv), argv, strict=False):
        name, equal, value = word.partition("=")
        if not equal:
            name, value = flag, word
        match = re.fullmatch(r"(?:\S*:)?(\d{2,5})(?:,\S*)?", value)
        if match and _PORT_FLAG.match(name) and (":" in value or "port" in name):
            found.append(int(match[1]))
    return found


def _named(ports: Iterable[Said], services: str) -> dict[str, Said]:
    by_number = {port: names for port, protocol, names in reversed(list(_services(services))) if protocol == "tcp"}
    found: dict[str, Said] = {}
    for port in ports:
        if any(port.value == other.value for other in found.values()):
            continue
        names = by_number.get(port.value)
        key = _key(min(names, key=len)) if names else "http" if port.value in (80, 8000, 8080) else "main"
        if key in found:
            key = f"port-{port.value}"
        found[key] = port
    return found


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", name.lower()).strip("-_") or "main"


def _services(text: str) -> Iterable[tuple[int, str, set[str]]]:
    """The lines of /etc/services (services(5)): number, protocol, names."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        number, _, protocol = words[1].partition("/") if len(words) > 1 else ("", "", "")
        if number.isdigit():
            yield int(number), protocol, {words[0], *words[2:]}
