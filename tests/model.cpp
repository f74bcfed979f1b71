// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/goldfinch.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "io/builders.hpp"

namespace gf = goldfinch;

namespace {

inline constexpr gf::config little = gf::checked({.vocab_size = 40, .n_layer = 3, .n_embd = 32, .head_size = 16});
using bf16_model = gf::model<little>;
using float_model = gf::model<little, gf::simd<float>>;

template <class Model>
std::vector<float> some_logits(Model const& lm) {
    gf::session session{lm};
    session.append(std::vector<gf::token>{3, 1, 39, 7});
    auto const logits = session.logits();
    return {logits.begin(), logits.end()};
}

/// A mixer whose vectors are named as the matrices of low rank of the paper's layers.
struct weighted_mean {
    static constexpr std::size_t width = little.n_embd;
    static constexpr char const* name = "weighted_mean";

    template <class Backend>
    struct weights {
        gf::vector<typename Backend::weight const, width> mix, mix_w1, mix_w2;
        static constexpr void list(auto& self, auto const& f) { f("mix", self.mix), f("mix_w1", self.mix_w1), f("mix_w2", self.mix_w2); }
    };
    template <class Backend>
    using state = gf::no_state;

    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, gf::no_state const&, gf::inputs<Backend, width> x, gf::outputs<Backend, width> y) {
        using S = typename Backend::scalar;
        transform(be, [](S& out, S in, S a, S b, S c) { out = in * (a + b + c); }, y, x, p.mix, p.mix_w1, p.mix_w2);
    }
};

/// One with two tensors of one name.
struct one_name_twice {
    static constexpr std::size_t width = little.n_embd;
    static constexpr char const* name = "one_name_twice";

    template <class Backend>
    struct weights {
        gf::norm_weights<typename Backend::weight const, width> ln;
        gf::vector<typename Backend::weight const, width> bias;
        static constexpr void list(auto& self, auto const& f) { f("ln", self.ln), f("ln.bias", self.bias); }
    };
    template <class Backend>
    using state = gf::no_state;

    template <class Backend>
    static void forward(Backend const& be, weights<Backend> const& p, gf::no_state const&, gf::inputs<Backend, width> x, gf::outputs<Backend, width> y) {
        layer_norm(be, p.ln, x, y);
    }
};

}  // namespace

