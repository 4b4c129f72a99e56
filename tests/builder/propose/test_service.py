"""Units, scripts and tables → a proposal."""

from __future__ import annotations

from collections.abc import Mapping

from builder.formats.systemd import OwnedFolder
from builder.propose import service
from builder.propose.payload import PackageFiles
from builder.propose.service import Proposal

SERVICES = "# well known\nmqtt 1883/tcp\nweb-alt 8080/tcp alternative\ntime 37/udp timeserver\n"


def _propose(
    unit: str,
    texts: Mapping[str, str] | None = None,
    *,
    name: str = "web",
    scripts: str = "",
    programs: Mapping[str, str] | None = None,
) -> Proposal:
    files = {"usr/lib/systemd/system/web.service": unit} if unit else {}
    package = PackageFiles(name, {}, scripts, {**files, **(texts or {})}, {"usr/bin/web": "", **(programs or {})})
    return service.propose(name, (package,), SERVICES)


def _unit(*lines: str) -> str:
    return "[Service]\n" + "\n".join(lines) + "\n[Install]\nWantedBy=multi-user.target\n"


def test_a_unit_says_it_all() -> None:
    found = _propose(
        _unit(
            "ExecStart=/usr/bin/web --listen=:8080 $OPTIONS $MORE", "EnvironmentFile=-/etc/default/web", "User=web",
            "StateDirectory=web", "RuntimeDirectory=web web/sub", "LogsDirectory=web", "LogsDirectoryMode=0750",
            "PIDFile=/run/web/pid", "WorkingDirectory=/srv", "KillSignal=SIGQUIT", "PrivateTmp=true",
        ),
        {"etc/default/web": "OPTIONS='-a b'\n"},
    )  # fmt: skip
    assert found.command.value == ("/usr/bin/web", "--listen=:8080", "-a", "b")
    assert found.look == ("the unit adds $MORE, which its environment files may set",)
    assert found.user is not None
    assert (found.user.name, found.user_why) == ("web", "User= of web.service")
    assert {name: port.value for name, port in found.ports.items()} == {"web-alt": 8080}
    assert found.volumes == ((OwnedFolder("/var/lib/web", "web", "", "0755"), "StateDirectory="),)
    assert [(folder.path, folder.mode) for folder, _ in found.folders] == [
        ("/run/web", "0755"), ("/var/log/web", "0750"), ("/tmp", "1777"),
    ]  # fmt: skip
    assert found.workdir == service.Said("/srv", "WorkingDirectory=")
    assert found.stop_signal == service.Said("SIGQUIT", "KillSignal=")


def test_a_shell_is_taken_away() -> None:
    found = _propose(_unit("ExecStart=/bin/sh -c 'set -e; x || y; exec /usr/bin/web -f 2>&1'"))
    assert found.command.value == ("/usr/bin/web", "-f")
    assert "shell" in found.look[0]


def test_a_script_that_starts_the_service_is_not_it() -> None:
    found = _propose(_unit("ExecStart=/usr/share/web/start"), programs={"usr/share/web/start": "/usr/bin/perl -w"})
    assert found.command.value == ("/usr/bin/web",)
    assert "/usr/share/web/start" in found.look[0]


def test_a_program_in_python_is_the_service() -> None:
    found = _propose(_unit("ExecStart=/usr/bin/web"), programs={"usr/bin/web": "/usr/bin/python3"})
    assert (found.command.value, found.look) == (("/usr/bin/web",), ())


def test_a_fork_is_told() -> None:
    assert "Type=forking" in _propose(_unit("Type=forking", "ExecStart=/usr/bin/web")).look[0]


def test_without_a_user_it_is_root_and_says_so() -> None:
    found = _propose(_unit("ExecStart=/usr/bin/web"))
    assert found.user is None
    assert "no user" in found.root


def test_the_user_that_the_package_makes() -> None:
    found = _propose(_unit("ExecStart=/usr/bin/web"), scripts="adduser --system --home /var/lib/web _web\n")
    assert found.user is not None
    assert (found.user.name, found.user.home) == ("_web", "/var/lib/web")
    assert found.volumes == ((OwnedFolder("/var/lib/web", "_web"), "the user's home"),)


