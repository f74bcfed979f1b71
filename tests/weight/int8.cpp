// SPDX-License-Identifier: Apache-2.0
#include "quantized_test.hpp"

namespace {

using gf::int8;
using namespace quantized;

#define TYPE_TO_PASTE goldfinch::model<my_config, goldfinch::simd<goldfinch::int8>>
inline constexpr goldfinch::config my_config = goldfinch::checked({.vocab_size = 70, .n_layer = 2, .n_embd = 32, .head_size = 16, .dim_ffn = 100});
using my_model = TYPE_TO_PASTE;
#define TEXT_OF(x) TEXT_OF_IT(x)
#define TEXT_OF_IT(...) #__VA_ARGS__

}  // namespace

TEST_CASE("int8 rows: every number within what its block's scale allows") { check_rounding<int8>(8); }
TEST_CASE("int8 rows: numbers that the format has come back as they are") { check_exact_rows<int8>(8); }
TEST_CASE("int8 rows: what is not finite shows, in its block") { check_not_finite<int8>(); }

TEST_CASE("int8: at most 1.0625 bytes a weight") {
    CHECK(bytes_a_weight<gf::presets::goldfinch_1b5, int8>() <= 1.0625);
    CHECK(bytes_a_weight<gf::presets::goldfinch_0b1, int8>() <= 1.0625);
    CHECK(bytes_a_weight<tiny, int8>() <= 1.0625);
    build::temporary_directory const dir;
    model<wide, gf::simd<int8>>::random(1).save(dir.path("saved"));
    CHECK(file_bytes_a_weight<wide, int8>(dir.path("saved")) <= 1.0625);
}

TEST_CASE("simd<int8> gives what float64 makes of the same file") {
    build::temporary_directory const dir;
    check_against_reference<tiny, int8>(dir);
    check_against_reference<odd, int8>(dir);
    check_against_reference<odd, int8, gf::gptalpha_stack<odd>>(dir);
    check_against_reference<odd, int8, gf::llama_stack<odd>>(dir);
}

TEST_CASE("simd<int8> gives what float64 makes of the official vectors' weights") {
    build::temporary_directory const dir;
    if (auto const folder = golden::folder("goldfinch_rope")) check_against_reference<golden::rope, int8>(dir, *folder / "model.safetensors");
    if (auto const folder = golden::folder("goldfinch_tiny")) check_against_reference<golden::tiny, int8>(dir, *folder / "model.safetensors");
    if (auto const folder = golden::folder("goldfinch_small")) check_against_reference<golden::small, int8>(dir, *folder / "model.safetensors");
}

TEST_CASE("an int8 file is used as it lies, and saved as it was") {
    build::temporary_directory const dir;
    check_saved<tiny, int8>(dir);
    check_saved<odd, int8>(dir);
}

TEST_CASE("int8 from files of every type, and to every backend") {
    build::temporary_directory const dir;
    check_conversions<int8>(dir);
}

TEST_CASE("int8 does not depend on threads") {
    build::temporary_directory const dir;
    check_threads<tiny, int8>(dir);
}

TEST_CASE("sessions of int8 are of no other format") {
    build::temporary_directory const dir;
    check_sessions<int8, gf::bf16>(dir);
}

TEST_CASE("progress of loading, whatever is loaded as what") {
    build::temporary_directory const dir;
    auto const plain = dir.path("plain"), packed = dir.path("packed");
    model<odd, gf::simd<gf::bf16>>::random(1).save(plain);
    model<odd, gf::simd<int8>>::load(plain).save(packed);
    for (auto const& path : {plain, packed}) {
        check_progress<gf::simd<int8>>(path);
        check_progress<gf::simd<gf::bf16>>(path);
        check_progress<gf::simd<float>>(path);
        check_progress<gf::simd<gf::half>>(path);
        check_progress<gf::reference>(path);
    }
}

TEST_CASE("int8 of other groups, as compressed-tensors writes them") {
    build::temporary_directory const dir;
    check_foreign<int8>(dir, 8);
}

TEST_CASE("packed tensors of which a part is missing") {
    build::temporary_directory const dir;
    check_missing_parts<int8>(dir);
}

TEST_CASE("inspect names int8, and prints a type that compiles") {
    build::temporary_directory const dir;
    my_model::random(1).save(dir.path("saved"));
    std::string const text = gf::inspect(dir.path("saved"));
    CAPTURE(text);
    CHECK(contains(text, "parameters (BF16, int8)"));
    CHECK(contains(text, "using my_model = " TEXT_OF(TYPE_TO_PASTE) ";"));
    CHECK(contains(text, "checked({.vocab_size = 70, .n_layer = 2, .n_embd = 32, .head_size = 16, .dim_ffn = 100})"));
}

TEST_CASE("int8 raises the bundled model's loss by less than 0.1 %") { CHECK(raised_loss<int8>() < 0.001); }