TEST_CASE("the released models have the released number of parameters") {
    CHECK(gf::model<gf::presets::goldfinch_1b5>::n_parameters == 1'445'257'216);
    static_assert(std::is_same_v<gf::model<little>, gf::model<little, gf::simd<gf::bf16>, gf::compressed_keys<gf::bf16>, gf::goldfinch_stack<little>>>);
}

TEST_CASE("a config is normalised where a model is made from it") {
    using raw = gf::model<gf::config{.vocab_size = 40, .n_layer = 3, .n_embd = 32, .head_size = 16}, gf::simd<float>>;
    CHECK(raw::cfg == little);
    CHECK(some_logits(raw::random(1)) == some_logits(float_model::random(1)));
}

TEST_CASE("the seed decides a random model, and its logits have the scale of real ones") {
    CHECK(some_logits(bf16_model::random(1)) == some_logits(bf16_model::random(1)));
    CHECK(some_logits(bf16_model::random(1)) != some_logits(bf16_model::random(2)));
    double squares = 0;
    for (float const l : some_logits(float_model::random(1))) squares += static_cast<double>(l * l);
    CHECK(std::sqrt(squares / 40) > 0.3);
    CHECK(std::sqrt(squares / 40) < 3);
}

TEST_CASE("a random model's vectors are drawn alike, whatever they are called") {
    using own = gf::model<little, gf::simd<float>, gf::compressed_keys<>, gf::stack<gf::repeat<gf::block<weighted_mean, gf::channel_mix<little>>, 3>>>;
    build::temporary_directory const dir;
    auto const lm = own::random(1);
    lm.save(dir.path("m"));
    auto const stored = gf::read_checkpoint(dir.path("m"));
    for (std::string const name : {"mix", "mix_w1", "mix_w2"}) {
        INFO(name);
        double squares = 0;
        for (std::string const block : {"0", "1", "2"}) {
            auto const& t = *stored.find("blocks." + block + ".att." + name);
            REQUIRE(t.bytes.size() == little.n_embd * sizeof(float));
            for (std::size_t i = 0; i < little.n_embd; ++i) {
                float value;
                std::memcpy(&value, t.bytes.data() + i * sizeof value, sizeof value);
                squares += static_cast<double>(value * value);
            }
        }
        double const deviation = std::sqrt(squares / (3 * little.n_embd));
        CHECK(deviation > 0.08);
        CHECK(deviation < 0.12);
    }
    for (float const l : some_logits(lm)) CHECK(std::isfinite(l));
}

TEST_CASE("a saved model is the same model, and may be saved over itself") {
    build::temporary_directory const dir;
    auto const file = dir.path("m.safetensors");
    auto const lm = bf16_model::random(1);
    lm.save(file);
    auto const again = bf16_model::load(file);
    CHECK(some_logits(again) == some_logits(lm));
    CHECK(again.fingerprint() == lm.fingerprint());
    again.save(file);  // the file its weights are mapped from
    CHECK(some_logits(again) == some_logits(lm));
    CHECK(some_logits(bf16_model::load(file)) == some_logits(lm));
    std::filesystem::remove(file);
    CHECK(some_logits(again) == some_logits(lm));

    auto const as_floats = dir.path("wrong-suffix.pth");
    auto const exact = float_model::random(1);
    exact.save(as_floats);
    CHECK(some_logits(float_model::load(as_floats)) == some_logits(exact));
    CHECK(some_logits(bf16_model::load(as_floats)) == some_logits(lm));  // both round the same numbers
    using oracle = gf::model<little, gf::reference>;
    oracle::load(as_floats).save(dir.path("doubles"));
    CHECK(some_logits(oracle::load(dir.path("doubles"))) == some_logits(oracle::load(as_floats)));
}

TEST_CASE_TEMPLATE("a model tells where its weights lie", Backend, gf::reference, gf::simd<gf::bf16>, gf::simd<gf::int8>) {
    build::temporary_directory const dir;
    auto const lm = gf::model<little, Backend>::random(1, {.threads = 1});
    lm.save(dir.path("model"));
    gf::checkpoint const file = gf::read_checkpoint(dir.path("model"));
    auto const weights = lm.weights();
    CHECK(weights.size() == file.tensors.size());
    for (gf::weight_tensor const& w : weights) {
        INFO(w.name);
        gf::stored_tensor const* const stored = file.find(w.name);
        REQUIRE(stored != nullptr);
        CHECK(std::vector<std::uint64_t>(w.shape.begin(), w.shape.end()) == stored->shape);
        bool const by_inputs = w.name.ends_with("ffn.value.weight") || w.name.ends_with("w_kv_cache_b.weight");
        CHECK(w.transposed == (!std::is_same_v<Backend, gf::reference> && by_inputs));
        CHECK(stored->bytes.size() % w.format->plane(0, w.shape.back()).row_bytes == 0);
        if (!w.transposed) CHECK(std::memcmp(w.data, stored->bytes.data(), stored->bytes.size()) == 0);
    }
}

TEST_CASE("loading calls back with what is done") {
    build::temporary_directory const dir;
    bf16_model::random(1).save(dir.path("m"));
    std::size_t last = 0, calls = 0;
    (void)bf16_model::load(dir.path("m"), {.threads = 1, .on_progress = [&](std::size_t done, std::size_t total) {
                               CHECK(done > last);
                               CHECK(done <= total);
                               last = done;
                               ++calls;
                           }});
    CHECK(last == bf16_model::n_parameters * sizeof(gf::bf16));
    CHECK(calls > 10);
}

TEST_CASE("a file of another model is refused, and the fields that differ are named") {
    build::temporary_directory const dir;
    bf16_model::random(1).save(dir.path("m"));
    auto const refusal = [&]<gf::config C>() { return build::message_of<gf::load_error>([&] { (void)gf::model<C>::load(dir.path("m")); }); };
    auto const vocab = refusal.operator()<gf::checked({.vocab_size = 41, .n_layer = 3, .n_embd = 32, .head_size = 16})>();
    CHECK(build::contains(vocab, "vocab_size"));
    CHECK(build::contains(vocab, "41"));
    CHECK(build::contains(vocab, "40"));
    auto const rope = refusal.operator()<gf::checked({.vocab_size = 40, .n_layer = 3, .n_embd = 32, .head_size = 16, .rope_base = 10000})>();
    CHECK(build::contains(rope, "rope_base"));
    auto const depth = refusal.operator()<gf::checked({.vocab_size = 40, .n_layer = 3, .n_gold = 2, .n_embd = 32, .head_size = 16})>();
    CHECK(build::contains(depth, "n_gold"));
    CHECK(build::contains(depth, "blocks.1.att.query.weight"));
}

TEST_CASE("metadata with a field of the config and no config is no config") {
    build::temporary_directory const dir;
    auto const lm = bf16_model::random(1);
    lm.save(dir.path("m"));
    auto const stored = gf::read_checkpoint(dir.path("m"));
    std::vector<gf::output_tensor> tensors;
    for (auto const& t : stored.tensors) tensors.push_back({t.name, t.type, t.shape, t.bytes});
    using metadata = std::map<std::string, std::string>;
    for (metadata const& foreign : {metadata{{"head_size", "16"}}, metadata{{"stack", "rwkv"}}, metadata{{"n_layer", "3 (2 + 1)"}}, metadata{{"use_v2", "True"}},
                                    metadata{{"head_size", "16"}, {"stack", "rwkv"}, {"n_layer", "3 (2 + 1)"}, {"use_v2", "True"}, {"format", "pt"}}}) {
        gf::write_safetensors(dir.path("some"), foreign, tensors);
        INFO(foreign.begin()->first);
        bf16_model const again = bf16_model::load(dir.path("some"));
        CHECK(some_logits(again) == some_logits(lm));
        CHECK(build::contains(gf::inspect(dir.path("some")), "n_layer = 3"));
    }
}

TEST_CASE("a model whose layers have another config than the model is another model") {
    static constexpr gf::config turned = [] {
        gf::config c = little;
        c.rope_base = 10000;
        return c;
    }();
    using plain = gf::model<little, gf::simd<float>, gf::compressed_keys<>, gf::gptalpha_stack<little>>;
    using mixed = gf::model<little, gf::simd<float>, gf::compressed_keys<>, gf::gptalpha_stack<turned>>;
    build::temporary_directory const dir;
    auto const lm = plain::random(1);
    auto const other = mixed::random(1);
    CHECK(lm.fingerprint() != other.fingerprint());
    other.save(dir.path("m"));
    CHECK(some_logits(mixed::load(dir.path("m"))) == some_logits(other));
    auto const refusal = build::message_of<gf::load_error>([&] { (void)plain::load(dir.path("m")); });
    CHECK(build::contains(refusal, "gptalpha {rope_base = 10000}"));
    gf::session session{lm};
    session.append(std::vector<gf::token>{1, 2});
    session.save(dir.path("s"));
    CHECK_THROWS_AS((gf::session<mixed>{other, dir.path("s")}), gf::session_error);
}

TEST_CASE("weights that are not finite load, and what they lead to is an error of the sampler") {
    build::temporary_directory const dir;
    auto const file = dir.path("m");
    float_model::random(1).save(file);
    auto stored = gf::read_checkpoint(file);
    std::vector<float> head(stored.find("head.weight")->bytes.size() / sizeof(float), std::numeric_limits<float>::quiet_NaN());
    std::vector<gf::output_tensor> tensors;
    for (auto const& t : stored.tensors) tensors.push_back({t.name, t.type, t.shape, t.name == "head.weight" ? std::as_bytes(std::span<float const>(head)) : t.bytes});
    gf::write_safetensors(dir.path("nan"), {}, tensors);
    auto const lm = float_model::load(dir.path("nan"));
    gf::session session{lm};
    gf::sampler sampler({});
    CHECK_THROWS_AS(sampler(session.step(1)), gf::token_error);
    auto other = session;
    CHECK_THROWS_AS(gf::generate(other, gf::byte_tokenizer{}, "a", sampler, {.max_tokens = 4}, [](std::string_view) { return true; }), gf::error);
}

TEST_CASE("two tensors of one name are refused when a model is made") {
    using layers = gf::stack<gf::repeat<gf::block<one_name_twice, gf::channel_mix<little>>, 3>>;
    using model = gf::model<little, gf::simd<float>, gf::compressed_keys<>, layers>;
    build::temporary_directory const dir;
    float_model::random(1).save(dir.path("other"));
    for (auto const& message : {build::message_of<gf::config_error>([] { (void)model::random(1); }),
                                build::message_of<gf::config_error>([&] { (void)model::load(dir.path("other")); })})
        CHECK(build::contains(message, "listed as blocks.0.att.ln.bias: each needs a name of its own"));
}

TEST_CASE("an empty path is called so") {
    for (auto const& message : {build::message_of<gf::load_error>([] { (void)float_model::load(""); }),
                                build::message_of<gf::load_error>([] { float_model::random(1).save(""); }),
                                build::message_of<gf::session_error>([] { (void)gf::session(float_model::random(1), ""); })})
        CHECK(build::contains(message, "path of a file is empty"));
}

TEST_CASE("a stack of recurrent blocks alone has no cache and gives logits") {
    using finch_only = gf::model<little, gf::simd<float>, gf::compressed_keys<>, gf::stack<gf::repeat<gf::block<gf::finch_c2<little>, gf::channel_mix<little>>, 3>>>;
    auto const lm = finch_only::random(1);
    gf::session one{lm}, many{lm};
    std::vector<gf::token> const tokens{1, 2, 3, 4, 5, 6, 7, 8};
    for (auto const t : tokens) one.step(t);
    many.append(tokens);
    for (std::size_t i = 0; i < 40; ++i) CHECK(one.logits()[i] == doctest::Approx(many.logits()[i]).epsilon(1e-4));
    CHECK(one.cache_bytes() == 0);
}
