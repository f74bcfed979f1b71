"""Trains a byte-level GoldFinch on a text and exports it as safetensors.

The shipped examples/models/shakespeare.safetensors was made by the defaults:

    python train.py shakespeare.txt shakespeare.safetensors --seed 1
"""
import argparse
import math
import os
import pathlib
import tempfile
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from goldfinch_torch import Config, FinchC2, GoldFinch, save_model


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
        elif name.endswith(('output.weight', 'ffn.value.weight', 'ffn.receptance.weight')) or leaf.endswith('w2'):
            p.data.zero_()
        elif leaf.endswith('w1'):
            p.data.normal_(0, 0.2 / math.sqrt(D))
        elif p.dim() == 2 and leaf == 'weight':
            torch.nn.init.orthogonal_(p)
    for layer, block in enumerate(model.blocks):
        depth = layer / config.n_layer
        for name, p in block.named_parameters():
            if 'time_maa' in name and p.dim() == 3 and p.shape[0] == 1:
                p.data[0, 0] = (1 - depth) * (1 - ramp) ** (0.5 if name.endswith(('r', 'q')) else 1.0)
        if isinstance(block.att, FinchC2):
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
    """Fraction of the peak: linear up, level, then linear down to zero over the last `decay` of the bytes."""
    return min(1.0, seen / warmup, (1 - seen / total) / decay)


def write_checkpoint(path, state):
    torch.save(state, f'{path}.tmp')
    os.replace(f'{path}.tmp', path)


def export(path, model):
    save_model(f'{path}.tmp', model)
    os.replace(f'{path}.tmp', path)


def average_gradients(params, workers):
    flat = torch.cat([p.grad.flatten() for p in params])
    dist.all_reduce(flat)
    flat /= workers
    for p, g in zip(params, flat.split([p.numel() for p in params])):
        p.grad.copy_(g.view_as(p))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('text', type=pathlib.Path)
    ap.add_argument('output', type=pathlib.Path, help='safetensors file, rewritten at every checkpoint')
    ap.add_argument('--seed', type=int, default=1)
    ap.add_argument('--stages', default='512x4x500,2048x2x167', help='length x sequences x steps, ...')
    ap.add_argument('--lr', type=float, default=2e-3, help='of AdamW: embedding, head, LoRAs and vectors')
    ap.add_argument('--matrix-lr', type=float, default=0.02, help='of Muon: the weight matrices')
    ap.add_argument('--weight-decay', type=float, default=0.1)
    ap.add_argument('--dropout', type=float, default=0.1)
    ap.add_argument('--warmup', type=int, default=100, help='steps')
    ap.add_argument('--decay', type=float, default=0.4, help='fraction of the training over which the rates fall to 0')
    ap.add_argument('--checkpoint', type=pathlib.Path, help='written every 100 steps; resumed from if it exists')
    ap.add_argument('--workers', type=int, default=2, help='processes of one thread each, which share every batch')
    args = ap.parse_args()
    mp.spawn(work, (args, tempfile.mkdtemp()), args.workers)


def work(rank, args, folder):
    # One thread a process: on a busy machine, threads that meet at every operation wait for the slowest each time.
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=args.workers)
    torch.manual_seed(args.seed)
    data = torch.from_numpy(np.fromfile(args.text, np.uint8).astype(np.int64))
    train, held_out = data[:int(0.9 * len(data))], data[int(0.9 * len(data)):]
    monitor = held_out[:8193]

    model = GoldFinch(Config(), args.dropout)
    initialise(model)
    opts = optimisers(model, args)
    peaks = [[g['lr'] for g in o.param_groups] for o in opts]
    stages = [tuple(map(int, s.split('x'))) for s in args.stages.split(',')]
    schedule = [(length, batch) for length, batch, steps in stages for _ in range(steps)]
    total = sum(length * batch for length, batch in schedule)
    warmup = sum(length * batch for length, batch in schedule[:args.warmup])
    step, seen, seconds = 0, 0, 0.0
    if args.checkpoint and args.checkpoint.exists():
        saved = torch.load(args.checkpoint)
        model.load_state_dict(saved['model'])
        for o, s in zip(opts, saved['optimisers']):
            o.load_state_dict(s)
        step, seen, seconds = saved['step'], saved['seen'], saved['seconds']
    params = [p for p in model.parameters() if p.requires_grad]
    if rank == 0:
        print(f'{sum(p.numel() for p in model.parameters())} parameters, {len(schedule)} steps, {total} bytes', flush=True)

    losses = []
    while step < len(schedule):
        start = time.time()
        length, batch = schedule[step]
        rate = learning_rate(seen + length * batch, total, warmup, args.decay)
        for o, lrs in zip(opts, peaks):
            for g, lr in zip(o.param_groups, lrs):
                g['lr'] = lr * rate
        # Every worker draws from a stream of its own that a resumed run can draw again.
        torch.manual_seed(hash((args.seed, step, rank)))
        at = torch.randint(len(train) - length, (batch // args.workers, 1)) + torch.arange(length + 1)
        x = train[at]
        loss = F.cross_entropy(model(x[:, :-1], {}).flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        average_gradients(params, args.workers)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        for o in opts:
            o.step()
            o.zero_grad()
        step, seen, seconds = step + 1, seen + length * batch, seconds + time.time() - start
        losses.append(loss.item())
        if rank > 0:
            continue
        if step % 20 == 0:
            print(f'step {step} seen {seen} loss {sum(losses) / len(losses):.4f} seconds {seconds:.0f}', flush=True)
            losses.clear()
        if step % 100 == 0 or step == len(schedule):
            model.eval()
            with torch.no_grad():
                nats = F.cross_entropy(model(monitor[None, :-1], {})[0], monitor[1:])
            model.train()
            print(f'step {step} held out, first 8 KiB: {nats:.4f}', flush=True)
            export(args.output, model)
            if args.checkpoint:
                write_checkpoint(args.checkpoint, dict(
                    model=model.state_dict(), optimisers=[o.state_dict() for o in opts], step=step, seen=seen, seconds=seconds))


if __name__ == '__main__':
    main()
