#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what `goldfinch-bench -o csv` measured: each test against its roof, and rates and cache bytes over the depth of a session."""

import argparse
import csv
import pathlib
import sys

TESTS = {"pp": "pre-fill", "tg": "decode"}


def read(file):
    """The rows of a table, with numbers where there are some, and the lines of comment before it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    notes = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(line for line in lines if line and not line.startswith("#")))
    if not rows:
        sys.exit(f"{file}: no results in it")
    needed = {"model", "weights", "cache", "test", "threads", "depth", "tokens_per_s", "deviation", "roof_tokens_per_s", "cache_bytes"}
    missing = sorted(needed - set(rows[0]))
    if missing:
        sys.exit(f"{file}: not a table of goldfinch-bench -o csv: it has no column {', '.join(missing)}")
    for row in rows:
        for name in ("threads", "depth", "cache_bytes"):
            row[name] = int(row[name])
        for name in ("tokens_per_s", "deviation", "roof_tokens_per_s"):
            row[name] = float(row[name])
    return rows, notes


def label(row, rows, names):
    """What tells a row from the others: the values of those columns that are not the same everywhere."""
    parts = []
    for name in names:
        if len({other[name] for other in rows}) > 1:
            value = row[name]
            parts.append(f"{value} thread{'s' if value > 1 else ''}" if name == "threads" else f"depth {value}" if name == "depth" else value)
    return ", ".join(parts) or row["test"]


def bars(plt, rows, title):
    """A bar a row, and the roof above it as a line."""
    figure, axes = plt.subplots(figsize=(8, 1.6 + 0.4 * len(rows)), layout="constrained")
    places = range(len(rows))
    rates, roofs = [row["tokens_per_s"] for row in rows], [row["roof_tokens_per_s"] for row in rows]
    axes.barh(places, roofs, color="0.9", edgecolor="0.5", linestyle="--", label="roof: what the machine's limits allow")
    axes.barh(places, rates, height=0.5, xerr=[row["deviation"] for row in rows], capsize=3, label="measured")
    ends = [max(row["tokens_per_s"] + row["deviation"], row["roof_tokens_per_s"]) for row in rows]
    for place, rate, roof, end in zip(places, rates, roofs, ends):
        text = f"{rate:.{0 if rate >= 100 else 2}f}, {rate / roof:.2f} of the roof"
        axes.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [label(row, rows, ("test", "model", "weights", "cache", "threads", "depth")) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.5 * max(ends))
    axes.set_xlabel("tokens/s")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / (1 + 0.4 * len(rows))), ncols=2, fontsize=8, frameon=False)
    return figure


def over_depth(plt, rows, title):
    """Rates of all tests and bytes of all caches, a line for each configuration; dashed: its roof."""
    tests = sorted({row["test"] for row in rows})
    figure, panels = plt.subplots(1, len(tests) + 1, figsize=(4.2 * (len(tests) + 1), 4.2), layout="constrained", squeeze=False)
    for axes, test in zip(panels[0], tests):
        here = [row for row in rows if row["test"] == test]
        lines = {}
        for row in sorted(here, key=lambda row: row["depth"]):
            lines.setdefault(label(row, here, ("model", "weights", "cache", "threads")), []).append(row)
        for name, line in lines.items():
            depths = [row["depth"] for row in line]
            rates, deviations = [row["tokens_per_s"] for row in line], [row["deviation"] for row in line]
            drawn = axes.errorbar(depths, rates, yerr=deviations, marker="o", capsize=3, label=name)
            axes.plot(depths, [row["roof_tokens_per_s"] for row in line], linestyle="--", color=drawn[0].get_color(), alpha=0.6)
        axes.set_title(f"{TESTS.get(test[:2], test)}, {test} (dashed: the roof)", fontsize=10)
        axes.set_ylabel("tokens/s")
    axes = panels[0][-1]
    for name in dict.fromkeys((row["model"], row["cache"]) for row in rows):
        sizes = sorted({(row["depth"], row["cache_bytes"]) for row in rows if (row["model"], row["cache"]) == name})
        axes.plot(*zip(*sizes), marker="o", label=", ".join(name))
    axes.set_title("cache of a session", fontsize=10)
    axes.set_ylabel("bytes")
    for axes in panels[0]:
        axes.set_xlabel("tokens the session has seen")
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
        axes.grid(color="0.9")
        axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=pathlib.Path, metavar="CSV", help="what goldfinch-bench -o csv printed")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("."), metavar="FOLDER", help="where to write the pictures (here)")
    parser.add_argument("--format", choices=("png", "svg"), default="png", help="of the pictures (png)")
    options = parser.parse_args()
    try:
        rows, notes = read(options.table)
    except (OSError, ValueError) as error:
        sys.exit(f"plot.py: {options.table}: {error}")
    try:
        import matplotlib
    except ImportError:
        sys.exit("plot.py: needs matplotlib: `pip install matplotlib`, or Debian's python3-matplotlib")
    matplotlib.use("Agg")  # no window
    from matplotlib import pyplot as plt

    options.output.mkdir(parents=True, exist_ok=True)
    title = "\n".join(note.split(": ", 1)[-1] for note in notes[:2])  # model and CPU
    pictures = {}
    for kind, name in TESTS.items():
        of_kind = [row for row in rows if row["test"].startswith(kind)]
        if of_kind:
            pictures[name.replace("-", "")] = bars(plt, of_kind, f"{name.capitalize()}. {title}")
    if len({row["depth"] for row in rows}) > 1:
        pictures["depth"] = over_depth(plt, rows, title)
    for name, figure in pictures.items():
        file = options.output / f"{name}.{options.format}"
        figure.savefig(file, dpi=144)
        print(file)


if __name__ == "__main__":
    main()
