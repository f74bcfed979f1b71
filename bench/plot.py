#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws CSV files. Of `goldfinch-bench -o csv`: decode and pre-fill against the roof (decode, prefill) where sessions have seen one number of
tokens, time and bytes over the context (context) where there are several. Of `goldfinch-lab --csv`: what configurations cost (lab)."""

import argparse
import csv
import pathlib
import sys

TESTS = {"pp": "pre-fill", "tg": "decode"}
BENCH = {
    "model": str, "weights": str, "cache": str, "test": str, "threads": int, "depth": int, "cache_bytes": int, "tokens": int,
    "tokens_per_s": float, "deviation": float, "roof_tokens_per_s": float,
}  # fmt: skip
LAB = {
    "name": str, "remembers": str, "cache_bytes_per_token": float, "prefill_tokens_per_s": float, "decode_tokens_per_s": float,
    "ms_per_token_at_context": float, "context": int,
}  # fmt: skip


def read(files):
    """The rows of tables of one kind, with numbers where there are some; what is in their columns; the comments before them by name."""
    rows, notes, kind = [], {}, None
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        for line in lines:
            if line.startswith("# "):
                name, _, text = line[2:].partition(": ")
                notes.setdefault(name, dict.fromkeys([text]))[text] = None
        table = list(csv.DictReader(line for line in lines if line and not line.startswith("#")))
        if not table:
            raise ValueError(f"{file}: no results in it")
        its_kind = LAB if "name" in table[0] else BENCH
        missing = [name for name in its_kind if name not in table[0]]
        if missing:
            raise ValueError(f"{file}: neither of goldfinch-bench -o csv nor of goldfinch-lab --csv: it has no column {', '.join(missing)}")
        if kind not in (None, its_kind):
            raise ValueError(f"{file}: a table of another program than the one before it")
        kind = its_kind
        rows += [row | {name: convert(row[name]) for name, convert in kind.items()} for row in table]
    return rows, kind, {name: ", ".join(texts) for name, texts in notes.items()}


def count(n, noun):
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def columns_that_differ(rows, names):
    return [name for name in names if len({row[name] for row in rows}) > 1]


def label(row, names):
    texts = [(count(row[name], "thread") if row[name] else "GPU") if name == "threads" else str(row[name]) for name in names]
    return ", ".join(texts) or f"{row['weights']}, {row['cache']}"


def conditions(rows, notes):
    """The CPU, and what is the same in all rows."""
    fixed = {"model": "{}", "weights": "{} weights", "cache": "{} cache"}
    texts = [text.format(rows[0][name]) for name, text in fixed.items() if not columns_that_differ(rows, [name])]
    if not columns_that_differ(rows, ["threads"]) and rows[0]["threads"]:  # a GPU has none
        texts.append(count(rows[0]["threads"], "thread"))
    processors = [notes[kind] for kind in ("cpu", "gpu") if kind in notes]
    return f"{', '.join(processors) or 'unknown CPU'}\n{'; '.join(texts)}"


def against_roof(plt, rows, notes, kind):
    """A bar a row within that of its roof; a panel a model, since models differ much in size."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    groups = [[row for row in rows if row["model"] == model] for model in models]
    figure, panels = plt.subplots(len(groups), 1, figsize=(7, 1.6 + sum(0.5 + 0.36 * len(group) for group in groups)), squeeze=False,
                                  height_ratios=[len(group) + 0.6 for group in groups], layout="constrained")  # fmt: skip
    for axes, group in zip(panels[:, 0], groups):
        places = range(len(group))
        axes.barh(places, [row["roof_tokens_per_s"] for row in group], color="0.92", edgecolor="0.4", linestyle="--",
                  label="roof: what the machine's memory or multiply-adds allow")  # fmt: skip
        axes.barh(places, [row["tokens_per_s"] for row in group], height=0.5, xerr=[row["deviation"] for row in group], capsize=3, label="measured")
        for place, row in zip(places, group):
            rate, roof = row["tokens_per_s"], row["roof_tokens_per_s"]
            text = f"{rate:,.{0 if rate >= 100 else 1}f} = {rate / roof:.2f} of the roof"
            axes.annotate(text, (max(rate + row["deviation"], roof), place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)
        names = columns_that_differ(group, ("test", "weights", "cache", "threads"))
        axes.set_yticks(places, [label(row, names) for row in group], fontsize=9)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.45 * max(max(row["tokens_per_s"] + row["deviation"], row["roof_tokens_per_s"]) for row in group))
        axes.set_xlabel("tokens/s")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(f"{group[0]['model']}, {', '.join(dict.fromkeys(describe(row) for row in group))}", fontsize=10, loc="left")
    figure.suptitle(f"{kind.capitalize()} on {conditions(rows, notes)}", fontsize=10)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def describe(row):
    """What a test does, in words."""
    seen = f"behind {row['depth']:,} tokens" if row["depth"] > 0 else "from the start"
    return f"reading {count(row['tokens'], 'token')} {seen}" if row["test"].startswith("pp") else f"{count(row['tokens'], 'step')} {seen}"


