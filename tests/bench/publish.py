#!/usr/bin/python3
"""Writes tests/bench/RESULTS.md's table from the results of a run, and the picture of it, tests/bench/speed.svg.

    tests/bench/publish.py RESULTS.json     a run's results.json: the table and the picture
    tests/bench/publish.py                  the picture only, of the table as it stands
"""

import json
import os
import re
import sys

import plot
import verdict

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = ["", "corpusfs", "compared with", "ratio", "wanted", "others"]
TABLE = re.compile(r"(<!-- table -->\n).*(<!-- end of table -->)", re.S)
NAMED = re.compile(r"([a-z]\w*) (\d(?:[\d.,]*\d)?)")
UNITS = ("MB/s", "reads/s", "names/s")


def number(text):
    return float(text.replace(",", ""))


def wanted(check):
    """As the table says what was wanted and whether it was reached."""
    figure = f"{'≥' if check['sign'] == '>=' else '≤'} {check['figure']:g}"
    return figure if check["verdict"] == "reached" else f"{figure}: {check['verdict']}"


def table(results):
    """The rows of a run, those that have a figure. What grew by ten has rows of its own."""
    lines = []
    for result in results:
        if result["way"] not in result["values"]:
            continue
        own, checks = result["values"][result["way"]], result["checks"] or [None]
        named = {result["way"], "grown", *(check["against"] for check in checks if check)}
        others = [f"{way} {verdict.number(value, result['unit'])}" for way, value in result["values"].items() if way not in named]
        for index, check in enumerate(checks):
            first = index == 0
            lines.append([
                result["title"] if first else "", verdict.number(own, result["unit"]) if first else "",
                f"{check['against']} {verdict.number(result['values'][check['against']], result['unit'])}" if check else "",
                f"{check['ratio']:.2f}" if check else "", wanted(check) if check else "", ", ".join(others) if first else "",
            ])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in [HEAD, ["---"] * len(HEAD), *lines])


def cells(text):
    """The table's lines, taken apart; those that go on with the row before are joined to it."""
    found = []
    for line in TABLE.search(text).group().splitlines()[3:-1]:
        title, own, compared, _, figure, others = (cell.strip() for cell in line.strip("|").split("|"))
        if title:
            found.append([title, own, compared, figure, others])
        else:
            found[-1][4] += f", {compared}"
    return found


def rows(text):
    """(title, ratio wanted, {way: ratio to ext4}) of the table's rows that are speeds and have one of ext4 to compare with."""
    found = []
    for title, own, compared, figure, others in cells(text):
        ways = {way: number(value) for way, value in NAMED.findall(f"{compared}, {others}")}
        if not own.endswith(UNITS) or title.endswith("ten times the files") or "ext4" not in ways:
            continue
        other_kind = ("btrfs", "bindfs") if title.startswith(("import", "export")) else ("restic", "borg")
        ratios = {way: value / ways["ext4"] for way, value in ways.items() if way in plot.COLOURS and way not in other_kind}
        ratios["corpusfs"] = number(own.split()[0]) / ways["ext4"]
        aim = re.search(r"[\d.]+", figure) if compared.startswith("ext4") else None
        found.append((title, float(aim.group()) if aim else None, ratios))
    return found


def main():
    path = HERE + "/RESULTS.md"
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as handle:
            fresh = table(json.load(handle)["rows"])
        text = TABLE.sub(lambda found: found.group(1) + fresh + found.group(2), text)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(text)
        print("the machine and the date in RESULTS.md are yours to write")
    problem = plot.draw(rows(text), "", HERE + "/speed.svg")
    if problem:
        sys.exit(f"publish: {problem}")


if __name__ == "__main__":
    main()
