# SPDX-License-Identifier: Apache-2.0
"""Draws recall against the number of pairs from a table of `recall.py score`.

    python plot_recall.py recall.csv recall.png
"""
import argparse
import csv
import pathlib

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt


def size(n):
    """Bytes for readers."""
    return f'{n / 1000:,.0f} kB' if n >= 1000 else f'{n} bytes'


def read(path):
    """The rows of each model, in the order of the table, with numbers for what is drawn."""
    models = {}
    with open(path, newline='', encoding='utf-8') as f:
        for row in csv.DictReader(f):
            numbers = {name: int(row[name]) for name in ('pairs', 'cache_bytes', 'state_bytes')}
            models.setdefault(row['model'], []).append(numbers | dict(recall=float(row['recall'])))
    return models


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('table', type=pathlib.Path)
    ap.add_argument('figure', type=pathlib.Path)
    args = ap.parse_args()
    figure, axes = plt.subplots(figsize=(8, 4.5), layout='constrained')
    pairs = set()
    for i, (model, rows) in enumerate(read(args.table).items()):
        last = rows[-1]
        label = f"{model}: {size(last['cache_bytes'])} of cache at {last['pairs']:,} pairs, {size(last['state_bytes'])} of state"
        axes.plot([row['pairs'] for row in rows], [row['recall'] for row in rows], marker='oDs^v<>'[i % 7], markersize=11 - 1.2 * i, fillstyle='none',
                  label=label)  # curves that lie on each other can still be told apart
        pairs |= {row['pairs'] for row in rows}
    axes.set_xscale('log')
    ticks = [p for p in sorted(pairs) if p & (p - 1) == 0] or sorted(pairs)
    axes.set_xticks(ticks, [f'{p:,}' for p in ticks])
    axes.minorticks_off()
    axes.set(xlabel='pairs in the prompt', ylabel='recall', ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(args.figure, dpi=150)


if __name__ == '__main__':
    main()
