# SPDX-License-Identifier: Apache-2.0
"""What the trainers share: which model, where it starts, its optimisers and their rates, texts, its export."""
import math
import os

import numpy as np
import torch

from goldfinch_torch import ARCHITECTURES, Config, Model, save_model
from layers import RecurrentMix


def size_arguments(parser, **defaults):
    """Options that size a model, with these defaults."""
    group = parser.add_argument_group('the model')
    group.add_argument('--layers', type=int, help='blocks in all')
    group.add_argument('--gold', type=int, default=0, help='blocks of attention on top, where others are below; 0: a third')
    group.add_argument('--width', type=int)
    group.add_argument('--head-size', type=int)
    group.add_argument('--compression', type=int, default=16, help='the compressed key of a token has width / compression values')
    group.add_argument('--rope', type=int, default=0, help='base of the rotary embedding; 0: none. A Llama has one of base 10000 anyway')
    group.add_argument('--no-v2', action='store_true', help='Finch-C2 without its second value')
    group.add_argument('--no-one-minus-w', action='store_true', help='Finch-C2 without 1 - w on its keys')
    parser.set_defaults(**defaults)
    return group


def model_arguments(parser, **defaults):
    """Options that choose a model, with these defaults."""
    size_arguments(parser, **defaults).add_argument('--architecture', choices=ARCHITECTURES, default='goldfinch')


def optimiser_arguments(parser, **defaults):
    """Options of the optimisers and their rates, with these defaults."""
    group = parser.add_argument_group('the optimisers')
    group.add_argument('--lr', type=float, default=2e-3, help='of AdamW: embedding, head, LoRAs and vectors')
    group.add_argument('--matrix-lr', type=float, default=0.02, help='of Muon: the weight matrices')
    group.add_argument('--weight-decay', type=float, default=0.1)
    group.add_argument('--warmup', type=int, help='steps')
    group.add_argument('--decay', type=float, default=0.4, help='fraction of the training over which the rates fall to 0')
    parser.set_defaults(**defaults)


def make_model(args, vocab_size, dropout=0.0):
    """The model that the options choose, at its starting point."""
    rope = args.rope or (10000 if args.architecture == 'llama' else 0)
    config = Config(vocab_size=vocab_size, n_layer=args.layers, n_gold=args.gold, n_embd=args.width, head_size=args.head_size,
                    kv_cache_compression_ratio=args.compression, rope_base=rope, use_v2=not args.no_v2, use_one_minus_w=not args.no_one_minus_w)
    model = Model(config, config.stack(args.architecture), dropout)
    initialise(model)
    return model


def initialise(model):
    """RWKV's starting point: every block adds nothing yet, channels differ in how far they look back."""
    config = model.config
    D = config.n_embd
    ramp = torch.arange(D) / (D - 1)
    for name, p in model.named_parameters():
        leaf = name.split('.')[-1]
        if name == 'emb.weight':
            p.data.normal_(0, 0.05)
        elif name == 'head.weight':
            p.data.normal_(0, 0.5 / math.sqrt(D))
        elif name.endswith(('output.weight', 'wo.weight', 'w2.weight', 'ffn.value.weight', 'ffn.receptance.weight')) or leaf.endswith('w2'):
            p.data.zero_()
        elif leaf.endswith('w1'):
            p.data.normal_(0, 0.2 / math.sqrt(D))
        elif p.dim() == 2 and leaf == 'weight':
            torch.nn.init.orthogonal_(p)
    for layer, block in enumerate(model.blocks):
        depth = layer / config.n_layer
        for name, p in block.named_parameters():
            if 'time_maa' in name and p.dim() == 3 and p.shape[0] == 1:
                p.data[0, 0] = (1 - depth) * (1 - ramp) ** (0.5 if name.endswith(('r', 'q', 'g')) else 1.0)
        if isinstance(block.att, RecurrentMix):
            if block.att.use_bonus:
                block.att.time_faaaa.data.fill_(0.5)
            # From a half-life of 280 tokens in the first channel to decays of 1/e a token in the last.
            block.att.time_decay.data[0, 0] = -6 + 6 * ramp ** (0.7 + 0.8 * depth)


def orthogonalise(g, steps=5):
    """Brings the singular values of a batch of matrices near 1 by a Newton-Schulz iteration."""
    wide = g.shape[-2] <= g.shape[-1]
    x = g if wide else g.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised, for the matrices; those of one shape go in one batch."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group['params']:
                shapes.setdefault(p.shape, []).append(p)
            for shape, params in shapes.items():
                grads = []
                for p in params:
                    m = self.state[p].setdefault('momentum', torch.zeros_like(p))
                    m.lerp_(p.grad, 1 - group['momentum'])
                    grads.append(torch.lerp(p.grad, m, group['momentum']))
                updates = orthogonalise(torch.stack(grads))
                for p, update in zip(params, updates):
                    p.mul_(1 - group['lr'] * group['weight_decay'])
                    p.sub_(update, alpha=group['lr'] * max(1, shape[0] / shape[1]) ** 0.5)


def optimisers(model, args):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = {n for n, p in named if n.endswith('.weight') and p.dim() == 2 and n not in ('emb.weight', 'head.weight')}
    rest = [(n, p) for n, p in named if n not in matrices]
    decayed = [p for n, p in rest if n.endswith(('w1', 'w2', 'emb.weight', 'head.weight'))]
    plain = [p for n, p in rest if not n.endswith(('w1', 'w2', 'emb.weight', 'head.weight'))]
    adam = torch.optim.AdamW([dict(params=decayed, weight_decay=args.weight_decay), dict(params=plain, weight_decay=0.0)],
                             lr=args.lr, betas=(0.9, 0.99), fused=True)
    muon = Muon([p for n, p in named if n in matrices], args.matrix_lr, weight_decay=args.weight_decay)
    return adam, muon


def learning_rate(seen, total, warmup, decay):
    """Fraction of the peak: linear up, level, then linear down to zero over the last `decay` of the training."""
    return min(1.0, seen / warmup, (1 - seen / total) / decay)


def update(opts, params, rate):
    """Takes a step down the gradients, clipped, at this fraction of the peak rates."""
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    for o in opts:
        for g in o.param_groups:
            g['lr'] = rate * g.setdefault('initial_lr', g['lr'])
        o.step()
        o.zero_grad()


def read_bytes(path):
    """The bytes of a text as tokens: its first nine tenths, to train on, and the rest, held out."""
    text = torch.from_numpy(np.fromfile(path, np.uint8).astype(np.int64))
    return text.tensor_split([int(0.9 * len(text))])


def export(path, model, metadata={}):
    """Writes a model so that whoever reads the file meanwhile has a whole one."""
    save_model(f'{path}.tmp', model, metadata)
    os.replace(f'{path}.tmp', path)
