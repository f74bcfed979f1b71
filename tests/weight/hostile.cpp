// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../io/builders.hpp"

// The file and the tensor are named.
TEST_CASE("packed tensors that do not fit each other are refused") {
    struct part {
        std::string type;
        std::vector<std::uint64_t> shape;
        std::string data;
    };
    auto const entry = [](std::string& header, std::string& data, std::string const& name, part const& p) {
        std::string shape;
        for (std::uint64_t const n : p.shape) shape += (shape.empty() ? "" : ",") + std::to_string(n);
        header += (header.empty() ? "{" : ",") + std::string("\"") + name + R"(":{"dtype":")" + p.type + R"(","shape":[)" + shape +
                  R"(],"data_offsets":[)" + std::to_string(data.size()) + "," + std::to_string(data.size() + p.data.size()) + "]}";
        data += p.data;
    };
    auto const file = [&](part const& packed, part const& scale, part const& shape) {
        std::string header, data;
        entry(header, data, "a.weight_packed", packed);
        entry(header, data, "a.weight_scale", scale);
        entry(header, data, "a.weight_shape", shape);
        return build::safetensors(header + "}", data);
    };
    auto const extents = [](std::uint64_t rows, std::uint64_t columns) { return part{"I64", {2}, build::u64(rows) + build::u64(columns)}; };
    auto const zeros = [](std::size_t n) { return std::string(n, '\0'); };
    part const packed{"I32", {3, 17}, zeros(204)}, scale{"BF16", {3, 2}, zeros(12)};
    CHECK(build::error_of(file(packed, scale, extents(3, 68))).empty());
    CHECK(build::parse(file(packed, scale, extents(3, 68))).tensors.size() == 1);
    CHECK(build::parse(file({"I32", {3, 17}, zeros(204)}, {"BF16", {3, 3}, zeros(18)}, extents(3, 136))).tensors[0].bits == 4);

    constexpr std::uint64_t huge = std::uint64_t(-1);
    std::vector<std::string> const bad{
        file(packed, scale, extents(4, 68)),                                                // other rows
        file(packed, scale, extents(3, 69)),                                                // other words
        file(packed, scale, extents(3, 64)),                                                //
        file(packed, scale, extents(3, 0)),                                                 //
        file(packed, scale, extents(0, 68)),                                                //
        file(packed, scale, extents(huge, 68)),                                             // -1
        file(packed, scale, extents(3, huge)),                                              //
        file(packed, scale, extents(3, huge - 67)),                                         //
        file(packed, scale, extents(huge, huge)),                                           //
        file(packed, scale, extents(std::uint64_t{1} << 63, std::uint64_t{1} << 63)),       //
        file(packed, scale, extents(3, (std::uint64_t{1} << 61) + 17)),                     // whose words overflow to 17
        file(packed, scale, extents(3, std::uint64_t{1} << 60)),                            //
        file(packed, scale, {"I64", {1}, build::u64(3)}),                                   // the shape is none
        file(packed, scale, {"I64", {1, 2}, build::u64(3) + build::u64(68)}),               //
        file(packed, scale, {"I64", {3}, build::u64(3) + build::u64(68) + build::u64(1)}),  //
        file(packed, scale, {"I32", {2}, build::u32(3) + build::u32(68)}),                  //
        file(packed, scale, {"F64", {2}, build::u64(3) + build::u64(68)}),                  //
        file({"U32", {3, 17}, zeros(204)}, scale, extents(3, 68)),                          // other types
        file({"F32", {3, 17}, zeros(204)}, scale, extents(3, 68)),                          //
        file(packed, {"F16", {3, 2}, zeros(12)}, extents(3, 68)),                           //
        file(packed, {"F32", {3, 2}, zeros(24)}, extents(3, 68)),                           //
        file({"I32", {51}, zeros(204)}, scale, extents(3, 68)),                             // other shapes
        file({"I32", {1, 3, 17}, zeros(204)}, scale, extents(3, 68)),                       //
        file(packed, {"BF16", {6}, zeros(12)}, extents(3, 68)),                             //
        file(packed, {"BF16", {2, 3}, zeros(12)}, extents(3, 68)),                          //
        file(packed, {"BF16", {4, 2}, zeros(16)}, extents(3, 68)),                          //
        file(packed, {"BF16", {3, 0}, {}}, extents(3, 68)),                                 // no scales, some that do not divide, too many
        file(packed, {"BF16", {3, 3}, zeros(18)}, extents(3, 68)),                          //
        file(packed, {"BF16", {3, 5}, zeros(30)}, extents(3, 68)),                          //
        file(packed, {"BF16", {3, 69}, zeros(414)}, extents(3, 68)),                        //
        file({"I32", {0, 17}, {}}, {"BF16", {0, 2}, {}}, extents(0, 68)),                   // nothing
        file({"I32", {3, 0}, {}}, {"BF16", {3, 0}, {}}, extents(3, 0)),                     //
    };
    for (std::size_t i = 0; i < bad.size(); ++i) {
        std::string const error = build::error_of(bad[i]);
        CAPTURE(i);
        CAPTURE(error);
        CHECK(build::contains(error, "test.file"));
        CHECK(build::contains(error, "a.weight_packed"));
    }
}
