# SPDX-License-Identifier: Apache-2.0
"""Architectures of equal size on equal data: trains each from several seeds on the bytes of a text, and writes how well each predicts the held-out tenth to a
table. Trainings that the table has already are not repeated: a table and a folder are of one set of options.

    python equal_size.py shakespeare.txt models equal_size.csv
    python plot_loss.py equal_size.csv equal_size.png
"""
import argparse
import csv
import functools
import pathlib
import time

import torch
import torch.multiprocessing as mp
import torch.nn.functional as F

from training import export, learning_rate, make_model, optimiser_arguments, optimisers, read_bytes, size_arguments, update

# Blocks of equal width differ in parameters. At width 64, with 256 tokens, so many blocks have within 6 % of GoldFinch's 527,488.
LAYERS = dict(goldfinch=6, finch_c2=6, finch=6, gptalpha=8, llama=10)
COLUMNS = ['model', 'seed', 'n_parameters', 'n_layer', 'bytes', 'cpu_seconds', 'window', 'held_out', 'nats']


def schedule(args):
    """(pieces, tokens of a patch) of every step. A step of patches has so many more pieces that it has as many patches as later steps have bytes."""
    patched = int(args.steps * args.patched / args.patch) if args.patch > 1 else 0
    return [(args.batch * args.patch, args.patch)] * patched + [(args.batch, 1)] * (args.steps - patched * args.patch)


def loss_of(model, x, patch=1):
    """Of the bytes x [B, 1 + T], each predicted from those before it. With patches each is predicted from the patches before its own; the first byte of x is
    left out then, and the first patch has nothing before it."""
    if patch == 1:
        return F.cross_entropy(model(x[:, :-1], {}).flatten(0, 1), x[:, 1:].flatten())
    x = x[:, 1:]
    logits = model(x[:, :-patch], {}, patch=patch)
    return F.cross_entropy(logits.repeat_interleave(patch, 1).flatten(0, 1), x[:, patch:].flatten())


@torch.no_grad()
def nats_in_windows(model, text, window):
    """Nats a byte over windows of the text, each read from the start: all its bytes but the first are predicted."""
    windows = text[:len(text) // window * window].view(-1, window)
    parts = windows.split(max(1, 8192 // window))
    return sum(loss_of(model, x).item() * len(x) for x in parts) / len(windows)


def train_on(model, train, held_out, seed, args):
    """Trains what is not frozen of a model, with the same bytes for a seed. Yields rows of the table: eleven over a part of what is held out, on the way, and
    two at the end over all of it, in windows as long as in training and eight times longer."""
    opts = optimisers(model, args)
    params = [p for p in model.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(seed)
    steps, seen, seconds = schedule(args), 0, 0.0

    def row(text, window):
        return dict(seed=seed, n_parameters=sum(p.numel() for p in model.parameters()), n_layer=model.config.n_layer, bytes=seen, cpu_seconds=f'{seconds:.1f}',
                    window=window, held_out=len(text), nats=f'{nats_in_windows(model, text, window):.4f}')

    yield row(held_out[:args.watched], args.length)
    for step, (pieces, patch) in enumerate(steps, 1):
        start = time.process_time()
        x = train[torch.randint(len(train) - args.length, (pieces, 1), generator=generator) + torch.arange(args.length + 1)]
        loss_of(model, x, patch).backward()
        update(opts, params, learning_rate(step, len(steps), args.warmup, args.decay))
        seen, seconds = seen + pieces * args.length, seconds + time.process_time() - start
        if step * 10 // len(steps) > (step - 1) * 10 // len(steps):
            yield row(held_out[:args.watched], args.length)
    for window in (args.length, 8 * args.length):
        yield row(held_out, window)


def train_one(args, name, seed, make):
    """The rows of one training, by this name, of the model that make(args, seed) returns, which is exported."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model, rows = make(args, seed), []
    for row in train_on(model, *read_bytes(args.text), seed, args):
        rows.append(dict(model=name) | row)
        print(', '.join(f'{k} {v}' for k, v in rows[-1].items()), flush=True)
    export(args.models / f'{name}-{seed}.safetensors', model)
    return rows


def train_all(args, makers):
    """Trains the models, name -> make(args, seed), for each seed, in one thread each, and adds the rows of those that the table has not to it."""
    held_out = read_bytes(args.text)[1]
    if len(held_out) < max(8 * args.length, args.watched + 1):
        raise SystemExit(f'{args.text}: {len(held_out)} bytes are held out; --length {args.length} and --watched {args.watched} need more')
    if args.length % args.patch:
        raise SystemExit(f'--length {args.length} is no multiple of --patch {args.patch}')
    args.models.mkdir(parents=True, exist_ok=True)
    done = set()
    if args.table.exists():
        with open(args.table, newline='', encoding='utf-8') as f:
            done = {(row['model'], int(row['seed'])) for row in csv.DictReader(f)}
    patches = '' if args.patch == 1 else f'-patches-of-{args.patch}'
    todo = [(args, name + patches, seed, make) for seed in args.seeds for name, make in makers.items() if (name + patches, seed) not in done]
    with mp.get_context('spawn').Pool(args.workers, maxtasksperchild=1) as pool:
        for running in [pool.apply_async(train_one, job) for job in todo]:
            rows = running.get()
            with open(args.table, 'a', newline='', encoding='utf-8') as f:
                writer = csv.DictWriter(f, COLUMNS, lineterminator='\n')
                if f.tell() == 0:
                    writer.writeheader()
                writer.writerows(rows)


def arguments(parser):
    """What is read, in what pieces, and where models go."""
    parser.add_argument('text', type=pathlib.Path)
    parser.add_argument('models', type=pathlib.Path, help='folder for the trained models')
    parser.add_argument('table', type=pathlib.Path, help='CSV file')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--workers', type=int, default=2, help='trainings at once')
    parser.add_argument('--steps', type=int, default=500)
    parser.add_argument('--length', type=int, default=512, help='bytes of a piece')
    parser.add_argument('--batch', type=int, default=8, help='pieces a step')
    parser.add_argument('--patch', type=int, default=1, help='begin with patches of so many bytes, each predicted from the patches before its own')
    parser.add_argument('--patched', type=float, default=2 / 3, help='fraction of the bytes that is read as patches')
    parser.add_argument('--watched', type=int, default=32768, help='held-out bytes that are predicted on the way')
    optimiser_arguments(parser, warmup=50)


def make_architecture(args, seed, architecture):
    """A model of this architecture, at its starting point."""
    return make_model(argparse.Namespace(**vars(args) | dict(architecture=architecture, layers=args.layers or LAYERS[architecture])), 256)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(ap)
    ap.add_argument('--architectures', nargs='+', default=list(LAYERS), choices=LAYERS)
    size_arguments(ap, width=64, head_size=32)
    args = ap.parse_args()
    train_all(args, {name: functools.partial(make_architecture, architecture=name) for name in args.architectures})


if __name__ == '__main__':
    main()
