// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <goldfinch/error.hpp>
#include <goldfinch/text/byte_tokenizer.hpp>
#include <goldfinch/text/tokenizer.hpp>
#include <goldfinch/text/world_tokenizer.hpp>

#include "paths.hpp"

namespace gf = goldfinch;
using namespace text_test;

namespace {

static_assert(gf::tokenizer<gf::byte_tokenizer> && gf::tokenizer<gf::world_tokenizer> && !gf::tokenizer<std::string>);

using tokens = std::vector<gf::token>;

std::string random_bytes(std::mt19937_64& random, std::size_t size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(static_cast<unsigned char>(random() >> 56));
    return bytes;
}

/// What loading `contents` throws.
std::string load_message(std::string_view contents) {
    try {
        gf::world_tokenizer::from_text(contents, "some.txt");
    } catch (gf::load_error const& e) {
        return e.what();
    }
    return "no error";
}

bool says(std::string const& message, std::string_view part) {
    INFO(message);
    bool const found = message.find(part) != std::string::npos;
    CHECK(found);
    return found;
}

/// The text of the only token of a vocabulary with one line.
std::string literal(std::string const& written, std::size_t size) {
    return std::string(gf::world_tokenizer::from_text("1 " + written + " " + std::to_string(size)).text(1));
}

/// Greedy longest match as its definition says it: of all texts, the longest that comes next.
class naive_matcher {
public:
    explicit naive_matcher(gf::world_tokenizer const& words) {
        for (gf::token id = 1; id < 65536; ++id) {
            if (!words.text(id).empty()) ids_.emplace(words.text(id), id);
            longest_ = std::max(longest_, words.text(id).size());
        }
    }

    tokens encode(std::string_view text) const {
        tokens out;
        while (!text.empty()) {
            std::size_t size = std::min(longest_, text.size());
            while (ids_.find(text.substr(0, size)) == ids_.end()) --size;
            out.push_back(ids_.find(text.substr(0, size))->second);
            text.remove_prefix(size);
        }
        return out;
    }

private:
    std::map<std::string_view, gf::token> ids_;
    std::size_t longest_ = 0;
};

}  // namespace

TEST_CASE("byte tokenizer: bytes are tokens") {
    gf::byte_tokenizer const bytes;
    CHECK(bytes.encode("").empty());
    CHECK(bytes.encode(std::string_view("a\0\xff", 3)) == tokens{97, 0, 255});
    std::mt19937_64 random(1);
    for (std::size_t size : {0u, 1u, 7u, 1000u}) {
        std::string const text = random_bytes(random, size);
        CHECK(bytes.decode(bytes.encode(text)) == text);
    }
    CHECK(bytes.decode(tokens{72, 256, 105, 0xffffffff}) == "Hi");  // ids above 255 have no text
}

TEST_CASE("world tokenizer: longest match with a small vocabulary") {
    gf::world_tokenizer const words(small_vocabulary());
    CHECK(words.encode("").empty());
    auto const texts = [&](std::string_view text) {
        std::vector<std::string> out;
        for (gf::token const id : words.encode(text)) out.emplace_back(words.text(id));
        return out;
    };
    using list = std::vector<std::string>;
    CHECK(texts("To be, or not to be") == list{"To", " be", ",", " ", "o", "r", " ", "n", "o", "t", " ", "to", " be"});
    CHECK(texts("there, ther the") == list{"there,", " the", "r", " the"});
    CHECK(texts("123") == list{"12", "3"});
    CHECK(texts("\xc3\xa9\xc3\xa9\xc3\xa9") == list{"\xc3\xa9\xc3\xa9", "\xc3\xa9"});
    CHECK(texts("\xf0\x9f\x98\x80 \xf0\x9f\x98") == list{"\xf0\x9f\x98\x80", " ", "\xf0\x9f", "\x98"});
    CHECK(texts("it's! it's") == list{"it's!", " ", "it's"});
    CHECK(texts("ab\xff" "ab") == list{"ab\xff", "a", "b"});

    CHECK(words.decode(tokens{0, 183, 61, 0xffffffff, 189}) == "to be");  // 0, 61 and what lies past the end have no text
    CHECK(words.text(0).empty());
    CHECK(words.text(182).empty());
    CHECK(words.text(70000).empty());

    gf::world_tokenizer const copy = words;
    CHECK(copy.text(183).data() == words.text(183).data());
}

TEST_CASE("world tokenizer: a byte no token begins with") {
    gf::world_tokenizer const words(small_vocabulary());
    try {
        (void)words.encode("to Zoe");
        FAIL("no error");
    } catch (gf::token_error const& e) {
        says(e.what(), "byte 90 at offset 3");
        says(e.what(), "small_vocab.txt");
    }
}

