# SPDX-License-Identifier: Apache-2.0
"""The layers of GoldFinch (arXiv 2407.12077) and of the models the paper stands beside, in PyTorch.

Parameters carry the names and shapes of the official checkpoints. Activations are [B, T, D].
A layer is made from a Config and called as layer(x, past, name, shared). `past` is a plain dict: empty at the start of a sequence, it
holds under `name` what the next chunk of the same sequence needs. `shared` is what GOLD blocks share (see goldfinch_torch.py).
"""
import torch
import torch.nn.functional as F
from torch import nn

MIX_RANK = 32    # of every token-shift LoRA
LORA_RANK = 64   # of the decay, second-value, key and value LoRAs
CHUNK = 16       # tokens a WKV chunk
# Within a chunk, decays are taken relative to its middle, and 8 tokens of the fastest must fit the type. What is lost
# is at most e^-10 of the previous token in float32, and nothing in float64.
MIN_LOG_DECAY = {torch.float32: -10.0, torch.float64: -80.0}


def shift(x, past, name):
    """x_{t-1} - x_t, with zeros before the first token of the sequence."""
    before = past.get(name)
    if before is None:
        before = torch.zeros_like(x[:, :1])
    past[name] = x[:, -1:]
    return torch.cat([before, x[:, :-1]], 1) - x


def rms(x):
    """x over its root mean square."""
    return x / (x.pow(2).mean(-1, keepdim=True).sqrt() + 1e-8)


def lora(x, w1, w2):
    """A product of low rank, with tanh between its factors."""
    return torch.tanh(x @ w1) @ w2


def mixes(x, w1, w2):
    """The LoRAs of several token shifts at once: column run i of w1 feeds w2[i]. Returns [n, B, T, D]."""
    n, rank, _ = w2.shape
    t = torch.tanh(x @ w1).unflatten(-1, (n, rank)).movedim(-2, 0)
    return (t.flatten(1, 2) @ w2).unflatten(1, x.shape[:2])


def heads(x, head_size):
    """[B, T, D] as [B, H, T, N]."""
    return x.unflatten(-1, (-1, head_size)).transpose(1, 2)


def chunk_states(decay, update, state):
    """S_{g+1} = diag(decay_g) S_g + update_g over chunks g, from `state`. Returns every S_g, and the last."""
    states = []
    for d, u in zip(decay.unsqueeze(-1).unbind(2), update.unbind(2)):
        states.append(state)
        state = torch.addcmul(u, d, state)
    return torch.stack(states, 2), state


def wkv(r, k, v, log_w, state):
    """y_t = r_t S_t;  S_{t+1} = diag(w_t) S_t + k_t^T v_t.  r, k, v, log_w: [B, H, T, N];  state: [B, H, N key, N value].

    Within a chunk in matrix form, from chunk to chunk as a recurrence. A product of decays is always the exponential of
    a difference of their summed logarithms; only the one inside a chunk is split in two factors, around its middle.
    """
    T = r.shape[2]
    pad = -T % CHUNK
    # Padding neither decays the state (log_w = 0) nor enters it (k = 0).
    r, k, v, log_w = (F.pad(t, (0, 0, 0, pad)).unflatten(2, (-1, CHUNK)) for t in (r, k, v, log_w))
    through = log_w.clamp_min(MIN_LOG_DECAY[log_w.dtype]).cumsum(-2)
    before = torch.cat([torch.zeros_like(through[..., :1, :]), through[..., :-1, :]], -2)
    middle = through[..., CHUNK // 2 - 1:CHUNK // 2, :].detach()
    total = through[..., -1:, :]
    scores = (r * (before - middle).exp()) @ (k * (middle - through).exp()).mT
    update = (k * (total - through).exp()).mT @ v
    states, state = chunk_states(total.squeeze(-2).exp(), update, state)
    y = scores.tril(-1) @ v + (r * before.exp()) @ states
    return y.flatten(2, 3)[:, :, :T], state


def rope(x, first, base, rescale):
    """Turns the channel pairs (2i, 2i+1) of x [..., T, N] by position * base^(-2i/N) / rescale; its first token stands at position `first`."""
    T, N = x.shape[-2:]
    turns = base ** (-torch.arange(0, N, 2, dtype=torch.float64) / N) / rescale
    angles = torch.outer(torch.arange(first, first + T, dtype=torch.float64), turns)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def attend(q, k, v, past, name, head_size, rope_base, rope_rescale):
    """Causal softmax attention of queries [B, T, D] to these and all earlier keys and values, turned where there is a rope_base."""
    q, k, v = (heads(t, head_size) for t in (q, k, v))
    keys, values = past.get(name + 'keys'), past.get(name + 'values')
    if rope_base:
        first = 0 if keys is None else keys.shape[2]
        q, k = (rope(t, first, rope_base, rope_rescale) for t in (q, k))
    mask = None
    if keys is not None:
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        T, n = q.shape[2], k.shape[2]
        mask = torch.ones(T, n, dtype=torch.bool).tril(n - T)
    past[name + 'keys'], past[name + 'values'] = k, v
    y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)
    return y.transpose(1, 2).flatten(2)


