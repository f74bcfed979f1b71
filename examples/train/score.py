# SPDX-License-Identifier: Apache-2.0
"""Scores an exported model over a text, in order, in one session: the recurrent state and the whole key cache go from
the first byte to the last. The first byte has nothing to predict it and counts as 0.

    python score.py shakespeare.safetensors shakespeare.txt                      # the held-out tenth
    python score.py shakespeare.safetensors shakespeare.txt --logits out.safetensors

The second form writes the `tokens` and `logits` of an excerpt, in float64 rounded to float32, for tests of other
implementations.
"""
import argparse
import pathlib

import torch
import torch.nn.functional as F

from goldfinch_torch import load_model, save
from training import read_bytes


@torch.no_grad()
def nats_per_byte(model, tokens, chunk):
    past, total, last = {}, 0.0, None
    for part in tokens.split(chunk):
        logits = model(part[None], past)[0]
        if last is not None:
            total += F.cross_entropy(last, part[:1], reduction='sum').item()
        total += F.cross_entropy(logits[:-1], part[1:], reduction='sum').item()
        last = logits[-1:]
    return total / (len(tokens) - 1)  # the first has nothing before it


@torch.no_grad()
def write_logits(path, model, tokens):
    save(path, {'tokens': tokens, 'logits': model.double()(tokens[None], {})[0].float()})


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('model', type=pathlib.Path)
    ap.add_argument('text', type=pathlib.Path)
    ap.add_argument('--all', action='store_true', help='the whole text instead of its held-out last tenth')
    ap.add_argument('--bytes', type=int, help='no more than so many')
    ap.add_argument('--chunk', type=int, default=1024, help='tokens a forward pass; all that is left of the text in one is faster but takes more memory')
    ap.add_argument('--logits', type=pathlib.Path, help='write a test vector of 200 held-out bytes here')
    args = ap.parse_args()

    model = load_model(args.model)
    train, held_out = read_bytes(args.text)
    text = torch.cat([train, held_out]) if args.all else held_out
    if args.logits:
        write_logits(args.logits, model, text[:200])
        return
    text = text[:args.bytes]
    print(f'{len(text)} bytes')
    print(f'nats per byte: {nats_per_byte(model, text, args.chunk):.4f}')


if __name__ == '__main__':
    main()
