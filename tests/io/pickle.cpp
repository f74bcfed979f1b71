// SPDX-License-Identifier: Apache-2.0
#include <goldfinch/io/pickle.hpp>

#include <doctest/doctest.h>

#include "builders.hpp"

namespace gf = goldfinch;
using build::contains;
using build::global;
using build::integer;
using build::new_ordered_dict;
using build::text;

namespace {

std::string const start = "\x80\x02";
std::filesystem::path const path = "test.pth";

std::vector<gf::io::pickled_tensor> read(std::string const& pickle) {
    return gf::io::state_dict_pickle(std::as_bytes(std::span(pickle)), path, 100).read();
}

std::string error_of(std::string const& pickle) {
    try {
        read(pickle);
        return "";
    } catch (gf::load_error const& e) {
        return e.what();
    }
}

}  // namespace

TEST_CASE("pickle: dicts of tensors, with memo, lists and attributes") {
    std::string const one = build::state_dict({{.offset = 300, .strides = {70000, 1}}});
    auto const tensors = read(one);
    REQUIRE(tensors.size() == 1);
    CHECK(tensors[0].name == "w");
    CHECK(tensors[0].storage == "0");
    CHECK(tensors[0].type->name == "F32");
    CHECK(tensors[0].storage_elements == 6);
    CHECK(tensors[0].storage_offset == 300);
    CHECK(tensors[0].shape == std::vector<std::uint64_t>{2, 3});
    CHECK(tensors[0].strides == std::vector<std::uint64_t>{70000, 1});

    CHECK(read(start + "}" + text("w") + build::tensor({}) + "s.").size() == 1);  // a plain dict
    CHECK(read(start + "}.").empty());
    std::string const memo = "}q" + build::u8(5) + text("w") + "q" + build::u8(1) + build::tensor({}) + "r" + build::u32(2) + "s";
    CHECK(read(start + memo + text("v") + "j" + build::u32(2) + "s.").size() == 2);
    CHECK(contains(error_of(start + memo + "h" + build::u8(1) + "j" + build::u32(2) + "s."), "tensor 'w' twice"));
    std::string const parameter = global("torch._utils", "_rebuild_parameter") + "(" + build::tensor({}) + "\x88" + new_ordered_dict + "tR";
    CHECK(read(start + "}" + text("w") + parameter + "s.").size() == 1);
    // What BUILD brings is dropped, whatever plain data it is.
    CHECK(read(start + "}}(" + text("a") + "]NaK\1a" + text("b") + "](K\1M\1\1J\1\1\1\1e" + text("c") + "G12345678" + text("d") + "K\1K\2\x86" +
               text("e") + "K\1\x85K\1K\1\x87ub.")
              .empty());
}

