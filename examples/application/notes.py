"""A page of notes, kept in a file of the volume."""

import json
from pathlib import Path

from flask import Flask, redirect, render_template_string, request

KEPT = Path("/var/lib/notes/notes.json")
PAGE = """<!doctype html>
<title>Notes</title>
<h1>Notes</h1>
<form method="post"><input name="note" autofocus><button>Keep</button></form>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
"""

application = Flask("notes")


def notes() -> list[str]:
    """What is kept."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else []


@application.get("/")
def page() -> str:
    """All notes."""
    return render_template_string(PAGE, notes=notes())


@application.post("/")
def keep():
    """One more."""
    new = KEPT.with_suffix(".new")
    new.write_text(json.dumps([*notes(), request.form["note"]]))
    new.rename(KEPT)
    return redirect("/")
