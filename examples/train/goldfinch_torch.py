# SPDX-License-Identifier: Apache-2.0
"""GoldFinch (arXiv 2407.12077) and every other stack of the library's layers in PyTorch, and their safetensors files.

A model is a Config and a stack: the C++ library's own description of what the model is made of, from the bottom up, which a file
carries in its metadata, such as '4 * (finch_c2, channel_mix), token_cat, 2 * (gold, channel_mix)'.
Activations are [B, T, D]. `past` is a plain dict: empty at the start of a sequence, it holds whatever the next chunk of the same
sequence needs.
"""
import dataclasses
import json
import re
import struct

import torch
import torch.nn.functional as F
from torch import nn

from layers import ChannelMix, Eagle, Finch, FinchC2, Gold, GPTAlpha, LlamaAttention, LlamaMLP, linear, rms, shift

LAYERS = dict(eagle=Eagle, finch=Finch, finch_c2=FinchC2, gold=Gold, gptalpha=GPTAlpha, llama_attention=LlamaAttention, channel_mix=ChannelMix, llama_mlp=LlamaMLP)

# The paper's models by the names that the C++ library gives them: stacks of n_layer blocks, n_gold of them on top.
ARCHITECTURES = dict(
    goldfinch='{lower} * (finch_c2, channel_mix), token_cat, {n_gold} * (gold, channel_mix)',
    goldfinch_on_finch='{lower} * (finch, channel_mix), token_cat, {n_gold} * (gold, channel_mix)',
    goldfinch_gptalpha='{lower} * (finch_c2, channel_mix), {n_gold} * (gptalpha, channel_mix)',
    eagle='{n_layer} * (eagle, channel_mix)',
    finch='{n_layer} * (finch, channel_mix)',
    finch_c2='{n_layer} * (finch_c2, channel_mix)',
    gptalpha='{n_layer} * (gptalpha, channel_mix)',
    llama='{n_layer} * (llama_attention, llama_mlp)',
)


@dataclasses.dataclass(frozen=True)
class Config:
    """The sizes of a model by their official names; 0 stands for the official default, as in the C++ library."""
    vocab_size: int = 256
    n_layer: int = 6
    n_gold: int = 0
    n_embd: int = 128
    head_size: int = 32
    dim_ffn: int = 0
    kv_cache_compression_ratio: int = 16
    rope_base: int = 0
    rope_rescale: int = 1
    head_size_divisor: int = 8
    use_one_minus_w: bool = True
    use_v2: bool = True

    def __post_init__(self):
        defaults = dict(n_gold=self.n_layer - self.n_layer * 2 // 3, dim_ffn=self.n_embd * 7 // 2 // 32 * 32)
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)  # the class is frozen

    def stack(self, architecture):
        """The stack of one of ARCHITECTURES."""
        return ARCHITECTURES[architecture].format(lower=self.n_layer - self.n_gold, n_gold=self.n_gold, n_layer=self.n_layer)

    def metadata(self):
        """The config in the `__metadata__` of a safetensors file."""
        return {name: str(value).lower() for name, value in (dataclasses.asdict(self) | dict(dim_att=self.n_embd)).items()}

    @classmethod
    def from_metadata(cls, metadata):
        """The config that metadata holds."""
        return cls().replace({field.name: metadata[field.name] for field in dataclasses.fields(cls)})

    def replace(self, texts):
        """This config with other values in some fields, given as text."""
        parse = lambda text: text == 'true' if text in ('true', 'false') else int(text)
        return dataclasses.replace(self, **{name: parse(text) for name, text in texts.items()})


LAYER = r'\w+(?: \{[^}]*\})?'
PART = rf'(\d+) \* \(({LAYER}), ({LAYER})\)|({LAYER})'


def parts(stack):
    """The parts of a stack: (number of blocks, time mix, channel mix), or the text of token_cat."""
    if not re.fullmatch(rf'(?:{PART})(?:, (?:{PART}))*', stack):
        raise ValueError(f'no stack: {stack}')
    for part in re.finditer(PART, stack):
        n, time_mix, channel_mix, other = part.groups()
        yield other or (int(n), time_mix, channel_mix)


