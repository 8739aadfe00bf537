"""Which object file needs which other: read by nm from the objects of a build."""

import functools
import glob
import json
import os
import re
import subprocess

from lint import sources

NEEDED, DEFINED = "Uw", "TDBRVWCGS"


def builds():
    """$CORPUSFS_BUILD, or the builds of the project, that written to last first."""
    if os.environ.get("CORPUSFS_BUILD"):
        return [os.path.abspath(os.environ["CORPUSFS_BUILD"])]
    found = glob.glob(sources.PROJECT + "/build*/compile_commands.json")
    return [os.path.dirname(each) for each in sorted(found, key=os.path.getmtime, reverse=True)]


def objects_of(build):
    """{source: object} of the engine's sources in a build; None when one of them was not compiled since it was changed."""
    with open(build + "/compile_commands.json", encoding="utf-8") as handle:
        compiled = {os.path.relpath(os.path.join(each["directory"], each["file"]), sources.PROJECT): os.path.join(build, each["output"])
                    for each in json.load(handle)}
    found = {}
    for name in sources.sources(*sources.ENGINE):
        if not name.endswith(".c"):
            continue
        made = compiled.get(name)
        if not made or not os.path.exists(made) or os.path.getmtime(made) < os.path.getmtime(sources.path(name)):
            return None
        found[name] = made
    return found


@functools.cache
def objects():
    for build in builds():
        if found := objects_of(build):
            return found
    raise AssertionError("no build of the sources as they stand: run ninja first (in build*/ or $CORPUSFS_BUILD)")


@functools.cache
def needs():
    """{source: {source it needs: a symbol}}"""
    listed = subprocess.run(["nm", "-A", "-f", "posix", *objects().values()], capture_output=True, text=True, check=True).stdout
    by_object = {made: name for name, made in objects().items()}
    needed, defined = [], {}
    for line in listed.splitlines():
        made, symbol, kind = re.match(r"(.*): (\S+) (\S)", line).groups()
        if kind in NEEDED:
            needed.append((by_object[made], symbol))
        elif kind in DEFINED:
            defined.setdefault(symbol, by_object[made])
    graph = {name: {} for name in objects()}
    for name, symbol in needed:
        if symbol in defined and defined[symbol] != name:
            graph[name].setdefault(defined[symbol], symbol)
    return graph


def reachable(graph, start):
    seen, waiting = set(), [start]
    while waiting:
        for following in graph[waiting.pop()]:
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def circles(room):
    """The sources of the room that need themselves by way of others of the room."""
    within = {name: [other for other in needed if sources.room(other) == room] for name, needed in needs().items()
              if sources.room(name) == room}
    return {name for name in within if name in reachable(within, name)}