TEST_CASE("pickle: nothing else is understood, and refusals have a name and a byte") {
    struct {
        std::string what;
        std::string pickle, message;
    } const cases[] = {
        {"no end", start + "}", "is cut short"},
        {"empty", "", "is cut short"},
        {"goes on", start + "}.}", "goes on after STOP"},
        {"protocol 4", "\x80\x04}.", "protocol 4, expected 2"},
        {"nothing", start + ".", "ends with 0 values"},
        {"two values", start + "}}.", "ends with 2 values"},
        {"open mark", start + "}(.", "ends with"},
        {"no dict", start + "K\1.", "holds an integer, expected a dict"},
        {"a list", start + "].", "holds a list, expected a dict"},
        {"system", start + global("os", "system") + text("true") + "\x85R.", "global 'os.system'"},
        {"eval", start + global("builtins", "eval") + ".", "global 'builtins.eval'"},
        {"untyped storage", start + global("torch.storage", "UntypedStorage") + ".", "torch.storage.UntypedStorage"},
        {"numpy", start + global("numpy.core.multiarray", "_reconstruct") + ".", "refused"},
        {"INST", start + "(ios\nsystem\n.", "opcode INST (0x69)"},
        {"OBJ", start + "(o.", "opcode OBJ"},
        {"NEWOBJ", start + "))\x81.", "opcode NEWOBJ (0x81)"},
        {"STACK_GLOBAL", start + text("os") + text("system") + "\x93.", "opcode STACK_GLOBAL"},
        {"EXT1", start + "\x82\x01.", "opcode EXT1"},
        {"DUP", start + "}2.", "opcode DUP"},
        {"unknown opcode", start + "\xff.", "opcode unknown (0xff)"},
        {"underflow: tuple", start + "\x87.", "stack underflow"},
        {"underflow: set", start + "s.", "stack underflow"},
        {"underflow: set items", start + "u.", "stack underflow"},
        {"underflow: below a mark", start + "}(s.", "stack underflow"},
        {"underflow: put", start + "q" + build::u8(0) + ".", "stack underflow"},
        {"underflow: reduce", start + ")R.", "stack underflow"},
        {"underflow: build", start + "}b.", "stack underflow"},
        {"underflow: append", start + "]a.", "stack underflow"},
        {"memo unset", start + "h" + build::u8(3) + ".", "memo slot 3, which is empty"},
        {"memo beyond reason", start + "}r" + build::u32(0xffffffff) + ".", "memo slot 4294967295"},
        {"set on a list", start + "]K\1K\1s.", "has a list where a dict"},
        {"append to a dict", start + "}K\1a.", "has a dict where a list"},
        {"odd items", start + "}(K\1u.", "a key without a value"},
        {"call of an integer", start + "K\1)R.", "has an integer where a global"},
        {"call without a tuple", start + global("collections", "OrderedDict") + "]R.", "has a list where a tuple"},
        {"OrderedDict of items", start + global("collections", "OrderedDict") + "]\x85R.", "expected none"},
        {"call of a storage type", start + global("torch", "FloatStorage") + ")R.", "calls a storage type"},
        {"tensor of nothing", start + global("torch._utils", "_rebuild_tensor_v2") + ")R.", "from 0 values, expected 6"},
        {"tensor of other things", start + global("torch._utils", "_rebuild_tensor_v2") + "(NNNNNNtR.", "has None as item 4 where a bool"},
        {"parameter of nothing", start + global("torch._utils", "_rebuild_parameter") + ")R.", "expected 3"},
        {"persistent id", start + text("x") + "\x85Q.", "no storage"},
        {"persistent text", start + text("x") + "Q.", "has text where a tuple"},
        {"storage of no type", start + "(" + text("storage") + global("collections", "OrderedDict") + text("0") + text("cpu") + "K\1tQ.",
         "no storage type"},
        {"global cut short", start + "cos", "cut short"},
        {"text cut short", start + "X" + build::u32(0xfffffff0) + "abc", "cut short"},
        {"text that is not UTF-8", start + text("\xff") + ".", "not UTF-8"},
        {"huge integer",
         start + "\x8a\x09"
                 "123456789.",
         "an integer of 9 bytes"},
        {"many dimensions",
         start + "}" + text("w") + build::tensor({.shape = std::vector<std::int64_t>(17, 1), .strides = std::vector<std::int64_t>(17, 1)}) + "s.",
         "17 dimensions"},
        {"nested state dict", start + "}" + text("state_dict") + "}s.", "a dict under the key 'state_dict'"},
        {"a number under a key", start + "}" + text("epoch") + "K\1s.", "an integer under the key 'epoch'"},
        {"a number as a key", start + "}K\1" + build::tensor({}) + "s.", "an integer as a key"},
        {"nested deeply", start + std::string(200000, '('), "cut short"},
        {"a huge stack", start + std::string(1'100'000, ']'), "values on its stack"},
        {"huge", start + std::string(33'000'000, '}'), "at most 32 MB"},
        {"nested tuples", start + ")" + std::string(200000, '\x85') + ".", "holds a tuple"},
        {"nested lists", start + std::string(100000, ']') + std::string(99999, 'a') + ".", "holds a list"},
    };
    for (auto const& c : cases) {
        CAPTURE(c.what);
        std::string const message = error_of(c.pickle);
        CHECK_MESSAGE(contains(message, c.message), message);
        CHECK(contains(message, "test.pth: the pickle"));
        CHECK(contains(message, "(byte "));
    }
}
