# SPDX-License-Identifier: Apache-2.0
"""Trains a byte-level model on a text and exports it as safetensors.

The shipped examples/models/shakespeare.safetensors was made by the defaults:

    python train.py shakespeare.txt shakespeare.safetensors --seed 1
"""
import argparse
import os
import pathlib
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from training import export, learning_rate, make_model, model_arguments, optimiser_arguments, optimisers, read_bytes, update


def write_checkpoint(path, state):
    torch.save(state, f'{path}.tmp')
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
    ap.add_argument('--stages', default='512x8x1300,1024x4x200', help='length x sequences x steps, ...')
    ap.add_argument('--dropout', type=float, default=0.1)
    ap.add_argument('--checkpoint', type=pathlib.Path, help='written every 100 steps; resumed from if it exists')
    ap.add_argument('--workers', type=int, default=1, help='processes of one thread each, which share every batch')
    optimiser_arguments(ap, warmup=100)
    model_arguments(ap, layers=6, width=128, head_size=32)
    args = ap.parse_args()
    mp.spawn(work, (args, tempfile.mkdtemp()), args.workers)


def work(rank, args, folder):
    # One thread a process: on a busy machine, threads that meet at every operation wait for the slowest each time.
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=args.workers)
    torch.manual_seed(args.seed)
    train, held_out = read_bytes(args.text)
    monitor = held_out[:8193]

    model = make_model(args, 256, args.dropout)
    opts = optimisers(model, args)
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
        # Every worker draws from a stream of its own that a resumed run can draw again.
        torch.manual_seed(hash((args.seed, step, rank)))
        at = torch.randint(len(train) - length, (batch // args.workers, 1)) + torch.arange(length + 1)
        x = train[at]
        loss = F.cross_entropy(model(x[:, :-1], {}).flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        average_gradients(params, args.workers)
        update(opts, params, learning_rate(seen + length * batch, total, warmup, args.decay))
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
