# SPDX-License-Identifier: Apache-2.0
"""Compares the models with the golden vectors, the logits of the authors' released code.

    python check.py ../../../shared/golden/*

A folder has config.json with the official fields, model.safetensors and golden.safetensors. Each sequence is read whole, and in
random chunks, in float64 and in float32; and whole once more after awq.py has scaled the model's channels, which must not change what it computes.
"""
import argparse
import json
import pathlib
import sys

import torch

import awq
from goldfinch_torch import Config, Model, load

ARCHITECTURE = {
    ('x060c2', 'gold'): 'goldfinch', ('x060', 'gold'): 'goldfinch_on_finch', ('x060c2', 'gptalpha'): 'goldfinch_gptalpha',
    ('x060', ''): 'finch', ('x060c2', ''): 'finch_c2', ('gptalpha', ''): 'gptalpha', ('llama', ''): 'llama',
}
BOUND = {torch.float64: 2e-5, torch.float32: 3e-5}  # the vectors are float32, and themselves up to 1e-5 off


def golden_model(folder):
    official = json.loads((folder / 'config.json').read_text())
    rope = official['rope'] or dict(base=0, rebase=1, rescale=1)
    ratio, n_layer = official['inv_other_layer_ratio'], official['n_layer']
    config = Config(
        n_gold=n_layer - n_layer * (ratio - 1) // ratio, rope_base=int(rope['base'] * rope['rebase']), rope_rescale=int(rope['rescale']),
        use_v2=bool(official.get('use_v2', 1)), use_one_minus_w=bool(official.get('use_one_minus_w', 1)),
        **{f: official[f] for f in ('vocab_size', 'n_layer', 'n_embd', 'head_size', 'dim_ffn', 'kv_cache_compression_ratio', 'head_size_divisor')})
    model = Model(config, config.stack(ARCHITECTURE[official['tmix'], official['tmix2']])).eval()
    model.load_state_dict(load(folder / 'model.safetensors')[0])
    return model


def read(model, tokens, lengths):
    """Logits of tokens that come in chunks of these lengths."""
    past = {}
    return torch.cat([model(part[None], past)[0] for part in tokens.split(lengths)])


def random_lengths(n):
    lengths = []
    while sum(lengths) < n:
        lengths.append(min(torch.randint(1, 24, ()).item(), n - sum(lengths)))
    return lengths


@torch.no_grad()
def check(folder):
    """Whether a folder's model gives its logits; prints the largest differences."""
    model, golden = golden_model(folder), load(folder / 'golden.safetensors')[0]
    good, texts = True, []
    for dtype, bound in BOUND.items():
        model.to(dtype)
        worst = dict(whole=0.0, chunks=0.0)
        for name in (n for n in golden if n.endswith('logits_full')):
            tokens = golden[name.replace('logits_full', 'tokens')]
            for way, lengths in dict(whole=[len(tokens)], chunks=random_lengths(len(tokens))).items():
                difference = (read(model, tokens, lengths) - golden[name]).abs().max().item()
                worst[way] = max(worst[way], difference)
                good = good and difference <= bound
        texts += [f'{dtype} {way} {d:.1e}' for way, d in worst.items()]
    model.double()
    awq.scale(model, awq.measure(model, golden['tokens'][None]), 4, powers=[0.5])
    difference = (read(model, golden['tokens'], len(golden['tokens'])) - golden['logits_full']).abs().max().item()
    good = good and difference <= BOUND[torch.float64]
    texts.append(f'scaled {difference:.1e}')
    print('ok ' if good else 'BAD', f'{folder.name:24}', ', '.join(texts))
    return good


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('folders', type=pathlib.Path, nargs='+')
    args = ap.parse_args()
    torch.manual_seed(1)
    sys.exit(not all([check(folder) for folder in args.folders if (folder / 'golden.safetensors').exists()]))


if __name__ == '__main__':
    main()
