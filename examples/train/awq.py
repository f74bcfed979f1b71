# SPDX-License-Identifier: Apache-2.0
"""Scales channels of a model so that rounding its weights to 4 bits costs less where a text makes activations large (AWQ, arXiv 2306.00978).

    python awq.py shakespeare.safetensors shakespeare.txt scaled.safetensors

What makes the input of matrices, a norm or a matrix, is divided by a scale a channel, and their columns are multiplied by it: the model computes what it did. Its
file, in float32, loads as any other, such as into gf::simd<gf::int4>, which rounds the matrices to 4 bits and all else to bf16. A channel's scale is a power of its
mean activation, the same power for all channels of an input: the one with the least squared error of the rounded matrices' products over the text.
The matrices of TokenCat keep their weights: what they read is the residual stream and the embeddings, which others read, too.
"""
import argparse
import pathlib

import torch

from goldfinch_torch import load, load_model, save
from layers import ChannelMix, Gold, LlamaAttention, LlamaMLP
from training import read_bytes

BLOCK = 64  # columns that share a scale of the rounded weights (weight/quantized.hpp)
SHARES = (1, 0.95, 0.9, 0.85, 1.07)


def rounded(w, bits):
    """A matrix as integers of so many bits would store it."""
    columns, zero = w.shape[1], 2 ** (bits - 1)
    blocks = torch.nn.functional.pad(w, (0, -columns % BLOCK)).unflatten(1, (-1, BLOCK))
    extreme = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    best, least = None, None
    for share in SHARES if bits < 8 else SHARES[:1]:
        step = (extreme / -zero * share).bfloat16().float()
        candidate = torch.where(step == 0, 0, (blocks / step).clamp(-zero, zero - 1).add(0.5).floor() * step)
        error = (blocks - candidate).square().sum(2, keepdim=True)
        best = candidate if best is None else torch.where(error < least, candidate, best)
        least = error if least is None else torch.minimum(error, least)
    return best.flatten(1)[:, :columns]


def inputs(model):
    """What makes an input, as functions that divide its channels by scales, with the matrices that read it and the LoRAs, [in, rank], that do."""
    def norm(layer):
        return lambda s: (layer.weight.div_(s), layer.bias.div_(s))

    def rows(layer, power=1.0):
        return lambda s: layer.weight.div_(s.pow(power)[:, None])

    for block in model.blocks:
        att, ffn = block.att, block.ffn
        if isinstance(att, LlamaAttention):
            yield norm(block.ln1), [att.wq, att.wk, att.wv], []
            yield rows(att.wv), [att.wo], []
        else:
            matrices = [m for name, m in att.named_children() if isinstance(m, torch.nn.Linear) and name != 'output']
            of_cache = ('time_maa_kv_w1', 'time_key_w1', 'time_value_w1') if isinstance(att, Gold) else ()
            yield norm(block.ln1), matrices, [p for name, p in att.named_parameters(recurse=False) if name.endswith('_w1') and name not in of_cache]
            yield norm(att.ln_x), [att.output], []
        if isinstance(ffn, ChannelMix):
            yield norm(block.ln2), [ffn.key, ffn.receptance], []
            yield rows(ffn.key, 0.5), [ffn.value], []  # squared on the way
        elif isinstance(ffn, LlamaMLP):
            yield norm(block.ln2), [ffn.w1, ffn.w3], []
            yield rows(ffn.w3), [ffn.w2], []
    yield norm(model.ln_out), [model.head], []


@torch.no_grad()
def measure(model, pieces):
    """What each matrix reads over pieces of a text [n, T]: the mean magnitude of each channel, and the mean product of each two."""
    sums, hooks = {}, []
    for layer in (m for m in model.modules() if isinstance(m, torch.nn.Linear)):
        def add(layer, args):
            x = args[0].flatten(0, -2)
            n, magnitude, products = sums.get(layer, (0, 0, 0))  # a matrix may read several inputs of a token
            sums[layer] = n + len(x), magnitude + x.abs().sum(0), products + x.T @ x
        hooks.append(layer.register_forward_pre_hook(add))
    for some in pieces.split(4):
        model(some, {})
    for hook in hooks:
        hook.remove()
    return {layer: (magnitude / n, products / n) for layer, (n, magnitude, products) in sums.items()}


def squares(w, products):
    """The mean square of w x, over all rows of w, where `products` are the mean products of x's channels."""
    return ((w @ products) * w).sum().item()


@torch.no_grad()
def scale(model, means, bits, powers):
    """Scales every input by the best of these powers. Returns the squared error of the rounded matrices' products before and after, as a fraction of all squares."""
    before, after, total = 0.0, 0.0, 0.0
    for divide, matrices, loras in inputs(model):
        magnitude = sum(means[m][0] for m in matrices) / len(matrices)

        def error(s):
            return sum(squares(rounded(m.weight * s, bits) / s - m.weight, means[m][1]) for m in matrices)

        def scales(power):
            s = magnitude.clamp_min(1e-4 * magnitude.max()).pow(power)
            return s / (s.max() * s.min()).sqrt()

        errors = {power: error(scales(power)) for power in powers}
        best = min(errors, key=errors.get)
        before, after, s = before + error(torch.ones_like(magnitude)), after + errors[best], scales(best)
        divide(s)
        for m in matrices:
            m.weight.mul_(s)
        for w1 in loras:
            w1.mul_(s[:, None])
        total += sum(squares(m.weight / s, means[m][1]) for m in matrices)
    return before / total, after / total


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('model', type=pathlib.Path)
    ap.add_argument('text', type=pathlib.Path, help='whose first nine tenths are read')
    ap.add_argument('output', type=pathlib.Path)
    ap.add_argument('--tokens', type=int, default=65536, help='of the text, evenly spread')
    ap.add_argument('--length', type=int, default=512, help='tokens that are read at once')
    ap.add_argument('--bits', type=int, default=4, choices=(4, 8))
    args = ap.parse_args()

    model = load_model(args.model)
    train, _ = read_bytes(args.text)
    pieces = train[:len(train) // args.length * args.length].view(-1, args.length)
    every = max(1, len(pieces) * args.length // args.tokens)
    means = measure(model, pieces[::every])
    before, after = scale(model, means, args.bits, [i / 20 for i in range(21)])
    print(f'squared error of rounded products: {before:.6f} of their squares before, {after:.6f} after')
    save(args.output, {name: t.float() for name, t in model.state_dict().items()}, load(args.model)[1])


if __name__ == '__main__':
    main()
