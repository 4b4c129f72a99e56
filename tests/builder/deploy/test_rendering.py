"""Templates of configuration: what they may ask for, and how they are told what is not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.deploy import rendering
from builder.deploy.functions import Service
from builder.deploy.rendering import Answers
from dsl.errors import DefinitionError, Place

SERVICES = {
    "database": Service("database", "mysql+pymysql", "mariadb", "3306", "/{account}", lambda name: f"p@{name}"),
    "pages": Service("pages", "http", "web", "80", "/p", str, listed={"identity": {"type": "pages", "path": "/v1"}}),
    "identity": Service.outside("identity", "https://id.example/v3", str),
}


def rendered(folder: Path, text: str, values: Mapping[str, Any] | None = None) -> str:
    template = folder / "app.conf.j2"
    template.write_text(text)
    return rendering.render(template, Answers(SERVICES, values or {}, lambda name: f"secret of {name}"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("service('database').url", "mysql+pymysql://mariadb:3306"),
        ("service('database').address", "mariadb:3306"),
        ("service('database').account('shop').url", "mysql+pymysql://shop:p%40database-shop@mariadb:3306/shop"),
        ("service('database').account('shop').password", "p@database-shop"),
        ("service('database').account('shop', 'more').url", "mysql+pymysql://shop:p%40database-shop@mariadb:3306/shop"),
        ("service('identity').url", "https://id.example/v3"),
        ("service('identity').host", "id.example"),
        ("value('region')", "north"),
        ("value('other', 'default')", "default"),
        ("secret('key')", "secret of key"),
    ],
)
def test_what_a_template_asks_for(asked: str, said: str, tmp_path: Path) -> None:
    assert rendered(tmp_path, f"x = {{{{ {asked} }}}}\n", {"region": "north"}) == f"x = {said}\n"


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("{{ service('databse').url }}", "nothing at this site provides 'databse'", "did you mean 'database'?"),
        ("{{ value('regoin') }}", "the site has no value 'regoin'", "did you mean 'region'?"),
        ("{{ undefined }}", "'undefined' is undefined", ""),
        ("{{ service('database').uri }}", "has no attribute 'uri'", ""),
        ("{% if %}", "Expected an expression", ""),
        ("{{ 1 / 0 }}", "division by zero", ""),
        ("{{ ''.__class__.__mro__ }}", "unsafe", ""),
    ],
)
def test_what_is_not_there_is_told_at_its_line(line: str, message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as failed:
        rendered(tmp_path, f"one\ntwo {line}\nthree\n", {"region": "north"})
    (problem,) = failed.value.problems
    assert (problem.place.line, problem.hint) == (2, hint)
    assert message in problem.message
    assert problem.source_line == f"two {line}"


def test_who_provides_it_lists_the_accounts(tmp_path: Path) -> None:
    template = tmp_path / "accounts.j2"
    template.write_text(
        "{% for one in accounts('database') %}{{ one.name }}:{{ one.password }}:{{ one.more }} {% endfor %}"
    )
    answers = Answers(SERVICES, {}, str, lambda function: {"a": (), "b": ("c",)} if function == "database" else {})
    assert rendering.render(template, answers) == "a:p@database-a:() b:p@database-b:('c',) "
    template.write_text("one\n{{ accounts('databse') }}\n")
    with pytest.raises(DefinitionError) as failed:
        rendering.render(template, answers)
    (problem,) = failed.value.problems
    assert (problem.place.line, problem.hint) == (2, "did you mean 'database'?")


def test_words_of_a_definition_are_rendered_at_their_place() -> None:
    answers = Answers(SERVICES, {"region": "north"}, str)
    place = Place(Path("component.yaml"), 7, 3)
    assert rendering.words("{{ value('region') }}!", place, answers) == "north!"
    with pytest.raises(DefinitionError) as failed:
        rendering.words("{{ value('regoin') }}", place, answers)
    (problem,) = failed.value.problems
    assert (problem.place, problem.hint) == (place, "did you mean 'region'?")


@pytest.mark.parametrize("address", ["id.example", "https://", "v3"])
def test_an_address_has_a_scheme_and_a_host(address: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Service.outside("identity", address, str)


def test_who_provides_it_lists_what_is_told_of_others(tmp_path: Path) -> None:
    text = "{% for one in listed('FUNCTION') %}{{ one.told.type }} {{ one.service.url ~ one.told.path }}{% endfor %}"
    assert rendered(tmp_path, text.replace("FUNCTION", "identity")) == "pages http://web:80/p/v1"
    assert rendered(tmp_path, text.replace("FUNCTION", "database")) == ""
    with pytest.raises(DefinitionError, match="nothing at this site provides 'idenity'"):
        rendered(tmp_path, text.replace("FUNCTION", "idenity"))
