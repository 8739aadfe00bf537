"""Speeds as a picture: each row's ratio to ext4."""

COLOURS = {"corpusfs": "#c2410c", "btrfs": "#2563eb", "bindfs": "#6b7280", "restic": "#15803d", "borg": "#a16207"}
MARKS = {"corpusfs": "o", "btrfs": "s", "bindfs": "^", "restic": "v", "borg": "D"}


def draw_row(axes, y, wanted, ratios):
    if wanted:
        axes.plot([wanted, wanted], [y - 0.38, y + 0.38], color="black", linewidth=2, zorder=2)
    for way, ratio in sorted(ratios.items(), key=lambda item: item[0] == "corpusfs"):
        size = 70 if way == "corpusfs" else 34
        axes.scatter([ratio], [y], s=size, marker=MARKS[way], color=COLOURS[way], zorder=4 if way == "corpusfs" else 3)


def draw_scale(axes, rows):
    axes.axvline(1, color="#9ca3af", linewidth=1, zorder=1)
    axes.set_xscale("log")
    low = min(min(ratios.values()) for _, _, ratios in rows)
    high = max(max([*ratios.values(), wanted or 0]) for _, wanted, ratios in rows)
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low / 2 <= t <= high * 2]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(low / 1.3, high * 1.3)
    axes.grid(axis="y", color="#e5e7eb", zorder=0)
    axes.set_xlabel("speed, ext4 = 1 (right is faster)")


def draw(rows, head, path):
    """Writes a picture of rows (title, ratio wanted or None, {way: ratio to ext4}); its kind is that of the path's end. Returns why not."""
    try:
        import matplotlib
    except ImportError:
        return "python3-matplotlib is not installed"
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "corpusfs"})
    from matplotlib import pyplot
    if not rows:
        return "no row has a ratio to ext4"
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.34 * len(rows)))
    for y, (_, wanted, ratios) in enumerate(rows):
        draw_row(axes, y, wanted, ratios)
    for way, colour in COLOURS.items():
        axes.scatter([], [], marker=MARKS[way], color=colour, label=way)
    axes.plot([], [], color="black", linewidth=2, label="wanted")
    draw_scale(axes, rows)
    axes.set_yticks(range(len(rows)), [title for title, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(head, fontsize=8, color="#374151")
    axes.legend(loc="upper center", bbox_to_anchor=(0.3, -0.9 / (0.34 * len(rows) + 0.6)), ncol=6, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Date": None} if path.endswith(".svg") else None)
    pyplot.close(figure)
    return None
