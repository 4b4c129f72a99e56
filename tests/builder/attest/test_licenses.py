"""Debian's names of licenses → SPDX expressions."""

from __future__ import annotations

import pytest
from license_expression import get_spdx_licensing

from builder.attest import licenses

SPDX = get_spdx_licensing()
HEAD = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"


def expression(synopsis: str) -> str:
    """Of a package whose files are all under one synopsis, without the marks of texts."""
    found = licenses.combined({synopsis: ""}, {})
    text = found.expression
    for reference in found.references:
        text = text.replace(reference.id, f"<{reference.name}>")
    return text


@pytest.mark.parametrize(
    ("synopsis", "expected"),
    [
        ("Expat", "MIT"),
        ("Apache-2.0", "Apache-2.0"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("zlib", "Zlib"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("GPL3", "GPL-3.0-only"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("GPL", "GPL-1.0-or-later"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("GPL-3+ with Bison exception", "GPL-3.0-or-later WITH Bison-exception-2.2"),
        ("GPL-3+-with-bison-exception", "GPL-3.0-or-later WITH Bison-exception-2.2"),
        ("GPL-2+ with Autoconf exception", "GPL-2.0-or-later WITH Autoconf-exception-2.0"),
        ("GPL-3+ with Autoconf exception", "GPL-3.0-or-later WITH Autoconf-exception-3.0"),
        ("GPL-2 with Linux-syscall-note exception", "GPL-2.0-only WITH Linux-syscall-note"),
        ("Expat or ISC", "MIT OR ISC"),
        ("GPL-2+ or Expat and ISC", "GPL-2.0-or-later OR (MIT AND ISC)"),
        ("GPL-1+ or Expat, and ISC", "(GPL-1.0-or-later OR MIT) AND ISC"),
        ("public-domain", "<public-domain>"),
        ("GPL-2+ with OpenSSL exception", "<GPL-2+ with OpenSSL exception>"),
        ("Expat and custom", "<custom> AND MIT"),
        # Sentences are names of nothing: "later" is no license.
        ("LGPL2 or later (see COPYING-GPL2)", "<LGPL2 or later (see COPYING-GPL2)>"),
        ("LGPL2.1 or later", "<LGPL2.1 or later>"),
    ],
)
def test_a_synopsis_becomes_an_expression(synopsis: str, expected: str) -> None:
    assert expression(synopsis) == expected
    plain = licenses.combined({synopsis: ""}, {}).expression
    wrong = [one for one in SPDX.validate(plain).invalid_symbols if not one.startswith("LicenseRef-")]
    assert wrong == []


def test_every_line_of_the_table_is_what_spdx_has() -> None:
    table = licenses._table()
    assert all(name == name.lower() for kind in table.values() for name in kind)
    for id_ in table["licenses"].values():
        assert SPDX.validate(id_).errors == []
    for id_ in table["exceptions"].values():
        assert SPDX.validate(f"GPL-2.0-only WITH {id_}").errors == []


def test_a_package_is_under_all_licenses_of_its_files() -> None:
    text = HEAD + "\n".join(
        [
            "Files: *",
            "Copyright: X",
            "License: GPL-2+ or Artistic\n",
            "Files: a/*",
            "Copyright: Y",
            "License: own\n Do what you want.\n",
            "Files: debian/*",
            "Copyright: Z",
            "License: Expat\n",
            "License: Expat\n Permission is hereby granted",
        ]
    )
    found = licenses.read(text)
    (own,) = found.references
    assert (own.name, own.text) == ("own", "Do what you want.")
    assert found.expression == f"(GPL-2.0-or-later OR Artistic-1.0-Perl) AND {own.id} AND MIT"


def test_another_text_under_the_same_name_is_another_license() -> None:
    texts = [licenses.combined({"own": text}, {}).expression for text in ("one", "two", "one")]
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This is free software.\n",
        "Format: x",
        HEAD,
        HEAD + "Files: *\nLicense:\n",
        "\0\0",
        HEAD + "License: \n : x",
    ],
)
def test_what_is_for_people_alone_names_no_license(text: str) -> None:
    assert licenses.read(text).expression == ""
