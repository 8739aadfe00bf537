"""Ratios to ext4 as a picture."""

COLOURS = {"corpusfs": "#c2410c", "btrfs": "#2563eb", "bindfs": "#6b7280", "restic": "#15803d", "borg": "#a16207"}
MARKS = {"corpusfs": "o", "btrfs": "s", "bindfs": "^", "restic": "v", "borg": "D"}


def points(results):
    """(title, figure, {way: ratio to ext4}) of each row that has ext4 and is a rate; corpusfs stands for the row's own way."""
    found = []
    for result in results:
        base = result["values"].get("ext4")
        if not base or result["unit"] == "bytes" or result["way"] == "grown" or result["way"] not in result["values"]:
            continue
        ratios = {way: value / base for way, value in result["values"].items() if way in COLOURS}
        if result["way"] in ("import", "export"):
            ratios.pop("btrfs", None)
            ratios.pop("bindfs", None)
        else:
            ratios.pop("restic", None)
            ratios.pop("borg", None)
        ratios["corpusfs"] = result["values"][result["way"]] / base
        figure = next((c["figure"] for c in result["checks"] if c["against"] == "ext4"), None)
        found.append((result["title"], figure, ratios))
    return found


def full_title(titles):
    """Titles that say "the same" take the subject of the row before."""
    subject, found = "", []
    for title in titles:
        if title.startswith("the same"):
            title = subject + title[len("the same"):]
        else:
            subject = title.split(",")[0]
        found.append(title)
    return found


def draw(results, head, path):
    """Writes a PNG; returns why not."""
    try:
        import matplotlib
    except ImportError:
        return "python3-matplotlib is not installed"
    matplotlib.use("Agg")
    from matplotlib import pyplot
    rows = points(results)
    if not rows:
        return "no row has a ratio to ext4"
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.34 * len(rows)))
    titles = full_title([title for title, _, _ in rows])
    for y, (_, wanted, ratios) in enumerate(rows):
        if wanted:
            axes.plot([wanted, wanted], [y - 0.38, y + 0.38], color="black", linewidth=2, zorder=2)
        for way, ratio in sorted(ratios.items(), key=lambda item: item[0] == "corpusfs"):
            size = 70 if way == "corpusfs" else 34
            axes.scatter([ratio], [y], s=size, marker=MARKS[way], color=COLOURS[way], zorder=4 if way == "corpusfs" else 3)
    for way, colour in COLOURS.items():
        axes.scatter([], [], marker=MARKS[way], color=colour, label=way)
    axes.plot([], [], color="black", linewidth=2, label="figure to reach")
    axes.axvline(1, color="#9ca3af", linewidth=1, zorder=1)
    axes.set_xscale("log")
    low = min(min(ratios.values()) for _, _, ratios in rows)
    high = max(max([*ratios.values(), wanted or 0]) for _, wanted, ratios in rows)
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low / 2 <= t <= high * 2]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(low / 1.3, high * 1.3)
    axes.set_yticks(range(len(rows)), titles)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", color="#e5e7eb", zorder=0)
    axes.set_xlabel("speed, ext4 = 1 (right is faster)")
    axes.set_title(head, fontsize=8, color="#374151")
    axes.legend(loc="upper center", bbox_to_anchor=(0.3, -0.9 / (0.34 * len(rows) + 0.6)), ncol=6, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return None