TEST_CASE("world tokenizer: literals are parsed as Python would") {
    CHECK(literal("'a'", 1) == "a");
    CHECK(literal("\"it's\"", 4) == "it's");
    CHECK(literal(R"('\\\'\"\n\r\t\a\b\f\v')", 10) == "\\'\"\n\r\t\a\b\f\v");
    CHECK(literal(R"('\x41\x7f\x80\xff')", 6) == "A\x7f\xc2\x80\xc3\xbf");
    CHECK(literal(R"(b'\x41\x80\xff\x00')", 4) == std::string("A\x80\xff\0", 4));
    CHECK(literal(R"('\u00e9\u20ac\U0001F600')", 9) == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    CHECK(literal(R"('\U0010ffff\ud7ff\ue000')", 10) == "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80");
    CHECK(literal(R"('\0\7\101\1018\777')", 7) == std::string("\0\7AA8\xc7\xbf", 7));
    CHECK(literal(R"(b'\0\377\12x')", 4) == std::string("\0\xff\nx", 4));
    CHECK(literal("'\xe6\x97\xa5'", 3) == "\xe6\x97\xa5");
    CHECK(literal("b\"'\"", 1) == "'");
    CHECK(literal("' '", 1) == " ");
    CHECK(literal("' 2'", 2) == " 2");
}

TEST_CASE("world tokenizer: line ends") {
    for (std::string_view file : {"1 'a' 1\n2 'b' 1\n", "1 'a' 1\n2 'b' 1", "1 'a' 1\r\n2 'b' 1\r\n", "2 'b' 1\n1 'a' 1\n"}) {
        CHECK(gf::world_tokenizer::from_text(file).encode("ab") == tokens{1, 2});
    }
}

TEST_CASE("world tokenizer: malformed lines are named") {
    struct wrong {
        std::string_view line, sentence;
    };
    for (wrong const& w : std::initializer_list<wrong>{
             {"", "expected `index 'text' byte-length`, found ``"},
             {"2", "expected `index"},
             {"2 ", "expected `index"},
             {"2 'b'", "expected `index"},
             {"2 'b' ", "expected `index"},
             {"2 'b' 1 ", "expected `index"},
             {"2 'b' 1 1", "expected `index"},
             {"2 'b' x", "expected `index"},
             {"2 'b' -1", "expected `index"},
             {"2 'b' 1.0", "expected `index"},
             {"2 'b'1", "expected `index"},
             {"2'b' 1", "expected `index"},
             {"2  'b' 1", "expected `index"},
             {" 2 'b' 1", "expected `index"},
             {"two 'b' 1", "expected `index"},
             {"-2 'b' 1", "expected `index"},
             {"+2 'b' 1", "expected `index"},
             {"2 b 1", "expected `index"},
             {"2 r'b' 1", "expected `index"},
             {"2 f'b' 1", "expected `index"},
             {"2 'b' + 'c' 2", "expected `index"},
             {"2 '''b''' 1", "the text is empty"},
             {"2 print() 1", "expected `index"},
             {"version https://git-lfs.github.com/spec/v1 and more of this", "found `version https://git-lfs.github.com/spec/...`"},
             {"<!doctype html>", "found `<!doctype html>`"},
             {"\x80\x01", "found `?""?`"},
             {"2 '' 0", "the text is empty"},
             {"2 b'' 0", "the text is empty"},
             {"2 'b", "no closing quote"},
             {"2 'b\\' 1", "no closing quote"},
             {"2 'b\" 1", "no closing quote"},
             {"2 'b\\", "expected `index"},
             {"2 'b' 2", "the text has 1 bytes, the line says 2"},
             {"2 '\xc3\xa9' 1", "the text has 2 bytes, the line says 1"},
             {"2 '\\x80' 1", "the text has 2 bytes, the line says 1"},
             {"2 'b' 4294967297", "a number does not fit 32 bits"},
             {"99999999999999999999 'b' 1", "a number does not fit 32 bits"},
             {"0 'b' 1", "id 0 is the end of text"},
             {"1048577 'b' 1", "id 1048577 is larger than 1048576"},
             {"4294967295 'b' 1", "is larger than 1048576"},
             {"1 'b' 1", "id 1 is repeated"},
             {"2 'a' 1", "the text of line 1 is repeated"},
             {"2 b'\\x61' 1", "the text of line 1 is repeated"},
             {"2 '\\q' 1", "unknown escape"},
             {"2 '\\N{DASH}' 1", "unknown escape"},
             {"2 '\\8' 1", "unknown escape"},
             {"2 b'\\u0041' 1", "unknown escape"},
             {"2 b'\\U00000041' 1", "unknown escape"},
             {"2 '\\x4' 1", "2 hexadecimal digits"},
             {"2 '\\x", "2 hexadecimal digits"},
             {"2 '\\x-1' 1", "2 hexadecimal digits"},
             {"2 '\\u004' 1", "4 hexadecimal digits"},
             {"2 '\\U0000004' 1", "8 hexadecimal digits"},
             {"2 '\\ud800' 3", "no Unicode character"},
             {"2 '\\udfff' 3", "no Unicode character"},
             {"2 '\\U00110000' 4", "no Unicode character"},
             {"2 '\\Uffffffff' 4", "no Unicode character"},
             {"2 b'\\400' 1", "larger than a byte"},
             {"2 b'\xc3\xa9' 2", "not ASCII"},
             {"2 '\xc3' 1", "not valid UTF-8"},
             {"2 '\xff' 1", "not valid UTF-8"},
             {"2 '\xed\xa0\x80' 3", "not valid UTF-8"},
         }) {
        CAPTURE(w.line);
        std::string const message = load_message("1 'a' 1\n" + std::string(w.line) + "\n3 'c' 1\n");
        says(message, "some.txt, line 2: ");
        says(message, w.sentence);
    }
    says(load_message("7 'same' 4\n9 'a' 1\n3 'same' 4\n"), "line 3: the text of line 1 is repeated");
    says(load_message("1 'a' 1\n\n"), "line 2: expected");
    says(load_message(""), "some.txt is empty");
    says(load_message(std::string((16u << 20) + 1, ' ')), "larger than 16 MiB");
}

TEST_CASE("world tokenizer: files that are none") {
    auto const message = [](std::filesystem::path const& path) {
        try {
            gf::world_tokenizer const words(path);
        } catch (gf::load_error const& e) {
            return std::string(e.what());
        }
        return std::string("no error");
    };
    says(message("/nowhere/vocab.txt"), "/nowhere/vocab.txt: no such file");
    says(message(source_dir()), "is a directory");
    auto const empty = std::filesystem::temp_directory_path() / "goldfinch_empty_vocab.txt";
    std::ofstream(empty).flush();
    says(message(empty), "goldfinch_empty_vocab.txt is empty");
    std::filesystem::remove(empty);
}

TEST_CASE("world tokenizer: the official vocabulary") {
    auto const path = official_vocabulary();
    if (path.empty()) {
        MESSAGE("skipped: no rwkv_vocab_v20230424.txt (name it in GOLDFINCH_VOCAB)");
        return;
    }
    using clock = std::chrono::steady_clock;
    auto const begin = clock::now();
    gf::world_tokenizer const words(path);
    MESSAGE("loaded in " << std::chrono::duration<double, std::milli>(clock::now() - begin).count() << " ms");

    CHECK(words.text(1) == std::string_view("\0", 1));
    CHECK(words.text(261) == "\n\n");
    CHECK(words.text(256) == "\xff");
    CHECK(words.text(65527) == std::string(80, '#'));
    CHECK(words.text(65529) == std::string(128, ' '));
    CHECK(words.text(65530).empty());
    for (gf::token id = 1; id <= 65529; ++id) {
        gf::token const one[] = {id};
        if (words.encode(words.text(id)) != tokens{id} || words.decode(one) != words.text(id)) FAIL_CHECK("token " << id);
    }

    naive_matcher const naive(words);
    std::mt19937_64 random(2);
    for (int i = 0; i < 200; ++i) {
        std::string const text = random_bytes(random, random() % 300);
        tokens const encoded = words.encode(text);
        REQUIRE(encoded == naive.encode(text));
        REQUIRE(words.decode(encoded) == text);
    }
    // Text glued from tokens, cut anywhere, has long matches and near misses.
    for (int i = 0; i < 200; ++i) {
        std::string text;
        for (int n = 0; n < 50; ++n) {
            std::string_view const piece = words.text(static_cast<gf::token>(1 + random() % 65529));
            text += piece.substr(0, 1 + random() % piece.size());
        }
        tokens const encoded = words.encode(text);
        REQUIRE(encoded == naive.encode(text));
        REQUIRE(words.decode(encoded) == text);
    }

    auto const shakespeare = path.parent_path() / "shakespeare.txt";
    if (!std::filesystem::exists(shakespeare)) {
        MESSAGE("skipped: no shakespeare.txt beside the vocabulary");
        return;
    }
    std::string const text = contents(shakespeare);
    auto const start = clock::now();
    tokens const encoded = words.encode(text);
    double const seconds = std::chrono::duration<double>(clock::now() - start).count();
    MESSAGE("encoded " << text.size() << " bytes into " << encoded.size() << " tokens at "
                       << static_cast<double>(text.size()) / 1e6 / seconds << " MB/s");
    CHECK(words.decode(encoded) == text);
    std::string_view const part = std::string_view(text).substr(0, 200'000);  // the naive way takes its time
    CHECK(words.encode(part) == naive.encode(part));
}
