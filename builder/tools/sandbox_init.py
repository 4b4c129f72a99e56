"""The first process of a sandbox: mounts the root, runs commands in it, ends with its parent.

Run as a program of its own (``python -I -S sandbox_init.py``), so it uses the standard library alone. It reads requests
as JSON lines from standard input and answers each with a line. When standard input ends, or the parent dies,
it ends too, and with it, since it is process 1 of its pid namespace, everything that still runs; its mounts go with
its mount namespace.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
NAMESPACES = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

HOST_NAME = "localhost"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
CAP_SYS_CHROOT = 18
CAPABILITIES = frozenset((0, 1, 3, 4, 5, 6, 7, 8, 10, 14, 18, 23, 24, 27, 28, 29, 31))
"""What commands keep, by number (linux/capability.h): what engines give a container, SETPCAP, IPC_LOCK, SYS_NICE,
SYS_RESOURCE and LEASE. Without SYS_ADMIN and SYS_PTRACE no mount can be changed, and nothing of ours be looked into."""
OUTPUT = 1 << 20
"""How many bytes of a command's output are kept: half of them from its beginning, half from its end."""

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
"""Numbers in the heads of programs (elf.h), by the kernel's names of machines."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    try:
        _call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    except OSError as error:
        raise OSError(error.errno, f"mounting {kind or source} on {target}: {os.strerror(error.errno or 0)}") from None


def _read_only(source: str, path: str) -> None:
    _mount(source, path, "", MS_BIND | MS_REC)
    # What a mount of the host forbids must stay forbidden.
    flags = os.statvfs(path).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("none", path, "", MS_BIND | MS_REMOUNT | MS_RDONLY | flags)


def die_with_parent() -> None:
    """Have the kernel end us when our parent ends; to be asked for again after changing who we are."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Root:
    """The root that commands see, mounted at ``path``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._mounted = False
        self._ready = os.path.dirname(path)

    def mount(self, lowers: Sequence[str], links: Mapping[str, str], upper: str, work: str) -> None:
        """Mount the overlay, in place of the one before.

        Args:
            lowers: names of links to the trees: mount takes no more than a page of options.
            links: the trees that had no name yet, by the names that they have from now on.
        """
        if self._mounted:
            _call("umount2", self.path.encode(), MNT_DETACH)
            self._mounted = False
        else:
            self._proc(f"{self._ready}/proc")
            self._dev(f"{self._ready}/dev")
            # Hundreds for each state, which no disk need see.
            os.mkdir(f"{self._ready}/lowers")
            _mount("tmpfs", f"{self._ready}/lowers", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.chdir(f"{self._ready}/lowers")
        for name, tree in links.items():
            os.symlink(tree, name)
        # dpkg asks for each line that it writes to be on the disk; a state that the machine's power ends is made again.
        options = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work},userxattr,volatile"
        _mount("overlay", self.path, "overlay", MS_NODEV, options)
        os.chdir("/")
        self._mounted = True
        for name in ("proc", "dev", "run", "tmp"):
            os.makedirs(f"{self.path}/{name}", exist_ok=True)
        # Each of these is some dozen mounts.
        for name in ("proc", "dev"):
            _mount(f"{self._ready}/{name}", f"{self.path}/{name}", "", MS_BIND | MS_REC)
        for name, mode in (("run", "0755"), ("tmp", "1777")):
            _mount("tmpfs", f"{self.path}/{name}", "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
        os.mkdir(f"{self.path}/run/lock")
        os.chmod(f"{self.path}/run/lock", 0o1777)

    def _proc(self, proc: str) -> None:
        os.mkdir(proc)
        try:
            _mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        except OSError:
            # Inside a container parts of /proc are hidden, and the kernel then refuses a whole one.
            _mount("/proc", proc, "", MS_BIND | MS_REC)
        # Ids are mapped to themselves, so the kernel takes root in here for its own root: it could set what it likes.
        for entry in os.scandir(proc):
            if not entry.name.isdigit() and not entry.is_symlink():
                found = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False) or found.st_mode & 0o222:
                    _read_only(entry.path, entry.path)

    def _dev(self, dev: str) -> None:
        os.mkdir(dev)
        _mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755")
        for name in DEVICES:
            with open(f"{dev}/{name}", "wb"):
                pass
            # They are the host's own: they can be written to, but not given another mode or owner.
            _read_only(f"/dev/{name}", f"{dev}/{name}")
        for name, mode in (("shm", 0o1777), ("pts", 0o755)):
            os.mkdir(f"{dev}/{name}")
            os.chmod(f"{dev}/{name}", mode)
        _mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
        try:
            _mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
            os.symlink("pts/ptmx", f"{dev}/ptmx")
        except OSError:
            pass  # Few scripts want a terminal.
        os.symlink("/proc/self/fd", f"{dev}/fd")
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")


class Timer:
    """Kills whatever runs when the time is over."""

    def __init__(self) -> None:
        self.over = False
        signal.signal(signal.SIGALRM, self._ring)

    def start(self, seconds: int) -> None:
        self.over = False
        signal.alarm(seconds)

    def stop(self) -> None:
        signal.alarm(0)

    def _ring(self, _signal: int, _frame: object) -> None:
        self.over = True
        _kill_all()


def _kill_all() -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _run(root: str, argv: Sequence[str], env: Mapping[str, str], stdin: bytes, timer: Timer, seconds: int) -> Any:
    given = os.memfd_create("stdin")
    os.write(given, stdin)
    os.lseek(given, 0, os.SEEK_SET)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _execute(root, argv, env, given, writing)
    os.close(writing)
    os.close(given)
    output: list[bytes] = []
    reader = threading.Thread(target=_collect, args=(reading, output))
    reader.start()
    timer.start(seconds)
    status = _wait(child)
    timer.stop()
    # What a script leaves running would hold files open and the output too.
    _kill_all()
    reader.join()
    os.close(reading)
    _reap()
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "output": base64.b64encode(b"".join(output)).decode(), "over": timer.over}


def _execute(root: str, argv: Sequence[str], env: Mapping[str, str], stdin: int, output: int) -> NoReturn:
    try:
        for number in (signal.SIGALRM, signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.umask(0o022)
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _enter(root)
        # Some programs close every number up to the limit.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        few, many = (count if most == resource.RLIM_INFINITY else min(count, most) for count in (1024, 4096))
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, many))
        os.execvpe(argv[0], list(argv), dict(env))
    except BaseException as error:
        os.write(output, f"{argv[0]}: {error}\n".encode())
        os._exit(127)


def _enter(root: str) -> None:
    """See nothing but a root from now on: in a mount namespace that has nothing else, with few rights."""
    _call("unshare", CLONE_NEWNS)
    os.chdir(root)
    kept = CAPABILITIES
    try:
        # The old root lies over the new one until it is gone (pivot_root(2)).
        _call("syscall", _PIVOT_ROOT.get(os.uname().machine, -1), b".", b".")
        _call("umount2", b".", MNT_DETACH)
        os.chdir("/")
    except OSError:
        # docker's filter refuses it. Who may not change the root cannot leave it: neither by chroot, nor in a user
        # namespace, which the kernel gives to nobody whose root has been changed.
        os.chroot(".")
        kept -= {CAP_SYS_CHROOT}
    for number in range(64):
        if number not in kept:
            # There are fewer of them than 64.
            _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def _collect(descriptor: int, output: list[bytes]) -> None:
    first, last, left_out = bytearray(), bytearray(), 0
    while data := os.read(descriptor, 1 << 16):
        room = OUTPUT // 2 - len(first)
        first += data[:room]
        last += data[room:]
        if (over := len(last) - OUTPUT // 2) > OUTPUT:
            left_out += over
            del last[:over]
    output.append(bytes(first))
    output.append(f"\n[{left_out} bytes left out]\n".encode() if left_out else b"")
    output.append(bytes(last))


def _wait(child: int) -> int:
    while True:
        process, status = os.wait()
        if process == child:
            return status


def _reap() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


def enter_user_namespace(mapped: Callable[[], None]) -> None:
    """Become root of a user namespace.

    Args:
        mapped: has somebody outside map the ids, and returns when it is done.
    """
    _call("unshare", CLONE_NEWUSER)
    mapped()
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _serve(root: Root) -> None:
    timer = Timer()
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        try:
            match request.pop("do"):
                case "mount":
                    root.mount(**request)
                    answer = {}
                case "run":
                    stdin = base64.b64decode(request["stdin"])
                    answer = _run(root.path, request["argv"], request["env"], stdin, timer, request["seconds"])
                case unknown:
                    answer = {"error": f"unknown request: {unknown}"}
        except OSError as error:
            answer = {"error": _said(error)}
        print(json.dumps(answer), flush=True)


def emulate(folder: str, program: str, machine: str) -> None:
    """Have the kernel run another machine's programs by one of ours, in this user namespace alone (binfmt-misc.rst).

    Args:
        folder: becomes the mount by which the kernel is told; as long as it is there, it holds.
        program: is opened now, so that roots need not have it.
        machine: the kernel's name of it.
    """
    os.mkdir(folder)
    _mount("binfmt_misc", folder, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # An ELF file of 64 bits, least significant byte first, that is a program or a library.
    number = ELF_MACHINES[machine]
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + struct.pack("<H", number)
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    magic, masked = ("".join(f"\\x{byte:02x}" for byte in part) for part in (head, mask))
    with open(f"{folder}/register", "w") as register:
        register.write(f":qemu-{machine}:M::{magic}:{masked}:{program}:PF")


def name_machine() -> None:
    """Be a machine that knows itself alone, in network and uts namespaces of one's own: a host name, the loopback address."""
    _set_host_name()
    # netdevice(7). Programs that look for their own address (postfix) take a machine without one for broken.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def _set_host_name() -> None:
    name = HOST_NAME.encode()
    try:
        _call("sethostname", name, len(name))
    except OSError as error:
        # Some containers may make namespaces, but not that.
        if os.uname().nodename != HOST_NAME:
            raise OSError(error.errno, f"the host name must be {HOST_NAME}, and cannot be set") from None


