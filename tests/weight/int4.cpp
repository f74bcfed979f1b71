// SPDX-License-Identifier: Apache-2.0
#include "quantized_test.hpp"

namespace {

using gf::int4;
using namespace quantized;

#define TYPE_TO_PASTE goldfinch::model<my_config, goldfinch::simd<goldfinch::int4>>
inline constexpr goldfinch::config my_config = goldfinch::checked({.vocab_size = 70, .n_layer = 2, .n_embd = 32, .head_size = 16, .dim_ffn = 100});
using my_model = TYPE_TO_PASTE;
#define TEXT_OF(x) TEXT_OF_IT(x)
#define TEXT_OF_IT(...) #__VA_ARGS__

}  // namespace

TEST_CASE("int4 rows: every number within what its block's scale allows") { check_rounding<int4>(4); }
TEST_CASE("int4 rows: numbers that the format has come back as they are") { check_exact_rows<int4>(4); }
TEST_CASE("int4 rows: what is not finite shows, in its block") { check_not_finite<int4>(); }

TEST_CASE("int4: at most 0.5625 bytes a weight") {
    CHECK(bytes_a_weight<gf::presets::goldfinch_1b5, int4>() <= 0.5625);
    CHECK(bytes_a_weight<gf::presets::goldfinch_0b1, int4>() <= 0.5625);
    CHECK(bytes_a_weight<tiny, int4>() <= 0.5625);
    build::temporary_directory const dir;
    model<wide, gf::simd<int4>>::random(1).save(dir.path("saved"));
    CHECK(file_bytes_a_weight<wide, int4>(dir.path("saved")) <= 0.5625);
}

TEST_CASE("simd<int4> gives what float64 makes of the same file") {
    build::temporary_directory const dir;
    check_against_reference<tiny, int4>(dir);
    check_against_reference<odd, int4>(dir);
    check_against_reference<odd, int4, gf::gptalpha_stack<odd>>(dir);
    check_against_reference<odd, int4, gf::llama_stack<odd>>(dir);
}

TEST_CASE("simd<int4> gives what float64 makes of the official vectors' weights") {
    build::temporary_directory const dir;
    if (auto const folder = golden::folder("goldfinch_rope")) check_against_reference<golden::rope, int4>(dir, *folder / "model.safetensors");
    if (auto const folder = golden::folder("goldfinch_tiny")) check_against_reference<golden::tiny, int4>(dir, *folder / "model.safetensors");
    if (auto const folder = golden::folder("goldfinch_small")) check_against_reference<golden::small, int4>(dir, *folder / "model.safetensors");
}

TEST_CASE("an int4 file is used as it lies, and saved as it was") {
    build::temporary_directory const dir;
    check_saved<tiny, int4>(dir);
    check_saved<odd, int4>(dir);
}

TEST_CASE("int4 from files of every type, and to every backend") {
    build::temporary_directory const dir;
    check_conversions<int4>(dir);
}

TEST_CASE("int4 does not depend on threads") {
    build::temporary_directory const dir;
    check_threads<tiny, int4>(dir);
}

TEST_CASE("sessions of int4 are of no other format") {
    build::temporary_directory const dir;
    check_sessions<int4, gf::bf16>(dir);
    check_sessions<int4, gf::int8>(dir);
}

TEST_CASE("int8 and int4 files as each other") {
    build::temporary_directory const dir;
    auto const plain = dir.path("plain"), eight = dir.path("eight"), four = dir.path("four");
    model<odd, gf::simd<gf::bf16>>::random(1).save(plain);
    model<odd, gf::simd<gf::int8>>::load(plain).save(eight);
    model<odd, gf::simd<int4>>::load(plain).save(four);
    CHECK(same_numbers(loaded_weights<odd, gf::simd<int4>>(eight), loaded_weights<odd, gf::reference>(eight)));
    CHECK(same_numbers(loaded_weights<odd, gf::simd<gf::int8>>(four), loaded_weights<odd, gf::reference>(four)));
    for (auto const& path : {plain, eight, four}) {
        check_progress<gf::simd<int4>>(path);
        check_progress<gf::simd<gf::int8>>(path);
        check_progress<gf::simd<gf::bf16>>(path);
    }
}

TEST_CASE("int4 of other groups, as compressed-tensors writes them") {
    build::temporary_directory const dir;
    check_foreign<int4>(dir, 4);
}

TEST_CASE("int4: packed tensors of which a part is missing") {
    build::temporary_directory const dir;
    check_missing_parts<int4>(dir);
}

TEST_CASE("inspect names int4, and prints a type that compiles") {
    build::temporary_directory const dir;
    my_model::random(1).save(dir.path("saved"));
    std::string const text = gf::inspect(dir.path("saved"));
    CAPTURE(text);
    CHECK(contains(text, "parameters (BF16, int4)"));
    CHECK(contains(text, "using my_model = " TEXT_OF(TYPE_TO_PASTE) ";"));
    CHECK(contains(text, "checked({.vocab_size = 70, .n_layer = 2, .n_embd = 32, .head_size = 16, .dim_ffn = 100})"));
}

TEST_CASE("int4 raises the bundled model's loss by less than 1 %") { CHECK(raised_loss<int4>() < 0.01); }
