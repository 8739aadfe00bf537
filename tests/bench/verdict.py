"""From samples to verdicts: medians, ratios, and when not to conclude; the table and the JSON."""

import statistics
from collections import namedtuple

NOISY = 0.25  # spread of either side's runs above which a figure near its limit proves nothing

# A row compares one way's samples of a measure with others'. checks: (other way, ">=" or "<=", figure).
Row = namedtuple("Row", "key title measure way checks seen", defaults=[""])


def spread(samples):
    """(largest - smallest) / median"""
    middle = statistics.median(samples)
    return (max(samples) - min(samples)) / middle if len(samples) > 1 and middle else 0.0


def check(own, other, sign, figure):
    """One comparison of two lists of samples: ratio of medians and a verdict."""
    ratio = statistics.median(own) / max(statistics.median(other), 1e-9)
    reached = ratio >= figure if sign == ">=" else ratio <= figure
    lowest, highest = min(own) / max(*other, 1e-9), max(own) / max(min(other), 1e-9)
    noisy = max(spread(own), spread(other)) > NOISY and lowest < figure < highest
    return {"ratio": ratio, "sign": sign, "figure": figure, "verdict": "noisy" if noisy else "reached" if reached else "missed"}


def verdict(row, samples, reasons):
    """samples[measure][way] = list of numbers; reasons[measure, way] = why there are none."""
    found = samples.get(row.measure, {})
    result = {"row": row.key, "title": row.title, "way": row.way, "seen": row.seen, "values": {}, "spread": {}, "checks": []}
    for way, values in found.items():
        if values:
            result["values"][way] = statistics.median(values)
            result["spread"][way] = round(spread(values), 3)
    for other, sign, figure in row.checks:
        if row.way in result["values"] and other in result["values"]:
            result["checks"].append({"against": other, **check(found[row.way], found[other], sign, figure)})
    verdicts = [c["verdict"] for c in result["checks"]]
    if len(verdicts) < len(row.checks) or row.way not in result["values"]:
        lacking = [way for way in (row.way, *(c[0] for c in row.checks)) if way not in result["values"]]
        result["reason"] = "; ".join(dict.fromkeys(reasons.get((row.measure, way), f"no figure for {way}") for way in lacking))
        verdicts.append("skipped")
    result["verdict"] = next((v for v in ("missed", "noisy", "skipped") if v in verdicts), "reached" if verdicts else "no figure")
    return result


def number(value, unit):
    if value is None:
        return ""
    if unit == "bytes":
        return f"{value / (1 << 20):,.1f} MiB"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"


def table(results, units):
    """Lines of a Markdown table that is also readable as it stands."""
    head = ["row", "corpusfs", "compared with", "ratio", "figure", "", "others", "seen before"]
    lines = [head]
    for result in results:
        unit = units[result["measure"]]
        checks = result["checks"] or [{}]
        named = {result["way"], *(c.get("against") for c in checks)}
        others = [f"{way} {number(value, unit)}" for way, value in result["values"].items() if way not in named]
        for i, one in enumerate(checks):
            against = one.get("against")
            lines.append([
                result["title"] if i == 0 else "",
                number(result["values"].get(result["way"]), unit) if i == 0 else "",
                f"{against} {number(result['values'].get(against), unit)}" if against else "",
                f"{one['ratio']:.2f}" if one else "",
                f"{one['sign']} {one['figure']:g}" if one else "",
                one.get("verdict") or (f"{result['verdict']}: {result['reason']}" if result.get("reason") else result["verdict"]),
                ", ".join(others) if i == 0 else "",
                result["seen"] if i == 0 else "",
            ])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
