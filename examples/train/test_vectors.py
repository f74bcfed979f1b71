# SPDX-License-Identifier: Apache-2.0
"""Writes the test vectors tests/data/exported: small random models of every kind as the trainers export them, and their logits.

    python test_vectors.py ../../tests/data/exported

Weights come from seed 1, and are rounded to bf16, as in every exported file; logits are computed from them in float64.
"""
import argparse
import pathlib

import torch

from goldfinch_torch import Config, Model, load_model, save, save_model

SIZES = dict(vocab_size=32, n_layer=2, n_gold=1, n_embd=32, head_size=16, dim_ffn=32)
# A kind: its architecture or stack, and what of its config is not as in SIZES.
KINDS = dict(
    eagle=('eagle', dict(n_layer=1, head_size_divisor=4)),
    finch=('finch', dict(n_layer=1, head_size_divisor=4)),
    finch_c2=('finch_c2', dict(n_layer=1)),
    finch_c2_no_v2=('finch_c2', dict(n_layer=1, use_v2=False)),
    finch_c2_no_one_minus_w=('finch_c2', dict(n_layer=1, use_one_minus_w=False)),
    gptalpha=('gptalpha', dict(rope_base=10000)),
    llama=('llama', dict(rope_base=10000)),
    goldfinch=('goldfinch', dict(n_layer=3, n_gold=2, kv_cache_compression_ratio=8)),
    goldfinch_rope=('goldfinch', dict(rope_base=10000, rope_rescale=2)),
    goldfinch_on_finch=('goldfinch_on_finch', {}),
    goldfinch_gptalpha=('goldfinch_gptalpha', {}),
    mixed=('1 * (finch_c2 {use_v2 = false}, llama_mlp), 1 * (gptalpha {rope_base = 10000}, channel_mix)', {}),
)


def randomise(model):
    """Values for which every parameter matters to the logits."""
    for name, p in model.named_parameters():
        leaf = name.split('.')[-1]
        random = torch.randn_like(p)
        if leaf.startswith('time_maa') and p.dim() == 3 and len(p) == 1:
            random = 0.5 + 0.5 * random
        elif leaf == 'time_decay':
            random = -1.5 + random
        elif leaf == 'bias':
            random = 0.2 * random
        elif p.dim() == 1:
            random = 1 + 0.2 * random
        elif leaf != 'time_faaaa' and name != 'emb.weight':
            n_in = p.shape[1] if leaf == 'weight' else p.shape[-2]
            random = random / n_in ** 0.5
        p.data = random


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('folder', type=pathlib.Path)
    args = ap.parse_args()
    for kind, (what, changes) in KINDS.items():
        torch.manual_seed(1)
        config = Config(**SIZES | changes)
        model = Model(config, what if '*' in what else config.stack(what))
        randomise(model)
        folder = args.folder / kind
        folder.mkdir(parents=True, exist_ok=True)
        save_model(folder / 'model.safetensors', model)
        tokens = torch.randint(config.vocab_size, (40,))
        logits = load_model(folder / 'model.safetensors').double()(tokens[None], {})[0]
        print(f'{kind}: {model.stack}, standard deviation of the logits {logits.std():.2f}')
        save(folder / 'logits.safetensors', {'tokens': tokens, 'logits_full': logits.float()})


if __name__ == '__main__':
    main()