def vector(channels):
    """A parameter of one value a channel, in the checkpoints' shape."""
    return nn.Parameter(torch.zeros(1, 1, channels))


def matrix(*shape):
    """A parameter of LoRAs."""
    return nn.Parameter(torch.zeros(*shape))


def linear(n_in, n_out):
    """A weight matrix, [out, in], with no bias."""
    return nn.Linear(n_in, n_out, bias=False)


class DynamicShift(nn.Module):
    """A time mix with data-dependent token shift, x + d * (time_maa_i + LoRA_i), for each i of `inputs`, in the order of the LoRA's column runs."""

    def __init__(self, c, inputs):
        super().__init__()
        D = c.n_embd
        self.config, self.inputs = c, inputs
        self.time_maa_x = vector(D)
        for i in inputs:
            self.register_parameter('time_maa_' + i, vector(D))
        self.time_maa_w1, self.time_maa_w2 = matrix(D, len(inputs) * MIX_RANK), matrix(len(inputs), MIX_RANK, D)

    def shifted(self, x, past, name):
        """x as each of the inputs."""
        d = shift(x, past, name)
        m = mixes(x + d * self.time_maa_x, self.time_maa_w1, self.time_maa_w2)
        maa = torch.stack([self.get_parameter('time_maa_' + i) for i in self.inputs])
        return torch.addcmul(x, d, maa + m).unbind(0)


