"""What releases are called in registries: made, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl import loading, naming
from dsl.errors import DefinitionError
from dsl.naming import USUAL, Names

OTHERS = (
    USUAL,
    "{registry}/{namespace}/debian-{image}:v{version}{-site}-build{revision}",
    "{registry}/{namespace}/{component}/{image}:{version}_r{revision}{-site}",
    "{registry}/team/{image}-image:{version}.x{revision}.y",
)
VERSIONS = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}([.-](rc|b|git)[0-9]{1,8})?", fullmatch=True)


@given(
    text=st.sampled_from(OTHERS),
    stream=st.sampled_from(["", "bookworm-", "v2-"]),
    version=VERSIONS,
    site=st.sampled_from(["", "acme", "my-site.2"]),
    revision=st.integers(0, 2000),
)
def test_what_is_made_reads_back(text: str, stream: str, version: str, site: str, revision: int) -> None:
    if "{-site}" not in text:
        site = ""
    version = f"{stream}{version}{site and '-'}{site}"
    home = f"{version}-r{revision}" if revision else f"{version}-dev"
    names = Names(text)
    made = names.tag(home, site)
    assert names.release(made) == home
    reference = f"registry.example:5000/{names.repository('a/b', 'nova@bookworm', 'nova-api')}:{made}"
    assert names.read(reference) == f"nova-api:{home}"
    for one in names.floating(version):
        assert names.release(one) == "", "a tag that moves is taken for a release's"
        assert made.startswith(one) or stream


@given(stream=st.sampled_from(["", "bookworm-"]), version=VERSIONS, revision=st.integers(0, 2000))
def test_the_usual_names_are_those_of_locks_and_layouts(stream: str, version: str, revision: int) -> None:
    home = f"{stream}{version}-acme-r{revision}" if revision else f"{stream}{version}-dev"
    assert Names().tag(home, "acme") == home
    assert Names().repository("openstack", "nova", "nova-api") == "openstack/nova-api"


def test_names() -> None:
    names = Names(OTHERS[1])
    assert names.repository("", "nova", "nova-api") == "debian-nova-api"
    assert names.tag("31.0.0-acme-r2", "acme") == "v31.0.0-acme-build2"
    assert names.floating("31.0.0-acme") == ("v31.0.0", "v31.0", "v31")
    assert Names(OTHERS[2]).repository("openstack", "nova@bookworm", "nova-api") == "openstack/nova/nova-api"
    assert Names(OTHERS[2]).tag("31.0.0-acme-r2", "acme") == "31.0.0_r2-acme"
    assert Names(OTHERS[2]).tag("31.0.0-dev", "") == "31.0.0-dev"
    # What is no release's stays as it is; names of others, and of before, are read.
    assert names.tag("latest") == "latest"
    assert names.release("31.0.0-r2") == "31.0.0-r2"
    assert names.read("library/nginx:latest") == "nginx:latest"
    assert names.read(f"registry.example/debian-web@sha256:{'a' * 64}") == "web"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{registry}/{imag}:{version}-r{revision}", "there is no {imag} in names; did you mean '{image}'?"),
        ("{registry}/{site}/{image}:{version}-r{revision}", "there is no {site} in names; did you mean '{-site}'?"),
        ("{registry}/{image}:{version}-r{revision", "a brace is open"),
        ("{image}:{version}-r{revision}", "names begin with {registry}/"),
        ("{registry}/{image}", "one colon"),
        ("{registry}:5000/{image}:{version}-r{revision}", "one colon"),
        ("{registry}/{image}:{version}", "{revision} is missing"),
        ("{registry}/{namespace}:{version}-r{revision}", "{image} is missing"),
        ("{registry}/{image}:{version}-r{revision}{revision}", "{revision} is there more than once"),
        ("{registry}/{version}/{image}:r{revision}", "{version} belongs after the colon"),
        ("{registry}/{namespace}:{image}-{version}-r{revision}", "{image} belongs before the colon"),
        ("{registry}/{namespace}-{image}:{version}-r{revision}", "{namespace} stands alone"),
        ("{registry}/{component}-{image}:{version}-r{revision}", "{component} stands alone"),
        ("{registry}/{image}/all:{version}-r{revision}", "into the last part"),
        ("{registry}/{image}:r{revision}-{version}", "{revision} comes after {version}"),
        ("{registry}/{image}:{version}-{revision}", "a letter has to stand between"),
        ("{registry}/{image}:{version}{-site}.{revision}", "a letter has to stand between"),
        ("{registry}/Debian/{image}:{version}-r{revision}", "is no repository's name"),
        ("{registry}/{image}:{version}+r{revision}", "is no tag"),
        ("{registry}/{image}:{-site}{version}-r{revision}", "is no tag"),
    ],
)
def test_a_template_that_cannot_be_is_told_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "imgbuild.yaml"
    file.write_text(f"dsl: 1\nworkspace: x\nnames: '{text}'\n")
    with pytest.raises(DefinitionError) as caught:
        loading.find(tmp_path)
    problem = caught.value.problems[0]
    assert (problem.place.file, problem.place.line, problem.place.column, problem.code) == (file, 3, 8, "names")
    assert said in f"{problem.message}; {problem.hint}"


@given(text=st.text(alphabet="{}registymagevon-:/.ps x", max_size=60))
def test_any_text_is_judged(text: str) -> None:
    if not list(naming.faults(text)):
        assert Names(text).repository("a", "b", "c")