def _said(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said


def main() -> None:
    """Enter the namespaces and serve."""
    die_with_parent()
    try:
        _call("unshare", NAMESPACES)
    except OSError as error:
        print(json.dumps({"error": _said(error)}), flush=True)
        return
    print(json.dumps({"pid": os.getpid()}), flush=True)
    sys.stdin.readline()
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # Changing who we are clears it.
    die_with_parent()
    child = os.fork()
    if child:
        # Requests and answers are the child's alone.
        os.close(0)
        os.close(1)
        os.waitpid(child, 0)
        return
    die_with_parent()
    if os.getppid() != 0:
        # The parent lives outside of our pid namespace, so it is 0 as long as it lives.
        os._exit(1)
    # Commands run as the same user: they must not reach through us (/proc/1/root) what we see.
    _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        _mount("none", "/", "", MS_REC | MS_PRIVATE)
        name_machine()
        if len(sys.argv) > 2:
            emulate(f"{os.path.dirname(sys.argv[1])}/interpreters", *sys.argv[2:4])
    except OSError as error:
        print(json.dumps({"error": _said(error)}), flush=True)
        os._exit(1)
    print(json.dumps({}), flush=True)
    _serve(Root(sys.argv[1]))
    os._exit(0)


if __name__ == "__main__":
    main()
