#!/usr/bin/python3
"""Makes nova's first cell where it is not there yet, with the database and the messages that nova.conf names; else tells it these."""

import sys

from nova.cmd import manage

NAME = "cell1"


def main() -> int:
    manage.config.parse_args(sys.argv)
    manage.objects.register_all()
    there = manage.objects.CellMappingList.get_all(manage.context.get_admin_context())
    commands = manage.CellV2Commands()
    for cell in there:
        if cell.name == NAME:
            return commands.update_cell(cell.uuid)
    return commands.create_cell(name=NAME)


if __name__ == "__main__":
    sys.exit(main())
