// SPDX-License-Identifier: Apache-2.0
// Keys and values that are rebuilt in slabs of several pages on the CUDA kernels in emulation: whatever the slabs, the working set and the forks,
// logits have the same bits.
#include <goldfinch/cuda.cuh>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <random>
#include <span>
#include <vector>

namespace gf = goldfinch;

namespace {

inline constexpr gf::config C = gf::checked({.vocab_size = 64, .n_layer = 3, .n_gold = 2, .n_embd = 32, .head_size = 16});
inline constexpr std::size_t page = gf::detail::page_positions;

template <class Model>
inline constexpr std::size_t bytes_of_page = Model::working_set_bytes_per_token * page;

/// A model that rebuilds so many pages at once, which it takes from the size of the device's cache, and keeps so many in its working set.
template <class Model>
Model make(std::size_t slab, std::size_t kept) {
    int& cache_bytes = emulation::device::get().properties.l2CacheSize;
    int const before = cache_bytes;
    cache_bytes = static_cast<int>(3 * slab * 2 * page * C.n_embd * sizeof(float));
    Model lm = Model::random(1, {.threads = 1, .working_set = kept * bytes_of_page<Model>});
    cache_bytes = before;
    return lm;
}

std::vector<gf::token> text(std::size_t n, std::size_t seed = 0) {
    std::vector<gf::token> result(n);
    for (std::size_t i = 0; i < n; ++i) result[i] = static_cast<gf::token>((seed + 5 + 11 * i + i * i / 3) % C.vocab_size);
    return result;
}
void add(std::vector<float>& seen, std::span<float const> logits) { seen.insert(seen.end(), logits.begin(), logits.end()); }

/// Logits with 64, 128, 129 and 266 positions, and of some tokens at once.
template <class Model>
std::vector<float> one_session(Model const& lm) {
    std::vector<float> seen;
    gf::session session{lm};
    for (std::size_t const length : {page, 2 * page, 2 * page + 1, 4 * page + 10}) {
        session.append(text(length - session.position(), session.position()));
        add(seen, session.logits());
    }
    add(seen, session.step(text(3)));
    return seen;
}

/// Logits of sessions that step together: forks that share their first pages, one of a length of its own, and one that was restored. What a session before
/// them left in the working set makes room for theirs.
template <class Model>
std::vector<float> some_sessions(Model const& lm) {
    gf::session before{lm};
    before.append(text(2 * page, 9));
    before.logits();
    std::vector<gf::session<Model>> sessions{gf::session{lm}, gf::session{lm}};
    sessions[0].append(text(3 * page + 10));
    sessions[1].append(text(page, 7));
    sessions.push_back(sessions[0]);
    sessions[2].append(text(page + 30, 3));
    sessions.push_back(sessions[2]);
    auto const path = std::filesystem::temp_directory_path() / "goldfinch_cuda_slabs";
    sessions[0].save(path);
    sessions.push_back(gf::session{lm, path});
    std::filesystem::remove(path);
    std::vector<float> seen;
    for (gf::token round = 0; round < 2; ++round) {
        std::vector<gf::token> tokens;
        for (std::size_t i = 0; i < sessions.size(); ++i) tokens.push_back((round * 5 + static_cast<gf::token>(i) * 7) % C.vocab_size);
        gf::step(sessions, tokens);
        for (auto& session : sessions) add(seen, session.logits());
    }
    return seen;
}

}  // namespace

TEST_CASE("logits depend neither on slabs nor on what is kept") {
    using model = gf::model<C, gf::cuda<gf::bf16>, gf::compressed_keys<gf::bf16>>;
    auto const alone = one_session(make<model>(0, 0)), together = some_sessions(make<model>(0, 0));
    struct {
        std::size_t slab, kept;
    } const pages[] = {{2, 0}, {2, 3}, {3, 1}, {64, 4}};
    for (auto const [slab, kept] : pages) {
        INFO(slab, " pages at once, ", kept, " kept");
        auto const lm = make<model>(slab, kept);
        CHECK(one_session(lm) == alone);
        CHECK(some_sessions(lm) == together);
    }
}

TEST_CASE_TEMPLATE("slabs of float weights and of other caches", Cache, gf::compressed_keys<gf::int8>, gf::full_keys<float>) {
    using model = gf::model<C, gf::cuda<float>, Cache>;
    CHECK(some_sessions(make<model>(2, 3)) == some_sessions(make<model>(0, 0)));
}

TEST_CASE("a token has as many launches with several pages as with one, where they are a slab") {
    auto& device = emulation::device::get();
    using model = gf::model<C, gf::cuda<gf::bf16>, gf::compressed_keys<gf::bf16>>;
    auto const launches = [&](std::size_t slab, std::size_t positions) {
        auto const lm = make<model>(slab, 0);
        gf::session session{lm};
        session.append(text(positions));
        session.step(1);
        std::size_t const before = device.launches();
        session.step(2);
        return device.launches() - before;
    };
    std::size_t const one = launches(4, page + 10);
    CHECK(launches(4, 4 * page - 5) == one);
    CHECK(launches(4, 4 * page + 5) > one);
    CHECK(launches(1, 4 * page - 5) > one + 60);
}