def over_context(plt, rows, notes):
    """The time of each test and the bytes of each cache, a line a configuration; dashed: what the machine would need at least."""
    from matplotlib import lines, ticker

    tests = list(dict.fromkeys(row["test"] for row in rows))
    tests.sort(key=lambda test: test[:2], reverse=True)  # decode first
    names = columns_that_differ(rows, ("model", "weights", "cache", "threads"))
    labels = list(dict.fromkeys(label(row, names) for row in rows))
    colors = {name: f"C{i}" for i, name in enumerate(labels)}
    figure, panels = plt.subplots(1, len(tests) + 1, figsize=(3.3 * (len(tests) + 1), 3.8), squeeze=False, layout="constrained")

    def draw(axes, here, x_y, **style):
        for name in labels:
            points = sorted(x_y(row) for row in here if label(row, names) == name)
            axes.plot(*zip(*points), color=colors[name], **style)

    for axes, test in zip(panels[0], tests):
        here = [row for row in rows if row["test"] == test]
        draw(axes, here, lambda row: (row["depth"], 1e3 / row["tokens_per_s"]), marker="o", markersize=4)
        draw(axes, here, lambda row: (row["depth"], 1e3 / row["roof_tokens_per_s"]), linestyle="--", linewidth=1, alpha=0.7)
        axes.set_title("decode: time of a step" if test.startswith("tg") else f"pre-fill: reading {count(here[0]['tokens'], 'token')}", fontsize=10)
        axes.set_ylabel("ms" if test.startswith("tg") else "ms a token")
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes = panels[0][-1]
    draw(axes, [row for row in rows if row["depth"] > 0], lambda row: (row["depth"], row["cache_bytes"]), marker="o", markersize=4)
    axes.set_title("cache of a session", fontsize=10)
    axes.set_ylabel("bytes")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ticker.EngFormatter(unit="B", sep=" "))
    for axes in panels[0]:
        axes.set_xlabel("context, tokens")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(conditions(rows, notes), fontsize=10)
    keys = [lines.Line2D([], [], color=colors[name], marker="o", markersize=4, label=name) for name in labels]
    keys.append(lines.Line2D([], [], color="0.4", linestyle="--", label="at the roof: what the machine's limits allow"))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8, frameon=False)
    return figure


def of_lab(plt, rows, notes):
    """A row a configuration: what it keeps of a token, what a step then costs, and how fast it reads."""
    from matplotlib import patches

    kinds = {"state alone": "a state alone", "shared keys": "one key cache for all GOLD blocks", "own keys": "keys and values of every attention block"}
    colors = {kind: f"C{i}" for i, kind in enumerate(kinds)}
    context = f"{rows[0]['context']:,} tokens"
    panels = {
        "cache_bytes_per_token": "cache, bytes a token",
        "ms_per_token_at_context": f"step after {context}, ms",
        "prefill_tokens_per_s": f"reading {context}, tokens/s",
    }
    figure, all_axes = plt.subplots(1, len(panels), sharey=True, figsize=(10, 1.5 + 0.27 * len(rows)), layout="constrained")
    for axes, (column, title) in zip(all_axes, panels.items()):
        values = [row[column] for row in rows]
        axes.barh(range(len(rows)), values, color=[colors[row["remembers"]] for row in rows])
        for place, value in enumerate(values):
            text = f"{value:,.{2 if 0 < value < 10 else 0}f}"
            axes.annotate(text, (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
        axes.set_xlim(0, 1.25 * max(values + [1e-9]))
        axes.set_xlabel(title, fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    all_axes[0].invert_yaxis()
    keys = [patches.Patch(color=colors[kind], label=text) for kind, text in kinds.items() if any(row["remembers"] == kind for row in rows)]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.suptitle(f"{notes.get('cpu', 'unknown CPU')}\n{notes.get('lab', '')}".strip(), fontsize=10)
    return figure


def pictures_of(plt, rows, kind, notes):
    if kind is LAB:
        return {"lab": of_lab(plt, rows, notes)}
    if len({row["depth"] for row in rows}) > 1:
        return {"context": over_context(plt, rows, notes)}
    by_test = {name: [row for row in rows if row["test"].startswith(test)] for test, name in TESTS.items()}
    return {name.replace("-", ""): against_roof(plt, group, notes, name) for name, group in by_test.items() if group}


def shrink(file):
    """Few colours are in these pictures: a third of the size shows them as well."""
    from PIL import Image  # which matplotlib needs, too

    with Image.open(file) as picture:
        few_colors = picture.convert("RGB").quantize(64)
    few_colors.save(file, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", type=pathlib.Path, metavar="CSV", help="files of one program, which are drawn together")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("."), metavar="FOLDER", help="where to write the pictures (here)")
    parser.add_argument("--format", choices=("png", "svg"), default="png", help="of the pictures (png)")
    options = parser.parse_args()
    try:
        rows, kind, notes = read(options.tables)
    except OSError as error:
        sys.exit(f"plot.py: {error.filename}: {error.strerror}")
    except ValueError as error:
        sys.exit(f"plot.py: {error}")
    try:
        import matplotlib
    except ImportError:
        sys.exit("plot.py: needs matplotlib: `pip install matplotlib`, or Debian's python3-matplotlib")
    matplotlib.use("Agg")  # no window
    matplotlib.rcParams["svg.hashsalt"] = "goldfinch"  # the same file from the same numbers
    from matplotlib import pyplot as plt

    options.output.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures_of(plt, rows, kind, notes).items():
        file = options.output / f"{name}.{options.format}"
        figure.savefig(file, dpi=100, metadata={"Date": None} if options.format == "svg" else None)
        if options.format == "png":
            shrink(file)
        print(file)


if __name__ == "__main__":
    main()
