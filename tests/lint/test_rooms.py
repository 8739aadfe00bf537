"""The rooms stand in one order, and so do the files within a room: whoever needs something finds it further up, never in a circle."""

import re

from lint import allowed, objects
from lint.sources import ENGINE, files, includes, report, report_changes, room, rooms, sources, text


def forward(needs):
    """Those of (source, source it needs, how) that point to a later room."""
    order = {name: index for index, name in enumerate(rooms())}
    return [(a, b, how) for a, b, how in needs if order[room(b)] > order[room(a)]]


def included():
    return [(name, other, "includes it") for name in sources(*ENGINE) for other in includes(name) if other.startswith(ENGINE)]


def needed():
    return [(name, other, f"needs its {symbol}") for name, others in objects.needs().items() for other, symbol in others.items()]


def test_every_source_stands_in_a_room():
    report([f"{name}: {room(name)} has rooms inside, or no subdir() line leads to it" for name in sources(*ENGINE)
            if room(name) not in rooms()])


def test_rooms_need_only_rooms_before_them():
    found = forward(included() + needed())
    report([f"{a}: needs {b}, which stands in a later room ({how})" for a, b, how in found if (room(a), room(b)) not in allowed.FORWARD_NEEDS])
    report_changes({(room(a), room(b)) for a, b, _ in found}, allowed.FORWARD_NEEDS, "needs a later room")


def test_files_of_a_room_need_each_other_in_no_circle():
    circles = {name: objects.circles(name) for name in rooms()}
    report([f"{name}: in a circle are {', '.join(sorted(found))}" for name, found in circles.items()
            if found and name not in allowed.ROOMS_WITH_CIRCLES])
    report_changes({name for name, found in circles.items() if found}, allowed.ROOMS_WITH_CIRCLES, "has circles")


def test_every_room_says_what_it_is_for():
    """The first lines of a room's meson.build: what it is for, "May use: ...", "Never: ..."."""

    def purpose(name):
        opening = re.match(r"(#[^\n]*\n)*", text(name + "/meson.build")).group()
        return re.match(r"# \w", opening) and re.search(r"^# May use: \w", opening, re.M) and re.search(r"^# Never: \w", opening, re.M)

    report_changes({name for name in rooms() if not purpose(name)}, allowed.ROOMS_WITHOUT_PURPOSE, "its meson.build lacks a purpose")


def test_every_folder_of_rooms_says_so():
    report([name for name in files() if name.startswith(ENGINE) and name.endswith("meson.build") and not text(name).startswith("# ")
            and room(name) not in allowed.ROOMS_WITHOUT_PURPOSE])


def test_contributing_lists_the_rooms_in_their_order():
    assert re.findall(r"^\| `((?:lib|fs)/[\w/]+)` \|", text("CONTRIBUTING.md"), re.M) == list(rooms())


def test_lib_knows_nothing_of_fs():
    report([f"{name}: includes {i}" for name in sources("lib/") for i in includes(name) if i.startswith(("fs/", "tests/"))])
