"""A distribution as small as it can be, of this machine's programs; and a site that builds images from it.

The definitions name Debian's mirror, and the site's mirror is the repository that the tests make: so the same text, and the
same lock, serves wherever the repository lies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from builder import contents
from builder.contents import LayerContents
from builder.formats.places import canonical
from builder.model.image import Image
from builder.tools.process import run
from builder.transports import oci_layout
from tests.kit.apt_repo import AptRepo
from tests.kit.programs import programs
from tests.kit.project import Run, imgbuild, project

PROGRAMS = """
    sh cat chmod chown cp cut id ln ls mkdir mv rm rmdir sleep sort tar touch true diff find grep sed head readlink stat
    getopt hostname dpkg dpkg-deb dpkg-divert dpkg-query dpkg-split dpkg-statoverride dpkg-trigger update-alternatives
    ldconfig start-stop-daemon setcap env
""".split()  # noqa: SIM905
PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
ROOT_FILES: Mapping[str, str] = {
    "etc/passwd": PASSWD,
    "etc/group": "root:x:0:\n",
    "etc/shadow": "root:*:1::::::\n",
    "etc/gshadow": "",
    **{f"{folder}/.keep": "" for folder in ("proc", "dev", "run", "tmp", "usr/sbin")},
}
ROOT_LINKS: Mapping[str, str] = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}

TINY = """\
dsl: 1
layer: tiny
version: 1.0.0
summary: a root of a few programs
distribution: {id: tiny, version: "1", codename: stable}
sources:
  tiny: {apt: http://deb.debian.org/tiny, suites: [stable, security], keyring: key.gpg}
leave_out: [docs, man]
"""
APP = """\
dsl: 1
component: app
summary: an application
version: {from: apt/app}
images:
  app:
    summary: it serves
    extends: tiny ^1.0
    packages: {apt: [app]}
    users: {app: {uid: 8000}}
    run: {command: [app], user: app}
"""
SECOND = """\
dsl: 1
component: second
summary: another application
version: "1.2.3"
images:
  second:
    summary: it stands on the same base
    extends: tiny ^1.0
    packages: {apt: [app]}
    users: {app: {uid: 8000}}
    run: {command: [app], user: app}
"""
"""A component beside ``app``."""


def root_files() -> dict[str, str | Path]:
    """What a root needs to configure packages; skips the test if this machine lacks a program."""
    return {**programs(PROGRAMS), **ROOT_FILES}


class Distribution:
    """Packages of a tiny root, and a cache in which they are locked and built: where every site begins."""

    def __init__(self, folder: Path) -> None:
        self.repo = AptRepo(folder / "tiny", ("stable", "security"))
        # mmdebstrap mounts over some of these folders: a package cannot bring files in them.
        files = {path.removesuffix(".keep"): found for path, found in root_files().items()}
        files |= dict.fromkeys(("var/cache/", "var/lib/dpkg/parts/", "var/log/"), "")
        self.repo.add("tiny", files=files, links=ROOT_LINKS, essential="yes")
        self._taken = set(files)
        self._of_this_machine("perl-base")
        self._of_this_machine("debconf", scripts=True, provides="debconf-2.0", depends="perl-base")
        self._of_this_machine("adduser", beside=("useradd", "groupadd", "usermod"), depends="perl-base")
        self._of_this_machine("", beside=("systemd-sysusers",), name="sysusers")
        self.repo.add("app", files={"usr/bin/app": "#!/bin/sh\nexec sleep 60\n"})
        self.repo.publish()
        self.folder = folder
        self.site = Site(folder / "site", self)
        for words in (("lock", "app"), ("build", "app")):
            result = self.site.run(*words)
            assert result.code == 0, result.errors

    def _of_this_machine(
        self, package: str, *, beside: Iterable[str] = (), scripts: bool = False, name: str = "", **fields: str
    ) -> None:
        """A package as it is installed here: what its programs need, too."""
        listed = run(["dpkg-query", "--listfiles", package]).text.splitlines() if package else []
        paths = [
            Path(line)
            for line in listed
            if not line.startswith(("/usr/share/man", "/usr/share/doc", "/usr/share/locale"))
        ]
        found: dict[str, Path] = {
            canonical(str(path)): path for path in paths if path.is_file() and not path.is_symlink()
        }
        found |= programs(
            [*beside, *(path.name for path in paths if path.parent.name in ("bin", "sbin") and _is_elf(path))]
        )
        links = {canonical(str(path)): os.readlink(path) for path in paths if path.is_symlink()}
        folders = {f"{canonical(str(path))}/": "" for path in paths if path.is_dir() and not path.is_symlink()}
        members = {}
        if scripts:
            info = Path("/var/lib/dpkg/info")
            members = {m: (info / f"{package}.{m}").read_text() for m in ("postinst", "config", "templates")}
        mine = {path: where for path, where in found.items() if path not in self._taken}
        self._taken |= set(mine)
        self.repo.add(name or package, files={**folders, **mine}, links=links, **members, **fields)  # type: ignore[arg-type]


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


class Site:
    """A workspace with its repository, its cache and its layout ``out``."""

    def __init__(self, folder: Path, distribution: Distribution, *, like: Site | None = None) -> None:
        folder.mkdir()
        self.folder = folder / "work"
        self.cache = folder / "cache"
        self.mirror = folder / "mirror"
        self._caches = 0
        self.repo = AptRepo(self.mirror / "tiny", distribution.repo.suites, signed_like=distribution.repo)
        self.repo.take_over(distribution.repo)
        self.repo.publish()
        self.env: dict[str, str] = {"IMGBUILD_MIRROR": f"file://{self.mirror}"}
        if like:
            # Trees of packages are read alone, as the blobs: they are shared, whoever owns what in them.
            run(["cp", "-al", like.cache, self.cache])
            shutil.rmtree(self.cache / "imgbuild/apt")
            run(["cp", "-a", like.folder, self.folder])
            shutil.rmtree(self.folder / "out")
        else:
            self.write({"imgbuild.yaml": "dsl: 1\nworkspace: site\n", "layers/tiny/layer.yaml": TINY})
            self.write({"repos/app/component.yaml": APP})
            shutil.copy(self.repo.keyring, self.folder / "layers/tiny/key.gpg")

    def write(self, files: Mapping[str, str]) -> None:
        """Write definitions."""
        project(self.folder, files)

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a definition."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def run(self, *words: str, cache: Path | None = None, env: Mapping[str, str] | None = None, umask: int = 0o022,
            under: Iterable[str] = (), cwd: Path | None = None) -> Run:  # fmt: skip
        """Run imgbuild here."""
        return imgbuild(
            *words, cache=cache or self.cache, cwd=cwd or self.folder, env={**self.env, **(env or {})}, umask=umask,
            under=tuple(under),
        )  # fmt: skip

    def works(self, *words: str, cache: Path | None = None) -> Run:
        """Run imgbuild here; it must end well."""
        result = self.run(*words, cache=cache)
        assert result.code == 0, result.errors + result.output
        return result

    def lock_elsewhere(self, *targets: str) -> Path:
        """Lock the newest versions with another cache, so that the site's own has not seen them: the other cache."""
        other = self.another_cache()
        self.works("lock", *(targets or ("app",)), "--update", cache=other)
        return other

    def empty_cache(self) -> Path:
        """The path of a cache that is not there yet."""
        self._caches += 1
        return self.cache.with_name(f"cache-{self._caches}")

    def another_cache(self) -> Path:
        """A copy of the cache as it is now."""
        copy = self.empty_cache()
        run(["cp", "-al", self.cache, copy])
        shutil.rmtree(copy / "imgbuild/apt", ignore_errors=True)
        return copy

    def build(self, *targets: str, out: str = "out", cache: Path | None = None) -> dict[str, str]:
        """Build images: the digest of each."""
        result = self.works("build", *(targets or ("app",)), "--to", f"oci:{out}", "--json", cache=cache)
        return {one["image"]: one["digest"] for one in result.json["images"]}

    def image(self, name: str = "app", out: str = "out") -> Image:
        """An image of a layout."""
        return oci_layout.read(self.folder / out, name)

    def layers(self, name: str = "app", out: str = "out") -> tuple[LayerContents, ...]:
        """The layers of an image of a layout."""
        return contents.layers(self.image(name, out))

    def lock(self, name: str = "repos/app") -> str:
        """A lock file's text."""
        return (self.folder / name / "lock.yaml").read_text()

    def unpack(self, name: str = "app", out: str = "out") -> Path:
        """An image's root, as a container runtime would unpack it."""
        root = self.folder.parent / "roots" / f"{out}-{name}"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        image = self.image(name, out)
        for layer in image.layers:
            with image.blobs.open(layer.digest) as blob, _Tar.open(fileobj=blob, mode="r:*") as archive:
                for info in archive:
                    _apply(archive, info, root)
        return root


class _Tar(tarfile.TarFile):
    # Newer Pythons would leave out what they do not trust.
    extraction_filter = staticmethod(lambda member, _: member)


def _apply(archive: tarfile.TarFile, info: tarfile.TarInfo, root: Path) -> None:
    place = root / info.name
    if place.name == ".wh..wh..opq":
        for child in place.parent.iterdir():
            _remove(child)
    elif place.name.startswith(".wh."):
        _remove(place.with_name(place.name.removeprefix(".wh.")))
    else:
        if os.path.lexists(place) and not (info.isdir() and place.is_dir()):
            _remove(place)
        archive.extract(info, root)
        capability = info.pax_headers.get("SCHILY.xattr.security.capability")
        if capability:
            os.setxattr(place, "security.capability", capability.encode("utf-8", "surrogateescape"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def inside(root: Path, *argv: str) -> str:
    """What a command says in an unpacked root, whether or not it ends well."""
    result = subprocess.run(["chroot", str(root), *argv], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr
