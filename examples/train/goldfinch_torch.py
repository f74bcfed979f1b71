"""GoldFinch (arXiv 2407.12077) in PyTorch, and its safetensors files.

Parameters carry the names and shapes of the official checkpoints. Activations are [B, T, D].
`past` is a plain dict: empty at the start of a sequence, it holds whatever the next chunk of the same sequence needs.
"""
import dataclasses
import json
import struct

import torch
import torch.nn.functional as F
from torch import nn

MIX_RANK = 32    # of every token-shift LoRA
LORA_RANK = 64   # of the decay, second-value, key and value LoRAs
CHUNK = 16       # tokens a WKV chunk
# Within a chunk, decays are taken relative to its middle, and 8 tokens of the fastest must fit the type. What is lost
# is at most e^-10 of the previous token in float32, and nothing in float64.
MIN_LOG_DECAY = {torch.float32: -10.0, torch.float64: -80.0}


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int = 256
    n_layer: int = 6
    n_gold: int = 2
    n_embd: int = 128
    head_size: int = 32
    dim_ffn: int = 448
    kv_cache_compression_ratio: int = 16

    @property
    def n_finch(self):
        return self.n_layer - self.n_gold

    def metadata(self):
        """The `__metadata__` of a safetensors file."""
        stack = f'{self.n_finch} * (finch_c2, channel_mix), token_cat, {self.n_gold} * (gold, channel_mix)'
        fixed = dict(dim_att=self.n_embd, rope_base=0, rope_rescale=1, head_size_divisor=8, use_one_minus_w='true',
                     use_v2='true', stack=stack)
        return {k: str(v) for k, v in (dataclasses.asdict(self) | fixed).items()}

    @classmethod
    def from_metadata(cls, metadata):
        config = cls(**{f.name: int(metadata[f.name]) for f in dataclasses.fields(cls)})
        different = {k: metadata.get(k) for k, v in config.metadata().items() if metadata.get(k) != v}
        if different:
            raise ValueError(f'not a plain GoldFinch: {different}')
        return config


def shift(x, past, name):
    """x_{t-1} - x_t, with zeros before the first token of the sequence."""
    before = past.get(name)
    if before is None:
        before = torch.zeros_like(x[:, :1])
    past[name] = x[:, -1:]
    return torch.cat([before, x[:, :-1]], 1) - x


def rms(x):
    return x / (x.pow(2).mean(-1, keepdim=True).sqrt() + 1e-8)


def lora(x, w1, w2):
    return torch.tanh(x @ w1) @ w2


def mixes(x, w1, w2):
    """The LoRAs of several token shifts at once: column run i of w1 feeds w2[i]. Returns [n, B, T, D]."""
    n, rank, _ = w2.shape
    t = torch.tanh(x @ w1).unflatten(-1, (n, rank)).movedim(-2, 0)
    return (t.flatten(1, 2) @ w2).unflatten(1, x.shape[:2])


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


def vector(channels):
    return nn.Parameter(torch.zeros(1, 1, channels))


def matrix(*shape):
    return nn.Parameter(torch.zeros(*shape))