class RecurrentMix:
    """A time mix with a matrix of state a head, which decays."""

    def make_bonus(self, used):
        """The weight of the current token; it is in every checkpoint, used or not."""
        c = self.config
        self.time_faaaa = nn.Parameter(torch.zeros(c.n_embd // c.head_size, c.head_size), requires_grad=used)
        self.use_bonus = used

    def recur(self, r, k, v, log_w, past, name):
        """y_t = r_t (S_t + diag(u) k_t^T v_t), where u, the bonus, may be unused."""
        r, k, v, log_w = (heads(t, self.config.head_size) for t in (r, k, v, log_w))
        state = past.get(name + 'wkv')
        if state is None:
            state = r.new_zeros(len(r), *self.time_faaaa.shape, self.config.head_size)
        y, past[name + 'wkv'] = wkv(r, k, v, log_w, state)
        if self.use_bonus:
            y = y + (r * self.time_faaaa[:, None] * k).sum(-1, keepdim=True) * v
        return y.transpose(1, 2).flatten(2)


class Eagle(nn.Module, RecurrentMix):
    """RWKV-5: Finch with mixing vectors and decays that do not depend on the data."""

    def __init__(self, c):
        super().__init__()
        D, self.config = c.n_embd, c
        self.time_maa_k, self.time_maa_v, self.time_maa_r, self.time_maa_g, self.time_decay = (vector(D) for _ in range(5))
        self.make_bonus(used=True)
        self.receptance, self.key, self.value, self.gate, self.output = (linear(D, D) for _ in range(5))
        self.ln_x = nn.GroupNorm(D // c.head_size, D, eps=1e-5 * c.head_size_divisor ** 2)

    def forward(self, x, past, name, shared=None):
        d = shift(x, past, name)
        k, v, r = self.key(x + d * self.time_maa_k), self.value(x + d * self.time_maa_v), self.receptance(x + d * self.time_maa_r)
        y = self.recur(r, k, v, -torch.exp(self.time_decay).expand_as(k), past, name)
        y = self.ln_x(y.flatten(0, 1)).view_as(y)
        return self.output(y * F.silu(self.gate(x + d * self.time_maa_g)))


class DynamicRecurrentMix(DynamicShift, RecurrentMix):
    """What Finch and Finch-C2 share: token shift and decays that depend on the data."""

    def __init__(self, c, inputs):
        super().__init__(c, inputs)
        D = c.n_embd
        self.time_decay = vector(D)
        self.time_decay_w1, self.time_decay_w2 = matrix(D, LORA_RANK), matrix(LORA_RANK, D)

    def log_decay(self, x):
        return -torch.exp(self.time_decay + lora(x, self.time_decay_w1, self.time_decay_w2))


class Finch(DynamicRecurrentMix):
    """RWKV-6: a bonus for the current token, a norm a head, a gate."""

    def __init__(self, c):
        super().__init__(c, ('w', 'k', 'v', 'r', 'g'))
        D = c.n_embd
        self.make_bonus(used=True)
        self.receptance, self.key, self.value, self.gate, self.output = (linear(D, D) for _ in range(5))
        self.ln_x = nn.GroupNorm(D // c.head_size, D, eps=1e-5 * c.head_size_divisor ** 2)

    def forward(self, x, past, name, shared=None):
        x_w, x_k, x_v, x_r, x_g = self.shifted(x, past, name)
        y = self.recur(self.receptance(x_r), self.key(x_k), self.value(x_v), self.log_decay(x_w), past, name)
        y = self.ln_x(y.flatten(0, 1)).view_as(y)
        return self.output(y * F.silu(self.gate(x_g)))


class FinchC2(DynamicRecurrentMix):
    """The paper's recurrent block: a second value in place of the bonus and the gate, keys scaled by one minus the decay."""

    def __init__(self, c):
        super().__init__(c, ('r', 'k', 'v', 'w', 'v2'))
        D = c.n_embd
        self.time_value2_w1, self.time_value2_w2 = matrix(D, LORA_RANK), matrix(LORA_RANK, D)
        for p in (self.time_value2_w1, self.time_value2_w2):
            p.requires_grad_(c.use_v2)
        self.make_bonus(used=not c.use_v2)
        self.receptance, self.key, self.value, self.output = (linear(D, D) for _ in range(4))
        self.ln_x = nn.LayerNorm(D)

    def forward(self, x, past, name, shared=None):
        x_r, x_k, x_v, x_w, x_v2 = self.shifted(x, past, name)
        log_w = self.log_decay(x_w)
        k = self.key(x_k)
        if self.config.use_one_minus_w:
            k = k * -torch.expm1(log_w)
        y = self.recur(self.receptance(x_r), k, self.value(x_v), log_w, past, name)
        if self.config.use_v2:
            y = y + (self.value(x_v2) + lora(x_v2, self.time_value2_w1, self.time_value2_w2))
        return self.output(self.ln_x(y))


class GPTAlpha(DynamicShift):
    """Softmax attention with data-dependent token shift, and a norm on queries, keys and values."""

    def __init__(self, c):
        super().__init__(c, ('r', 'k', 'v'))
        D = c.n_embd
        self.query, self.key, self.value, self.output = (linear(D, D) for _ in range(4))
        self.ln_r, self.ln_k, self.ln_v, self.ln_x = (nn.LayerNorm(D) for _ in range(4))

    def forward(self, x, past, name, shared=None):
        c = self.config
        x_r, x_k, x_v = self.shifted(x, past, name)
        q, k, v = self.ln_r(self.query(x_r)), self.ln_k(self.key(x_k)), self.ln_v(self.value(x_v))
        return self.output(self.ln_x(attend(q, k, v, past, name, c.head_size, c.rope_base, c.rope_rescale)))


class Gold(nn.Module):
    """The paper's attention: keys and values are made of what all GOLD blocks share."""

    def __init__(self, c):
        super().__init__()
        D, self.config, rank = c.n_embd, c, max(c.n_embd // 16, LORA_RANK)
        self.time_maa_x, self.time_maa_q, self.time_maa_v_cache, self.time_maa_k, self.time_maa_v = (vector(D) for _ in range(5))
        self.time_maa_q_w1, self.time_maa_q_w2 = matrix(D, MIX_RANK), matrix(MIX_RANK, D)
        self.time_maa_kv_w1, self.time_maa_kv_w2 = matrix(D, 2 * MIX_RANK), matrix(2, MIX_RANK, D)
        self.time_key_w1, self.time_key_w2 = matrix(D, rank), matrix(rank, D)
        self.time_value_w1, self.time_value_w2 = matrix(D, rank), matrix(rank, D)
        self.query, self.output = (linear(D, D) for _ in range(2))
        self.ln_q, self.ln_k, self.ln_v, self.ln_x = (nn.LayerNorm(D) for _ in range(4))

    def project(self, x, d, o, k, do, dk):
        """Queries, keys and values."""
        mq = lora(x + d * self.time_maa_x, self.time_maa_q_w1, self.time_maa_q_w2)
        mk, mv = mixes(o + do * self.time_maa_v_cache, self.time_maa_kv_w1, self.time_maa_kv_w2).unbind(0)
        kk = k + dk * (self.time_maa_k + mk)
        vv = o + do * (self.time_maa_v + mv)
        return (self.ln_q(self.query(x + d * (self.time_maa_q + mq))),
                self.ln_k(kk + lora(kk, self.time_key_w1, self.time_key_w2)),
                self.ln_v(vv + lora(vv, self.time_value_w1, self.time_value_w2)))

    def forward(self, x, past, name, shared):
        c = self.config
        q, k, v = self.project(x, shift(x, past, name), *shared)
        return self.output(self.ln_x(attend(q, k, v, past, name, c.head_size, c.rope_base, c.rope_rescale)))


class LlamaAttention(nn.Module):
    """Softmax attention with a rotary embedding, always, and nothing else."""

    def __init__(self, c):
        super().__init__()
        self.config = c
        self.wq, self.wk, self.wv, self.wo = (linear(c.n_embd, c.n_embd) for _ in range(4))

    def forward(self, x, past, name, shared=None):
        c = self.config
        return self.wo(attend(self.wq(x), self.wk(x), self.wv(x), past, name, c.head_size, c.rope_base or 10000, c.rope_rescale))


class ChannelMix(nn.Module):
    """The channel mix of RWKV: a squared ReLU, gated."""

    def __init__(self, c):
        super().__init__()
        self.time_maa_k, self.time_maa_r = vector(c.n_embd), vector(c.n_embd)
        self.key = linear(c.n_embd, c.dim_ffn)
        self.receptance = linear(c.n_embd, c.n_embd)
        self.value = linear(c.dim_ffn, c.n_embd)

    def forward(self, x, past, name, shared=None):
        d = shift(x, past, name)
        gate = torch.sigmoid(self.receptance(x + d * self.time_maa_r))
        return gate * self.value(F.relu(self.key(x + d * self.time_maa_k)).square())


class LlamaMLP(nn.Module):
    """The channel mix of Llama, with a width formula of its own."""

    def __init__(self, c):
        super().__init__()
        dim_ffn = c.n_embd * 4 * 2 // 3 // 32 * 32
        self.w1, self.w3 = linear(c.n_embd, dim_ffn), linear(c.n_embd, dim_ffn)
        self.w2 = linear(dim_ffn, c.n_embd)

    def forward(self, x, past, name, shared=None):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))
