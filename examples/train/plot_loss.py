# SPDX-License-Identifier: Apache-2.0
"""Draws the held-out loss of each model against the bytes that it has seen, or the time that took, from tables of equal_size.py and upgrade.py, and prints the
losses at the end.

    python plot_loss.py equal_size.csv equal_size.png
"""
import argparse
import csv
import pathlib
import statistics

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

LABELS = dict(bytes='bytes seen in training', cpu_seconds='seconds of training on one core')


def read(path):
    """The rows of each model, in the order of the table, with numbers for what is drawn."""
    models = {}
    with open(path, newline='', encoding='utf-8') as f:
        for row in csv.DictReader(f):
            models.setdefault(row['model'], []).append({name: value if name == 'model' else float(value) for name, value in row.items()})
    return models


def by(rows, name):
    """Rows of all seeds at each value of a column."""
    groups = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return dict(sorted(groups.items()))


def column(rows, name):
    return [row[name] for row in rows]


def spread(losses):
    """Their mean, and how far single ones are from it."""
    deviation = f' ± {statistics.stdev(losses):.4f}' if len(losses) > 1 else ''
    return f'{statistics.mean(losses):.4f}{deviation}'


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('table', type=pathlib.Path)
    ap.add_argument('figure', type=pathlib.Path)
    ap.add_argument('--against', choices=LABELS, default='bytes')
    args = ap.parse_args()
    figure, axes = plt.subplots(figsize=(8, 4.5), layout='constrained')
    for i, (model, rows) in enumerate(read(args.table).items()):
        all_held_out = max(column(rows, 'held_out'))
        final = by((row for row in rows if row['held_out'] == all_held_out), 'window')
        ends = {window: spread(column(at, 'nats')) for window, at in final.items()}
        print(f"{model}, {rows[0]['n_parameters']:,.0f} parameters: " + ', '.join(f'{nats} in windows of {window:,.0f}' for window, nats in ends.items()))

        points = by((row for row in rows if row['held_out'] < all_held_out and row['bytes'] > 0), 'bytes').values()
        x = [statistics.mean(column(at, args.against)) for at in points]
        nats = [column(at, 'nats') for at in points]
        axes.plot(x, [statistics.mean(n) for n in nats], marker='oDs^v<>'[i % 7], markersize=4, color=f'C{i}', label=f'{model}: {ends[min(ends)]} at the end')
        axes.fill_between(x, [min(n) for n in nats], [max(n) for n in nats], color=f'C{i}', alpha=0.2, linewidth=0)
    axes.set(xlabel=LABELS[args.against], ylabel='held-out nats a byte')
    axes.xaxis.set_major_formatter(lambda x, _: f'{x:,.0f}')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(args.figure, dpi=150)


if __name__ == '__main__':
    main()
