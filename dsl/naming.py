"""What releases are called in registries, as the workspace has it: the one place that makes such names, and reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dsl import versions
from dsl.errors import nearest

USUAL = "{registry}/{namespace}/{image}:{version}{-site}-r{revision}"
"""What a workspace's names are like that does not say otherwise."""
_REPOSITORY = ("registry", "namespace", "component", "image")
_TAG = ("version", "-site", "revision")
_NEEDED = ("image", "version", "revision")
_SAMPLE = {"registry": "registry.example", "namespace": "n", "component": "c", "image": "i", "version": "1.0",
           "-site": "-s", "revision": "1"}  # fmt: skip
_FIELD = re.compile(r"\{([^{}]*)\}")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IS_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_IS_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


def faults(text: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a template of names, and the way out."""
    fields = _FIELD.findall(text)
    known = {f"{{{name}}}" for name in (*_REPOSITORY, *_TAG)}
    unknown = [name for name in dict.fromkeys(fields) if name not in _SAMPLE]
    for name in unknown:
        yield f"there is no {{{name}}} in names", nearest(f"{{{name}}}", known)
    rest = _FIELD.sub("", text)
    if "{" in rest or "}" in rest:
        yield "a brace is open in these names", f"they are like {USUAL}"
    elif rest.count(":") != 1 or not text.startswith("{registry}/"):
        yield "names begin with {registry}/ and have one colon, before the tag", f"they are like {USUAL}"
    elif not unknown:
        yield from _misplaced(text, fields)


def _misplaced(text: str, fields: list[str]) -> Iterator[tuple[str, str]]:
    repository, _, tag = text.partition(":")
    for name in _SAMPLE:
        if name in _NEEDED and name not in fields:
            yield f"{{{name}}} is missing in these names", "without it several releases would have one name"
        elif fields.count(name) > 1:
            yield f"{{{name}}} is there more than once in these names", ""
        elif name in fields and f"{{{name}}}" not in (repository if name in _REPOSITORY else tag):
            where = "before the colon" if name in _REPOSITORY else "after the colon"
            yield f"{{{name}}} belongs {where}", f"they are like {USUAL}"
    parts = repository.split("/")
    for name in ("namespace", "component"):
        if any(f"{{{name}}}" in part and part != f"{{{name}}}" for part in parts):
            yield (
                f"{{{name}}} stands alone between slashes",
                "otherwise nobody could tell where the image's name begins",
            )
    if "{image}" in repository and "{image}" not in parts[-1]:
        yield "{image} belongs into the last part of a repository's name", f"names are like {USUAL}"
    if "{version}" in tag and "{revision}" in tag:
        begin, end = tag.index("{version}"), tag.index("{revision}")
        if end < begin:
            yield "{revision} comes after {version}", f"names are like {USUAL}"
        elif not re.search("[a-zA-Z]", _FIELD.sub("", tag[begin:end])):
            yield (
                "a letter has to stand between {version} and {revision}",
                "say -r{revision}: 31.0-3 could be a version by itself, and 31.0.3 a tag that moves",
            )
    _, _, sample = _FIELD.sub(lambda found: _SAMPLE[found[1]], text).partition("/")
    name_, _, its_tag = sample.partition(":")
    if not _IS_REPOSITORY.fullmatch(name_):
        yield (
            f"{name_!r}, which these names would give, is no repository's name",
            "they are in lower case, without spaces",
        )
    if not _IS_TAG.fullmatch(its_tag):
        yield f"{its_tag!r}, which these names would give, is no tag", "letters, digits, `.`, `_` and `-` are"


@dataclass(frozen=True, slots=True)
class Names:
    """What releases are called in registries.

    Attributes:
        text: a template without faults.
    """

    text: str = USUAL
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _image: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pattern", re.compile(_tagpattern(self._tag)))
        before, _, after = self._repository.rpartition("/")[2].partition("{image}")
        object.__setattr__(self, "_image", re.compile(f"{re.escape(before)}(.+){re.escape(after)}"))

    @property
    def _repository(self) -> str:
        return self.text.partition(":")[0].removeprefix("{registry}/")

    @property
    def _tag(self) -> str:
        return self.text.partition(":")[2]

    @property
    def has_namespace(self) -> bool:
        """Whether a prefix of repositories is part of their names."""
        return "{namespace}" in self.text

    def repository(self, namespace: str, component: str, image: str) -> str:
        """The repository of an image.

        Args:
            namespace: what stands before all of them; empty for nothing.
            component: with or without its stream; empty if there is none.
        """
        given = {"namespace": namespace, "component": component.partition("@")[0], "image": image}
        filled = _FIELD.sub(lambda found: given[found[1]], self._repository)
        return "/".join(part for part in filled.split("/") if part)

    def tag(self, house: str, site: str = "") -> str:
        """The tag of a release; one that is no release's stays as it is.

        Args:
            house: as it is called everywhere else: ``31.0.0-acme-r2``.
            site: whose it is: ``acme``.
        """
        found = versions.parse_tag(house)
        if not found:
            return house
        version, revision = found
        ending = f"-{site}" if site and version.endswith(f"-{site}") else ""
        given = {"version": version.removesuffix(ending), "-site": ending, "revision": str(revision)}
        text = self._tag if revision else _dev(self._tag)
        return _FIELD.sub(lambda one: given[one[1]], text)

    def floating(self, version: str) -> tuple[str, ...]:
        """The tags that move to the releases of a version."""
        before = self._tag.partition("{version}")[0]
        return tuple(f"{before}{one}" for one in versions.floating_tags(version))

    def release(self, tag: str) -> str:
        """What a release is called everywhere else, by its tag in a registry; empty if it is not one release's.

        Names that are as usual are read, too: others may have given them, or this site before it had its own.
        """
        if found := self._pattern.fullmatch(tag):
            told = found.groupdict()
            return versions.tag(told["version"] + (told.get("site") or ""), int(told["revision"] or 0))
        return tag if versions.parse_tag(tag) else ""

    def read(self, reference: str) -> str:
        """Image and tag as they are called everywhere else, by a name from a registry: ``nova-api:31.0.0-r3``.

        What it cannot tell stays as it is, but for the registry.
        """
        last = reference.partition("@")[0].rpartition("/")[2]
        image, colon, its_tag = last.partition(":")
        found = self._image.fullmatch(image)
        return f"{found[1] if found else image}{colon}{self.release(its_tag) or its_tag}"


def _dev(template: str) -> str:
    """The template of a ``-dev`` build's tag: it has no revision, nor what stands right before that."""
    return re.sub(r"[^{}]*\{revision\}", "-dev", template)


def _tagpattern(template: str) -> str:
    found = ""
    for literal, name in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", template):
        before = re.escape(literal)
        match name:
            case "version":
                found += before + r"(?P<version>[a-zA-Z0-9](?:.*?[a-zA-Z0-9])??)"
            case "-site":
                # Right behind the version it reads as a part of it, as it is one everywhere else.
                beside = found.endswith("??)") and not literal
                found += before if beside else before + r"(?P<site>-[a-z0-9._-]*?[a-z0-9])??"
            case "revision":
                found += f"(?:{before}(?P<revision>[0-9]+)|-dev)"
            case _:
                found += before
    return found
