// SPDX-License-Identifier: Apache-2.0
// Mixers of one's own on the CUDA backend in emulation.
#include <goldfinch/cuda.cuh>

#include <goldfinch/backend/reference.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "../../../../examples/mixers/hgrn2.hpp"
#include "../../../../examples/mixers/infini_attention.hpp"
#include "../../../../examples/mixers/rg_lru.hpp"
#include "../../../golden.hpp"
#include "readme_mixer.hpp"
#include "small.hpp"

namespace {

using infini = mixers::infini_attention<C, 70>;

template <class Mixer, class Backend>
using gold_on = gf::model<C, Backend, gf::compressed_keys<float>,
                          gf::stack<gf::repeat<gf::block<Mixer, gf::channel_mix<C>>, 2>, gf::token_cat<C>, gf::block<gf::gold<C>, gf::channel_mix<C>>>>;

}  // namespace

TEST_CASE_TEMPLATE("a mixer of one's own runs on a GPU, however a sequence is split, and in a batch", Mixer, mixers::hgrn2<C>, mixers::rg_lru<C>, infini, my_mixer<C>) {
    using gpu = gold_on<Mixer, gf::cuda<float>>;
    using reference = gold_on<Mixer, gf::reference>;
    auto const path = std::filesystem::temp_directory_path() / ("goldfinch_cuda_" + std::string(Mixer::name));
    auto const lm = gpu::random(1, {.threads = 1});
    lm.save(path);
    auto const truth = reference::load(path, {.threads = 1});
    std::filesystem::remove(path);

    std::mt19937 random(4);
    std::vector<gf::token> const tokens = text(150);
    gf::session stream{lm};
    gf::session whole{truth};
    for (std::size_t t = 0; t < tokens.size();) {
        std::size_t const n = std::min<std::size_t>(1 + random() % 80, tokens.size() - t);
        stream.append(std::span(tokens).subspan(t, n));
        t += n;
        whole = gf::session{truth};
        whole.append(std::span(tokens).first(t));
        CHECK(golden::distance(stream.logits(), whole.logits()) <= 3e-5);
    }

    std::array<gf::session<gpu>, 2> both{stream, gf::session{lm}};
    std::array<gf::session<reference>, 2> expected{whole, gf::session{truth}};
    std::vector<std::vector<gf::token>> const prompts{text(3), text(20)};
    gf::append(both, prompts);
    for (std::size_t i = 0; i < both.size(); ++i) expected[i].append(prompts[i]);
    for (gf::token t = 0; t < 3; ++t) {
        std::array<gf::token, 2> const next{t, t + 30};
        gf::step(both, next);
        for (std::size_t i = 0; i < both.size(); ++i) CHECK(golden::distance(both[i].logits(), expected[i].step(next[i])) <= 3e-5);
    }
    CHECK(golden::distance(stream.logits(), whole.logits()) <= 3e-5);  // what the fork of it did is not its business
}
