"""Everything that is wrong with definitions and decisions, and what locks say against them; needs no network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from builder.errors import UsageError
from builder.pipeline import decisions, locking, packages, reviewing, selection
from dsl import checks
from dsl.catalog import Catalog, Definition
from dsl.errors import DefinitionError, Problem


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, sorted.

    Attributes:
        notices: what is not wrong and should be known all the same.
    """

    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]


def check(catalog: Catalog, targets: Iterable[str]) -> Checked:
    """Look at some targets and what they stand on.

    Args:
        targets: components, images and layer definitions; none for everything.

    Raises:
        UnknownTarget: there is no such thing.
    """
    names = tuple(targets)
    problems = set() if names else {*checks.check(catalog), *decisions.problems(catalog)}
    chosen: list[Definition] = [] if names else list(catalog.definitions())
    for name in names:
        try:
            component = catalog.component(name)
            definitions = (*component.shared, *component.images) if component else (catalog.definition(name),)
            problems.update(checks.of(catalog, definitions, templates=True))
            chosen += definitions
        except DefinitionError as error:
            problems.update(error.problems)
    wanted = selection.definitions(chosen)
    problems.update(reviewing.unraised(wanted))
    notices: set[Problem] = set()
    try:
        notices.update(reviewing.sudo(wanted, locking.read(wanted, packages.architecture(catalog))))
    except DefinitionError as error:
        problems.update(error.problems)
    except UsageError:
        # There are no locks for a machine of this kind.
        pass
    return Checked(tuple(sorted(problems)), tuple(sorted(notices)))
