#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times in PyTorch on a GPU what bench_gpu times in goldfinch, and prints rows of the same form: products of bf16 with bf16, WKV6 in chunks in
float32 as examples/train has it, and scaled_dot_product_attention in bf16, each beside the least time for its bytes at the rate of a copy and for
its FLOPs at that of a matrix product, measured here as well. Medians of CUDA events; what is read is in turn one of several places, together
larger than an L2."""

import pathlib
import statistics
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "train"))
from layers import wkv  # noqa: E402

WIDTH, HIDDEN, HEAD = 2048, 7168, 64
HEADS = WIDTH // HEAD
COLD_BYTES = 256 << 20  # more than any L2 keeps
ELEMENT = {torch.bfloat16: 2, torch.float32: 4}


def seconds(f):
    """The median time of a call of f(i), the i-th, of several one after another in the stream."""
    warm_up, rounds, calls = 3, 20, 8
    times = []
    for i in range(warm_up + rounds):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for call in range(calls):
            f(i * calls + call)
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e-3 / calls)
    return statistics.median(times[warm_up:])


def copies_of(shape, dtype, low=-1.0, high=1.0):
    """Enough tensors of such a shape that no L2 holds them all."""
    n = COLD_BYTES // (torch.Size(shape).numel() * ELEMENT[dtype]) + 1
    return torch.empty((n, *shape), dtype=dtype, device="cuda").uniform_(low, high).unbind()


def product(rows):
    weights = copies_of((HIDDEN, WIDTH), torch.bfloat16)
    x = torch.empty(rows, WIDTH, dtype=torch.bfloat16, device="cuda").uniform_(-1, 1)
    time = seconds(lambda i: F.linear(x, weights[i % len(weights)]))
    size = 2 * (HIDDEN * WIDTH + rows * (WIDTH + HIDDEN))
    return f"torch: product {WIDTH} to {HIDDEN}, bf16, {rows} rows", time, size, 2 * rows * WIDTH * HIDDEN


def wkv6(tokens):
    shape = (1, HEADS, tokens, HEAD)
    r, k, v = (copies_of(shape, torch.float32) for _ in range(3))
    log_w = copies_of(shape, torch.float32, -0.1, 0)
    state = torch.zeros(1, HEADS, HEAD, HEAD, device="cuda")

    def call(i):
        at = i % len(r)
        wkv(r[at], k[at], v[at], log_w[at], state)

    size = 4 * (5 * tokens * WIDTH + 2 * WIDTH * HEAD)
    return f"torch: WKV6, {tokens} tokens, in chunks", seconds(call), size, 5 * tokens * WIDTH * HEAD


def attention(queries, positions):
    keys, values = (copies_of((1, HEADS, positions, HEAD), torch.bfloat16) for _ in range(2))
    q = torch.empty(1, HEADS, queries, HEAD, dtype=torch.bfloat16, device="cuda").uniform_(-1, 1)
    seen = torch.ones(queries, positions, dtype=torch.bool, device="cuda").tril(positions - queries)
    time = seconds(lambda i: F.scaled_dot_product_attention(q, keys[i % len(keys)], values[i % len(values)], None if queries == 1 else seen))
    size = 2 * (2 * positions * WIDTH + 2 * queries * WIDTH)
    return f"torch: attention, bf16, {queries} queries, {positions} positions", time, size, 4 * queries * positions * WIDTH


def copy_rate():
    size = 1 << 30
    a, b = (torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * size / seconds(lambda i: b.copy_(a))


def gemm_rate():
    n = 8192
    a, b = (torch.empty(n, n, dtype=torch.bfloat16, device="cuda").uniform_(-1, 1) for _ in range(2))
    return 2 * n**3 / seconds(lambda i: a @ b)


@torch.inference_mode()
def main():
    if not torch.cuda.is_available():
        print("skipped: the same work in PyTorch: it finds no GPU")
        return
    copy, gemm = copy_rate(), gemm_rate()
    print(f"torch {torch.__version__}: copy: {copy * 1e-9:.0f} GB/s read and written; bf16 matrix product: {gemm * 1e-12:.0f} TFLOP/s")
    print(f"{'':56} {'time, us':>12} {'least, us':>12} {'share':>6} {'GB/s':>8} {'TFLOP/s':>8}")
    works = [(product, 1), (product, 256), (product, 4096), (wkv6, 1), (wkv6, 256), (wkv6, 4096), (attention, 1, 4096), (attention, 17, 4096)]
    for work, *sizes in works:
        what, time, size, flops = work(*sizes)
        least = max(size / copy, flops / gemm)
        print(f"{what:56} {time * 1e6:12.1f} {least * 1e6:12.1f} {least / time:6.2f} {size / time * 1e-9:8.0f} {flops / time * 1e-12:8.1f}")


if __name__ == "__main__":
    main()
