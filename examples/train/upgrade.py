# SPDX-License-Identifier: Apache-2.0
"""The paper's second route to a GoldFinch: blocks of GOLD on a trained Finch, whose weights stay as they are. Trains that, and the same model whole, on the
bytes that equal_size.py gives each seed, and writes a table of the same columns.

    python equal_size.py shakespeare.txt models equal_size.csv --architectures finch
    python upgrade.py shakespeare.txt models upgrade.csv
    python plot_loss.py upgrade.csv upgrade.png

New blocks add nothing at first, so that an upgrade starts at what the Finch has learnt. The last norm and the head learn on.
"""
import argparse
import dataclasses
import functools

import equal_size
from goldfinch_torch import Model, load_model
from training import initialise


def on_top_of(finch, n_gold):
    """A model with so many blocks of GOLD above those of a Finch, at its starting point."""
    config = dataclasses.replace(finch.config, n_layer=finch.config.n_layer + n_gold, n_gold=n_gold)
    model = Model(config, config.stack('goldfinch_on_finch'))
    initialise(model)
    return model


def upgrade(finch, n_gold):
    """The same with the Finch's weights, frozen but for the last norm and the head."""
    model, trained = on_top_of(finch, n_gold), finch.state_dict()
    missing, unexpected = model.load_state_dict(trained, strict=False)
    top = tuple(f'blocks.{layer}.' for layer in range(finch.config.n_layer, model.config.n_layer))
    strange = unexpected + [name for name in missing if not name.startswith((*top, 'w_kv_cache_'))]
    if strange:
        raise ValueError(f'no Finch: {finch.stack}; these do not fit: {strange}')
    for name, p in model.named_parameters():
        if name in trained and not name.startswith(('ln_out', 'head')):
            p.requires_grad_(False)
    return model


def make(args, seed, route):
    """The model of a route on the Finch of this seed."""
    return route(load_model(args.models / f'finch-{seed}.safetensors'), args.gold)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    equal_size.arguments(ap)
    ap.add_argument('--gold', type=int, default=2, help='blocks on top')
    args = ap.parse_args()
    equal_size.train_all(args, dict(whole=functools.partial(make, route=on_top_of), upgrade=functools.partial(make, route=upgrade)))


if __name__ == '__main__':
    main()