def test_folders_that_the_unit_makes_first() -> None:
    lines = ("ExecStartPre=/bin/mkdir -p /var/log/web", "ExecStartPre=+/bin/chown web:adm /var/log/web")
    found = _propose(_unit(*lines, "ExecStart=/usr/bin/web", "User=web"))
    assert found.folders[0] == (OwnedFolder("/var/log/web", "web", "adm"), "ExecStartPre=")


def test_the_service_of_the_packages_name_goes_first() -> None:
    other = {"usr/lib/systemd/system/a.service": _unit("ExecStart=/usr/bin/a")}
    once = {"usr/lib/systemd/system/setup.service": _unit("Type=oneshot", "ExecStart=/usr/bin/b")}
    each = {"usr/lib/systemd/system/web@.service": _unit("ExecStart=/usr/bin/c")}
    found = _propose(_unit("ExecStart=/usr/bin/web"), {**other, **once, **each})
    assert found.command.value == ("/usr/bin/web",)
    assert found.others == ("a",)


def test_openstack_by_its_init_script() -> None:
    script = "PROJECT_NAME=web\nNAME=${PROJECT_NAME}\nUWSGI_PORT=5000\nUWSGI_INI_PATH=/etc/web/uwsgi.ini\nUWSGI_PORT=${RET}\n"
    found = _propose(_unit("ExecStart=/etc/init.d/web systemd-start", "User=web"), {"etc/init.d/web": script})
    assert found.command.value == ("uwsgi_python3", "--http-socket", "0.0.0.0:5000", "--ini", "/etc/web/uwsgi.ini")
    script = "PROJECT_NAME=web\nNAME=${PROJECT_NAME}-api\nDAEMON=/usr/bin/uwsgi_python3\n"
    found = _propose(_unit("ExecStart=/etc/init.d/web systemd-start", "User=web"), {"etc/init.d/web": script})
    assert found.command.value == ("/usr/bin/web-api", "--config-file=/etc/web/web.conf")


def test_ports_of_sockets_configuration_and_services() -> None:
    socket = {"usr/lib/systemd/system/web.socket": "[Socket]\nListenStream=0.0.0.0:1883\nListenStream=/run/x\n"}
    found = _propose(_unit("ExecStart=/usr/bin/web"), socket)
    assert found.ports == {"mqtt": service.Said(1883, "web.socket")}
    found = _propose(_unit("ExecStart=/usr/bin/web -c /etc/web.conf"), {"etc/web.conf": "# port 1\n  Listen *:80\n"})
    assert found.ports == {"http": service.Said(80, "/etc/web.conf")}
    found = _propose("", name="timeserver", programs={"usr/sbin/timeserver": ""})
    assert found.ports == {"timeserver": service.Said({"port": 37, "protocol": "udp"}, "/etc/services")}


def test_what_is_known_of_a_program() -> None:
    units = {"usr/lib/systemd/system/nginx.service": _unit("Type=forking", "ExecStart=/usr/sbin/nginx -g 'daemon on;'")}
    found = _propose("", units, name="nginx", programs={"usr/sbin/nginx": ""})
    assert found.command.value[:2] == ("/usr/sbin/nginx", "-e")
    assert "daemon off;" in found.command.value[-1]
    assert found.user is not None
    assert found.user.name == "www-data"
    assert not any("forking" in line for line in found.look)


def test_the_table_says_only_what_is_asked_of_it() -> None:
    keys = {
        "capabilities", "command", "add", "drop", "ports", "user", "home", "root", "env_file", "env", "packages", "writable", "volumes", "files", "generated",
        "steps", "look",
    }  # fmt: skip
    assert {key for said in service.known().values() for key in said} <= keys


def test_nothing_at_all() -> None:
    found = service.propose("nothing", (PackageFiles("nothing", {}),))
    assert found.command.value == ("/usr/bin/nothing",)
    assert found.user is None
