# SPDX-License-Identifier: Apache-2.0
"""Associative recall. A prompt is key, value, key, value, ..., no key twice; then keys ask, each once and in random order, and what
should come after each is its value. Tokens below n_keys are keys, the rest values.

    python recall.py train goldfinch.safetensors --architecture goldfinch    # exports n_keys in the metadata
    python recall.py score recall.csv goldfinch.safetensors ...              # recall against number of pairs, of exported models

Recall is the share of asked keys after which the likeliest of all tokens is the right one.
"""
import argparse
import csv
import pathlib
import time

import torch
import torch.nn.functional as F

from goldfinch_torch import load, load_model
from layers import GPTAlpha, LlamaAttention
from training import export, learning_rate, make_model, model_arguments, optimiser_arguments, optimisers, update

COLUMNS = ['model', 'n_parameters', 'pairs', 'asked', 'recall', 'cache_bytes', 'state_bytes']


def draw(batch, pairs, vocab_size, n_keys):
    """Prompts with all their keys asked, [batch, 3 * pairs], and the answers, [batch, pairs]."""
    keys = torch.rand(batch, n_keys).topk(pairs).indices
    values = torch.randint(n_keys, vocab_size, (batch, pairs))
    asked = torch.rand(batch, pairs).argsort()
    return torch.cat([torch.stack([keys, values], -1).flatten(1), keys.gather(1, asked)], 1), values.gather(1, asked)


def pairs_at(progress, args):
    """The number of pairs grows in equal ratios over the first part of the training."""
    return round(args.first_pairs * (args.pairs / args.first_pairs) ** min(1.0, progress / args.grow))


def train(args):
    """Trains a model and exports it every 50 steps."""
    torch.manual_seed(args.seed)
    model = make_model(args, args.vocabulary)
    opts = optimisers(model, args)
    params = [p for p in model.parameters() if p.requires_grad]
    print(f'{model.stack}: {sum(p.numel() for p in model.parameters())} parameters', flush=True)
    torch.manual_seed(args.seed)  # the same prompts, however many numbers the model has drawn
    right, asked, start = 0, 0, time.time()
    for step in range(1, args.steps + 1):
        pairs = pairs_at(step / args.steps, args)
        tokens, answers = draw(max(1, args.tokens // (3 * pairs)), pairs, args.vocabulary, args.n_keys)
        logits = model(tokens, {}, last=pairs)
        loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
        loss.backward()
        update(opts, params, learning_rate(step, args.steps, args.warmup, args.decay))
        right, asked = right + (logits.argmax(-1) == answers).sum().item(), asked + answers.numel()
        if step % 50 == 0 or step == args.steps:
            print(f'step {step} pairs {pairs} loss {loss:.4f} recall {right / asked:.4f} seconds {time.time() - start:.0f}', flush=True)
            right, asked = 0, 0
            export(args.output, model, dict(n_keys=str(args.n_keys)))


def cache_bytes(model, tokens):
    """What the C++ library keeps for so many tokens with its default cache: bf16 keys and values of blocks that have their own, or
    compressed keys in bf16 and token ids of two bytes."""
    D = model.config.n_embd
    own = sum(isinstance(block.att, (GPTAlpha, LlamaAttention)) for block in model.blocks)
    shared = 0 if model.n_lower is None else 2 * model.w_kv_cache_a.out_features + 2
    return tokens * (own * 2 * 2 * D + shared)


def state_bytes(past):
    """What else is kept of a sequence, in float32, the same at any length."""
    return sum(4 * t.numel() for name, t in past.items() if not name.endswith(('keys', 'values')))


@torch.no_grad()
def score_model(path, args):
    """Rows of the table for one exported model."""
    model, n_keys = load_model(path), int(load(path)[1]['n_keys'])
    n_parameters = sum(p.numel() for p in model.parameters())
    for pairs in (p for p in args.pairs if p <= n_keys):
        torch.manual_seed(args.seed)
        right = 0
        for _ in range(args.draws):
            tokens, answers = draw(1, pairs, model.config.vocab_size, n_keys)
            past = {}
            right += (model(tokens, past, last=pairs).argmax(-1) == answers).sum().item()
        asked = args.draws * pairs
        row = dict(model=path.stem, n_parameters=n_parameters, pairs=pairs, asked=asked, recall=f'{right / asked:.4f}',
                   cache_bytes=cache_bytes(model, 2 * pairs), state_bytes=state_bytes(past))
        print(', '.join(f'{k} {v}' for k, v in row.items()), flush=True)
        yield row


def score(args):
    """Writes the table."""
    rows = [row for path in args.models for row in score_model(path, args)]
    with open(args.table, 'w', newline='', encoding='utf-8') as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--threads', type=int, default=1, help='two trainings at once use two cores better than one on both')
    commands = ap.add_subparsers(dest='command', required=True)

    ap_train = commands.add_parser('train', help='one model', formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    ap_train.set_defaults(run=train)
    ap_train.add_argument('output', type=pathlib.Path, help='safetensors file, rewritten every 50 steps')
    ap_train.add_argument('--seed', type=int, default=1)
    ap_train.add_argument('--vocabulary', type=int, default=2304)
    ap_train.add_argument('--n-keys', type=int, default=2048, help='tokens below it are keys')
    ap_train.add_argument('--pairs', type=int, default=192, help='at the end of the training')
    ap_train.add_argument('--first-pairs', type=int, default=4, help='at its start')
    ap_train.add_argument('--grow', type=float, default=0.6, help='fraction of the training over which the pairs grow')
    ap_train.add_argument('--steps', type=int, default=4000)
    ap_train.add_argument('--tokens', type=int, default=4096, help='a step')
    optimiser_arguments(ap_train, warmup=50)
    model_arguments(ap_train, layers=3, width=64, head_size=32)

    ap_score = commands.add_parser('score', help='a table of trained models', formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    ap_score.set_defaults(run=score)
    ap_score.add_argument('table', type=pathlib.Path, help='CSV file to write')
    ap_score.add_argument('models', type=pathlib.Path, nargs='+', help='files that train has written')
    ap_score.add_argument('--pairs', type=int, nargs='+', default=[16, 32, 64, 128, 256, 512, 1000, 1024, 1536, 2048])
    ap_score.add_argument('--draws', type=int, default=10, help='prompts for each number of pairs, with all their keys asked')
    ap_score.add_argument('--seed', type=int, default=1000)

    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    args.run(args)


if __name__ == '__main__':
    main()