class FinchC2(nn.Module):
    def __init__(self, c):
        super().__init__()
        D, self.head_size = c.n_embd, c.head_size
        self.time_maa_x = vector(D)
        self.time_maa_r, self.time_maa_k, self.time_maa_v, self.time_maa_w, self.time_maa_v2 = (vector(D) for _ in range(5))
        self.time_maa_w1, self.time_maa_w2 = matrix(D, 5 * MIX_RANK), matrix(5, MIX_RANK, D)
        self.time_decay = vector(D)
        self.time_decay_w1, self.time_decay_w2 = matrix(D, LORA_RANK), matrix(LORA_RANK, D)
        self.time_value2_w1, self.time_value2_w2 = matrix(D, LORA_RANK), matrix(LORA_RANK, D)
        # In every checkpoint, though the second value takes its place.
        self.time_faaaa = nn.Parameter(torch.zeros(D // c.head_size, c.head_size), requires_grad=False)
        self.receptance, self.key, self.value, self.output = (nn.Linear(D, D, bias=False) for _ in range(4))
        self.ln_x = nn.LayerNorm(D)

    def project(self, x, d):
        m = mixes(x + d * self.time_maa_x, self.time_maa_w1, self.time_maa_w2)
        maa = torch.stack([self.time_maa_r, self.time_maa_k, self.time_maa_v, self.time_maa_w, self.time_maa_v2])
        x_r, x_k, x_v, x_w, x_v2 = torch.addcmul(x, d, maa + m).unbind(0)
        log_w = -torch.exp(self.time_decay + lora(x_w, self.time_decay_w1, self.time_decay_w2))
        k = self.key(x_k) * -torch.expm1(log_w)
        v2 = self.value(x_v2) + lora(x_v2, self.time_value2_w1, self.time_value2_w2)
        return self.receptance(x_r), k, self.value(x_v), log_w, v2

    def forward(self, x, past, name):
        r, k, v, log_w, v2 = self.project(x, shift(x, past, name))
        heads = lambda t: t.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
        state = past.get(name + 'wkv')
        if state is None:
            state = x.new_zeros(len(x), *self.time_faaaa.shape, self.head_size)
        y, past[name + 'wkv'] = wkv(heads(r), heads(k), heads(v), heads(log_w), state)
        return self.output(self.ln_x(y.transpose(1, 2).flatten(2) + v2))


class Gold(nn.Module):
    def __init__(self, c):
        super().__init__()
        D, self.head_size, rank = c.n_embd, c.head_size, max(c.n_embd // 16, LORA_RANK)
        self.time_maa_x, self.time_maa_q, self.time_maa_v_cache, self.time_maa_k, self.time_maa_v = (vector(D) for _ in range(5))
        self.time_maa_q_w1, self.time_maa_q_w2 = matrix(D, MIX_RANK), matrix(MIX_RANK, D)
        self.time_maa_kv_w1, self.time_maa_kv_w2 = matrix(D, 2 * MIX_RANK), matrix(2, MIX_RANK, D)
        self.time_key_w1, self.time_key_w2 = matrix(D, rank), matrix(rank, D)
        self.time_value_w1, self.time_value_w2 = matrix(D, rank), matrix(rank, D)
        self.query, self.output = (nn.Linear(D, D, bias=False) for _ in range(2))
        self.ln_q, self.ln_k, self.ln_v, self.ln_x = (nn.LayerNorm(D) for _ in range(4))

    def project(self, x, o, k, d, do, dk):
        mq = lora(x + d * self.time_maa_x, self.time_maa_q_w1, self.time_maa_q_w2)
        mk, mv = mixes(o + do * self.time_maa_v_cache, self.time_maa_kv_w1, self.time_maa_kv_w2).unbind(0)
        kk = k + dk * (self.time_maa_k + mk)
        vv = o + do * (self.time_maa_v + mv)
        return (self.ln_q(self.query(x + d * (self.time_maa_q + mq))),
                self.ln_k(kk + lora(kk, self.time_key_w1, self.time_key_w2)),
                self.ln_v(vv + lora(vv, self.time_value_w1, self.time_value_w2)))

    def forward(self, x, o, k, do, dk, past, name):
        heads = lambda t: t.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
        q, key, value = map(heads, self.project(x, o, k, shift(x, past, name), do, dk))
        mask = None
        if name + 'keys' in past:
            key, value = torch.cat([past[name + 'keys'], key], 2), torch.cat([past[name + 'values'], value], 2)
            T, n = q.shape[2], key.shape[2]
            mask = torch.ones(T, n, dtype=torch.bool).tril(n - T)
        past[name + 'keys'], past[name + 'values'] = key, value
        y = F.scaled_dot_product_attention(q, key, value, mask, is_causal=mask is None)
        return self.output(self.ln_x(y.transpose(1, 2).flatten(2)))


class ChannelMix(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.time_maa_k, self.time_maa_r = vector(c.n_embd), vector(c.n_embd)
        self.key = nn.Linear(c.n_embd, c.dim_ffn, bias=False)
        self.receptance = nn.Linear(c.n_embd, c.n_embd, bias=False)
        self.value = nn.Linear(c.dim_ffn, c.n_embd, bias=False)

    def forward(self, x, past, name):
        d = shift(x, past, name)
        gate = torch.sigmoid(self.receptance(x + d * self.time_maa_r))
        return gate * self.value(F.relu(self.key(x + d * self.time_maa_k)).square())


class Block(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(c.n_embd)
        self.ln1, self.ln2 = nn.LayerNorm(c.n_embd), nn.LayerNorm(c.n_embd)
        self.att = (FinchC2 if layer < c.n_finch else Gold)(c)
        self.ffn = ChannelMix(c)


class GoldFinch(nn.Module):
    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config, self.dropout = config, dropout
        D, Z = config.n_embd, config.n_embd // config.kv_cache_compression_ratio
        self.emb = nn.Embedding(config.vocab_size, D)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.w_kv_cache_a = nn.Linear(D, Z, bias=False)
        self.w_kv_cache_b = nn.Linear(D + Z, D, bias=False)
        self.ln_out = nn.LayerNorm(D)
        self.head = nn.Linear(D, config.vocab_size, bias=False)

    def forward(self, tokens, past):
        """Logits [B, T, V] of the tokens [B, T] that follow `past`."""
        # One mask for all tokens of a sequence: a recurrent model's noise should not average out over time.
        drop = lambda t: t * F.dropout(torch.ones_like(t[:, :1]), self.dropout, self.training) if self.training else t
        e = self.blocks[0].ln0(self.emb(tokens))
        x = drop(e)
        shared = ()
        for layer, block in enumerate(self.blocks):
            if layer == self.config.n_finch:
                k = rms(self.w_kv_cache_b(torch.cat([e, self.w_kv_cache_a(x)], -1)))
                o = rms(e)
                shared = o, k, shift(o, past, 'o'), shift(k, past, 'k')
            x = x + drop(block.att(block.ln1(x), *shared, past, f'{layer}.att.'))
            x = x + drop(block.ffn(block.ln2(x), past, f'{layer}.ffn.'))
        return self.head(self.ln_out(x))


def save(path, tensors, metadata=None):
    """Writes name -> tensor as safetensors: in order, without holes, the data 64-byte aligned."""
    codes = {torch.bfloat16: 'BF16', torch.float32: 'F32', torch.int64: 'I64'}
    header, data = {'__metadata__': metadata} if metadata else {}, b''
    for name, t in tensors.items():
        raw = t.detach().contiguous().view(torch.uint8).numpy().tobytes()
        header[name] = dict(dtype=codes[t.dtype], shape=list(t.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    text += b' ' * (-(8 + len(text)) % 64)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + data)


def load(path):
    """Returns (name -> tensor, metadata) of a safetensors file."""
    dtypes = {'BF16': torch.bfloat16, 'F16': torch.float16, 'F32': torch.float32, 'F64': torch.float64, 'I32': torch.int32, 'I64': torch.int64}
    with open(path, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        data = bytearray(f.read())
    metadata = header.pop('__metadata__', {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry['data_offsets']
        raw = torch.frombuffer(data, dtype=torch.uint8, count=end - begin, offset=begin)
        tensors[name] = raw.clone().view(dtypes[entry['dtype']]).view(entry['shape'])
    for name in [n.removesuffix('_packed') for n in tensors if n.endswith('_packed')]:
        tensors[name] = unpack(*(tensors.pop(name + part) for part in ('_packed', '_scale', '_shape')))
    return tensors, metadata


def unpack(words, scale, shape):
    """Quantised weights as float32: integers in 32-bit words, the first in the lowest bits, with a scale for each block of a row."""
    rows, columns = shape.tolist()
    bits = 8 if words.shape[1] == -(-columns // 4) else 4
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    integers = (words[:, :, None] >> shifts & (1 << bits) - 1).view(rows, -1)[:, :columns] - (1 << bits - 1)
    block = 64 if scale.shape[1] == -(-columns // 64) else columns // scale.shape[1]
    return integers * scale.float().repeat_interleave(block, dim=1)[:, :columns]


def load_model(path):
    """A model in float32 from an exported file."""
    tensors, metadata = load(path)
    model = GoldFinch(Config.from_metadata(metadata)).eval()
    model.load_state_dict({name: t.float() for name, t in tensors.items()})
    return model


def save_model(path, model):
    """The model's weights rounded to bf16."""
    save(path, {name: t.bfloat16() for name, t in model.state_dict().items()}, model.config.metadata())
