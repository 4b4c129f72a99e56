"""Whether packages go together, by our word and by apt's."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.formats import deb, relations
from builder.formats.relations import Related

Fields = Mapping[str, str]


def package(name: str, version: str = "1", **fields: str) -> dict[str, str]:
    named = {key.replace("_", "-"): value for key, value in fields.items()}
    return {"Package": name, "Version": version, "Architecture": "amd64", **named}


def hold(*packages: Fields, wishes: tuple[str, ...] = ()) -> bool:
    return relations.hold((Related.of(one) for one in packages), wishes)


@pytest.mark.parametrize(
    ("packages", "wishes", "expected"),
    [
        ((), (), True),
        ((), ("a",), False),
        ((package("a"),), ("a",), True),
        ((package("a"),), ("a (>= 2)",), False),
        ((package("a", "1:1~rc1"),), ("a (<< 1:1)",), True),
        ((package("a"),), ("b | a",), True),
        ((package("a"),), ("a, b",), False),
        ((package("a", Depends="b"),), (), False),
        ((package("a", Pre_Depends="b (= 2)"), package("b", "2")), (), True),
        ((package("a", Depends="b:any (>= 1)"), package("b", Multi_Arch="allowed")), (), True),
        ((package("a", Depends="v"), package("b", Provides="v")), (), True),
        ((package("a", Depends="v (>= 1)"), package("b", Provides="v")), (), False),
        ((package("a", Depends="v (>= 1)"), package("b", Provides="v (= 2)")), (), True),
        ((package("a", Conflicts="b"), package("b")), (), False),
        ((package("a", Breaks="b (<< 2)"), package("b", "2")), (), True),
        ((package("a", Breaks="b (<< 2)"), package("b", "1")), (), False),
        # Of what provides a name one at most is wanted: that is what a package says by it of others (policy 7.4).
        ((package("a", Provides="v", Conflicts="v"),), (), True),
        ((package("a", Provides="v", Conflicts="v"), package("b", Provides="v")), (), False),
        ((package("a", Recommends="b", Suggests="c", Replaces="d"),), (), True),
        ((package("a", Depends="what? is (this)"),), (), False),
    ],
)
def test_hold(packages: tuple[Fields, ...], wishes: tuple[str, ...], expected: bool) -> None:
    assert hold(*packages, wishes=wishes) is expected


def apt_holds(folder: Path, packages: list[dict[str, str]]) -> bool:
    """What ``apt-get check`` says, if these packages are what is installed."""
    status = "".join(
        "".join(f"{key}: {value}\n" for key, value in {**one, "Status": "install ok installed"}.items()) + "\n"
        for one in packages
    )
    (folder / "status").write_text(status)
    (folder / "empty").mkdir(exist_ok=True)
    settings = {
        "Dir::State::status": folder / "status", "Dir::State": folder / "empty", "Dir::Cache": "", "Dir::Etc": folder / "empty",
        "APT::Architecture": "amd64", "APT::Architectures": "amd64", "Debug::NoLocking": "true",
    }  # fmt: skip
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    found = subprocess.run(["apt-get", *options, "check"], capture_output=True, text=True, check=False)
    assert found.returncode == 0 or "Unmet dependencies" in found.stderr, found.stderr
    return found.returncode == 0


def related(chance: random.Random, names: str) -> str:
    """A relation to one of some names, or to one of two."""
    version = f" ({chance.choice(['<<', '<=', '=', '>=', '>>'])} {chance.choice(['1', '1-1', '2~rc', '2'])})"
    one = f"{chance.choice(names)}{version if chance.random() < 0.5 else ''}"
    return f"{one} | {chance.choice(names)}" if chance.random() < 0.3 else one


@pytest.mark.integration
def test_apt_says_the_same(tmp_path: Path) -> None:
    """Of random packages, about half of which go together."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    said = set()
    for number in range(60):
        packages = []
        for name in "abcd"[: chance.randint(1, 4)]:
            fields = {}
            for key, odds in (("Depends", 0.5), ("Pre-Depends", 0.1), ("Conflicts", 0.15), ("Breaks", 0.15)):
                if chance.random() < odds:
                    one = related(chance, "abcdv")
                    fields[key] = one if key in ("Depends", "Pre-Depends") else one.partition(" |")[0]
            if chance.random() < 0.3:
                fields["Provides"] = chance.choice(["v", "v (= 1)", "v (= 2)", "a", "d (= 2)"])
            packages.append(package(name, chance.choice(["1", "1-1", "2~rc", "2", "2-1"]), **fields))
        ours, theirs = hold(*packages), apt_holds(tmp_path, packages)
        assert ours == theirs, f"seed {seed}, number {number}: {packages}"
        said.add(theirs)
    assert said == {True, False}


def test_what_debian_writes_is_read() -> None:
    fields = deb.fields(
        "Package: python3\nVersion: 3.13.5-1\nPre-Depends: python3-minimal (= 3.13.5-1)\n"
        "Depends: python3.13 (>= 3.13.5-1~), libpython3-stdlib (= 3.13.5-1)\nProvides: python3-profiler\n"
    )
    found = Related.of(fields)
    assert [one[0].name for one in found.needs] == ["python3-minimal", "python3.13", "libpython3-stdlib"]
    assert found.gives[0].name == "python3-profiler"
