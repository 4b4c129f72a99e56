"""A guestbook: entries in the database, the page in the cache. Run as a program, it makes its table."""

import json
from contextlib import closing
from pathlib import Path

import pymysql
from flask import Flask, redirect, render_template_string, request
from pymemcache.client.base import Client

SITE = json.loads(Path("/etc/guestbook.json").read_text())
PAGE = """<!doctype html>
<title>{{ title }}</title>
<h1>{{ title }}</h1>
<form method="post"><input name="entry" autofocus><button>Write</button></form>
<ul>{% for entry in entries %}<li>{{ entry }}</li>{% endfor %}</ul>
"""

application = Flask("guestbook")
cache = Client(SITE["cache"], timeout=1, connect_timeout=1, ignore_exc=True)


def ask(sql, *values):
    """What the database answers."""
    with closing(pymysql.connect(**SITE["database"], autocommit=True)) as database, database.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


@application.get("/")
def page():
    """All entries."""
    kept = cache.get("page")
    if kept is None:
        entries = [row[0] for row in ask("select text from entries order by id")]
        kept = render_template_string(PAGE, title=SITE["title"], entries=entries)
        cache.set("page", kept, expire=60)
    return kept


@application.post("/")
def write():
    """One more."""
    ask("insert into entries (text) values (%s)", request.form["entry"])
    cache.delete("page")
    return redirect("/")


if __name__ == "__main__":
    ask("create table if not exists entries (id int auto_increment primary key, text text not null)")
