// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include <goldfinch/goldfinch.hpp>

namespace gf = goldfinch;

namespace {

std::atomic<std::size_t> n_allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
    ++n_allocations;
    void* const p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}
[[gnu::noinline]] void release(void* p) { std::free(p); }  // GCC takes an inlined one for a mistake

}  // namespace

void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) { return counted(size, static_cast<std::size_t>(alignment)); }
void operator delete(void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }

namespace {

inline constexpr gf::config tiny = gf::checked({.vocab_size = 256, .n_layer = 6, .n_embd = 64, .head_size = 16});

/// Calls f(i) for so many tokens of sequences at `position`: true if only those that begin a page allocate.
template <class F>
bool only_pages_allocate(std::size_t position, std::size_t n, F const& f) {
    bool begins_page = false;
    for (std::size_t i = 0; i < n; ++i) {
        std::size_t const before = n_allocations;
        f(i);
        if ((position + i) % gf::detail::page_positions == 0) begins_page = n_allocations > before;
        else if (n_allocations > before)
            return false;
    }
    return begins_page;  // what is counted
}

template <class Weight, class Cache>
void check(gf::load_options const& options) {
    using model = gf::model<tiny, gf::simd<Weight>, Cache>;
    auto const lm = model::random(1, options);
    std::vector<gf::token> prompt(700);
    for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = gf::token(i % 251);
    gf::session session{lm};
    session.append(prompt);
    for (gf::token t = 0; t < 80; ++t) (void)session.step(t);  // as steady as it gets
    CHECK(only_pages_allocate(session.position(), 150, [&](std::size_t i) { (void)session.step(gf::token(i)); }));

    // What gf::step makes of its arguments is its own affair.
    std::vector<gf::session<model>> several(3, session);
    std::vector<gf::session<model>*> const each{&several[0], &several[1], &several[2]};
    gf::detail::session_batch<model> together(each);
    std::vector<gf::token> const tokens{1, 2, 3};
    std::vector<std::span<gf::token const>> const texts{{&tokens[0], 1}, {&tokens[1], 1}, {&tokens[2], 1}};
    auto const step = [&](std::size_t) { together.append(texts), together.logits(); };
    for (std::size_t i = 0; i < 80; ++i) step(i);
    CHECK(only_pages_allocate(several[0].position(), 100, step));
}

}  // namespace

// One thread: each has temporaries of its own, and takes memory for them when it first gets a task that needs more.
TEST_CASE("a decoded token allocates nothing, unless it begins a page of the cache") {
    check<gf::bf16, gf::compressed_keys<gf::bf16>>({.threads = 1});
    check<gf::bf16, gf::compressed_keys<gf::bf16>>({.threads = 1, .working_set = 0});
    check<gf::bf16, gf::compressed_keys<gf::bf16>>({.threads = 1, .working_set = 100'000});
    check<gf::bf16, gf::compressed_keys<gf::bf16>>({.threads = 1, .working_set = 200'000});  // enough for a table of tokens
    check<gf::int8, gf::full_keys<float>>({.threads = 1});
    check<gf::int4, gf::expanded_kv<gf::int8>>({.threads = 1});
}