def layer_config(text, config):
    """The name of a layer and its config, from text such as 'gptalpha {rope_base = 10000}': where there are braces, they differ from the model's."""
    name, _, fields = text.rstrip('}').partition(' {')
    return name, config.replace(dict(field.split(' = ') for field in fields.split(', ') if field))


def make_layer(text, config):
    """A layer from its description."""
    name, config = layer_config(text, config)
    return LAYERS[name](config)


class Block(nn.Module):
    """x += time_mix(ln1(x)); x += channel_mix(ln2(x)). The first block also has the norm of the embedding."""

    def __init__(self, config, time_mix, channel_mix, first):
        super().__init__()
        if first:
            self.ln0 = nn.LayerNorm(config.n_embd)
        self.ln1, self.ln2 = nn.LayerNorm(config.n_embd), nn.LayerNorm(config.n_embd)
        self.att, self.ffn = make_layer(time_mix, config), make_layer(channel_mix, config)


class Model(nn.Module):
    """The model of a config and a stack."""

    def __init__(self, config, stack, dropout=0.0):
        super().__init__()
        self.config, self.stack, self.dropout, self.n_lower = config, stack, dropout, None
        D = config.n_embd
        self.emb = nn.Embedding(config.vocab_size, D)
        self.blocks = nn.ModuleList()
        for part in parts(stack):
            if isinstance(part, str):
                name, cat = layer_config(part, config)
                if name != 'token_cat' or self.n_lower is not None:
                    raise ValueError(f'no stack: {stack}')
                self.n_lower = len(self.blocks)
            else:
                n, *mixers = part
                for _ in range(n):
                    self.blocks.append(Block(config, *mixers, first=len(self.blocks) == 0))
        if len(self.blocks) != config.n_layer:
            raise ValueError(f'n_layer is {config.n_layer}, the stack has {len(self.blocks)} blocks: {stack}')
        if self.n_lower is not None:
            Z = D // cat.kv_cache_compression_ratio
            self.w_kv_cache_a, self.w_kv_cache_b = linear(D, Z), linear(D + Z, D)
        self.ln_out = nn.LayerNorm(D)
        self.head = linear(D, config.vocab_size)

    def forward(self, tokens, past, last=None, patch=1):
        """Logits [B, T, V] of the tokens [B, T] that follow `past`; of no more than the `last` of them. `patch` tokens at a time, their embeddings averaged,
        are one (patch-level training, arXiv 2407.12665): then T is a multiple of it, and there are logits for each patch."""
        # One mask for all tokens of a sequence: a recurrent model's noise should not average out over time.
        drop = lambda t: t * F.dropout(torch.ones_like(t[:, :1]), self.dropout, self.training) if self.training else t
        e = self.blocks[0].ln0(self.emb(tokens).unflatten(1, (-1, patch)).mean(2))
        x, shared = drop(e), None
        for layer, block in enumerate(self.blocks):
            if layer == self.n_lower:
                shared = self.share(e, x, past)
            x = x + drop(block.att(block.ln1(x), past, f'{layer}.att.', shared))
            x = x + drop(block.ffn(block.ln2(x), past, f'{layer}.ffn.'))
        return self.head(self.ln_out(x if last is None else x[:, -last:]))

    def share(self, e, x, past):
        """What all GOLD blocks share, token_cat: the embeddings and the one stream of keys, and the shifts of both."""
        k = rms(self.w_kv_cache_b(torch.cat([e, self.w_kv_cache_a(x)], -1)))
        o = rms(e)
        return o, k, shift(o, past, 'o'), shift(k, past, 'k')


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
    model = Model(Config.from_metadata(metadata), metadata['stack']).eval()
    model.load_state_dict({name: t.float() for name, t in tensors.items()})
    return model


def save_model(path, model, metadata={}):
    """The model's weights rounded to bf16, its config and its stack, and other metadata."""
    metadata = model.config.metadata() | dict(stack=model.stack) | metadata
    save(path, {name: t.bfloat16() for name, t in model.state_dict().items()}, metadata)
