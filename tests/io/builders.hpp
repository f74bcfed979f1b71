// SPDX-License-Identifier: Apache-2.0
// Small writers of checkpoint files, honest and hostile, for the tests of goldfinch/io.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/io/checkpoint.hpp>

namespace build {

template <std::unsigned_integral T>
std::string little(T value) {
    std::string result;
    for (std::size_t i = 0; i < sizeof(T); ++i) result += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
    return result;
}
inline std::string u8(std::size_t n) { return little(static_cast<std::uint8_t>(n)); }
inline std::string u16(std::size_t n) { return little(static_cast<std::uint16_t>(n)); }
inline std::string u32(std::size_t n) { return little(static_cast<std::uint32_t>(n)); }
inline std::string u64(std::size_t n) { return little(static_cast<std::uint64_t>(n)); }

// --- safetensors

/// A header, which may be anything, and data.
inline std::string safetensors(std::string const& header, std::string const& data = {}) { return u64(header.size()) + header + data; }

/// A valid file of three tensors and metadata.
inline std::string small_safetensors() {
    return safetensors(
        R"({"__metadata__":{"note":"a \"b\" \u00e9\ud83d\ude00"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
        R"("b.weight":{"dtype":"BF16","shape":[1,1,4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}  )",
        "0123456789abcdefghijklmnopqrstuvwxyz,.-_");
}

// --- zip

struct zip_file {
    std::string name, data;
    std::uint16_t flags = 0, method = 0;
    std::size_t padding = 0;  // bytes of extra field in the local header
    std::optional<std::uint32_t> crc = {};
    std::optional<std::uint64_t> size = {};        // what the directory says, if not the truth
    std::optional<std::uint32_t> local_size = {};  // what the local header says
    std::optional<std::string> local_name = {};
};

struct zip_options {
    bool zip64 = false;
    std::string comment = {};
    std::string before_directory = {};
};

inline std::string zip(std::vector<zip_file> const& files, zip_options const& options = {}) {
    std::string out, directory;
    for (zip_file const& f : files) {
        std::size_t const at = out.size(), size = f.size.value_or(f.data.size());
        std::uint32_t const crc = f.crc.value_or(goldfinch::io::crc32(std::as_bytes(std::span(f.data))));
        std::string const name = f.local_name.value_or(f.name);
        std::size_t const local = f.local_size.value_or(static_cast<std::uint32_t>(f.data.size()));
        out += "PK\3\4" + u16(20) + u16(f.flags) + u16(f.method) + u32(0) + u32(crc) + u32(local) + u32(local) + u16(name.size()) + u16(f.padding) +
               name + std::string(f.padding, 'F') + f.data;
        std::string const extra = options.zip64 ? u16(1) + u16(24) + u64(size) + u64(size) + u64(at) : "";
        auto const narrow = [&](std::size_t n) { return u32(options.zip64 ? 0xffffffff : n); };
        directory += "PK\1\2" + u16(20) + u16(20) + u16(f.flags) + u16(f.method) + u32(0) + u32(crc) + narrow(size) + narrow(size) +
                     u16(f.name.size()) + u16(extra.size()) + u16(0) + u16(0) + u16(0) + u32(0) + narrow(at) + f.name + extra;
    }
    out += options.before_directory;
    std::size_t const begin = out.size();
    out += directory;
    if (options.zip64) {
        std::size_t const at = out.size();
        out += "PK\6\6" + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(files.size()) + u64(files.size()) + u64(directory.size()) + u64(begin);
        out += "PK\6\7" + u32(0) + u64(at) + u32(1);
    }
    std::size_t const count = options.zip64 ? 0xffff : files.size();
    return out + "PK\5\6" + u16(0) + u16(0) + u16(count) + u16(count) + u32(options.zip64 ? 0xffffffff : directory.size()) +
           u32(options.zip64 ? 0xffffffff : begin) + u16(options.comment.size()) + options.comment;
}

// --- pickle

inline std::string text(std::string_view s) { return "X" + u32(s.size()) + std::string(s); }
inline std::string integer(std::int64_t n) { return "\x8a\x08" + little(static_cast<std::uint64_t>(n)); }
inline std::string global(std::string_view module, std::string_view name) { return "c" + std::string(module) + "\n" + std::string(name) + "\n"; }
inline std::string integers(std::vector<std::int64_t> const& list) {
    std::string result = "(";
    for (std::int64_t const n : list) result += integer(n);
    return result + "t";
}
inline std::string const new_ordered_dict = global("collections", "OrderedDict") + ")R";

struct torch_tensor {
    std::string name = "w", key = "0", type = "FloatStorage";
    std::int64_t elements = 6, offset = 0;
    std::vector<std::int64_t> shape = {2, 3}, strides = {3, 1};
};

/// The opcodes that push a tensor.
inline std::string tensor(torch_tensor const& t) {
    return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") + global("torch", t.type) + text(t.key) + text("cpu") +
           integer(t.elements) + "tQ" + integer(t.offset) + integers(t.shape) + integers(t.strides) + "\x89" + new_ordered_dict + "tR";
}

/// A whole pickle: protocol 2, an OrderedDict of the tensors.
inline std::string state_dict(std::vector<torch_tensor> const& tensors) {
    std::string result = "\x80\x02" + new_ordered_dict + "q" + u8(0) + "(";
    for (torch_tensor const& t : tensors) result += text(t.name) + tensor(t);
    return result + "u}" + text("_metadata") + new_ordered_dict + "sb.";
}

/// A torch.save archive with this pickle and storage '0' of 24 bytes, '1' of 8.
inline std::string torch_archive(std::string const& pickle, zip_options const& options = {}) {
    return zip({{.name = "archive/data.pkl", .data = pickle},
                {.name = "archive/byteorder", .data = "little"},
                {.name = "archive/data/0", .data = "0123456789abcdefghijklmn", .padding = 7},
                {.name = "archive/data/1", .data = "ABCDEFGH"},
                {.name = "archive/version", .data = "3\n"}},
               options);
}

/// A valid archive of two tensors.
inline std::string small_torch(zip_options const& options = {}) {
    return torch_archive(state_dict({{}, {.name = "v.weight", .key = "1", .type = "BFloat16Storage", .elements = 4, .shape = {4}, .strides = {1}}}),
                         options);
}

// --- reading

/// Reads bytes that lie in a heap block of exactly their size, so that a sanitizer sees the first byte too many.
inline goldfinch::checkpoint parse(std::span<std::byte const> bytes) {
    std::shared_ptr<std::byte[]> const copy(new std::byte[bytes.size()]);
    if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
    return goldfinch::read_checkpoint({copy.get(), bytes.size()}, "test.file", copy);
}
inline goldfinch::checkpoint parse(std::string const& bytes) { return parse(std::as_bytes(std::span(bytes))); }

/// What an error of that type says that f() throws; empty if it throws none.
template <class Error, class F>
std::string message_of(F const& f) {
    try {
        f();
        return "";
    } catch (Error const& e) {
        return e.what();
    }
}

/// The load_error's text; empty if it loads.
inline std::string error_of(std::string const& bytes) {
    return message_of<goldfinch::load_error>([&] { parse(bytes); });
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }
inline std::string_view bytes_of(goldfinch::stored_tensor const& t) { return goldfinch::io::as_text(t.bytes); }

/// The name and shape of a tensor, without its bytes.
inline goldfinch::stored_tensor shaped(std::string const& name, std::vector<std::uint64_t> const& shape) {
    return {.name = name, .type = goldfinch::dtype::f32, .type_name = "F32", .shape = shape, .bytes = {}, .offset = 0};
}

/// A checkpoint of names and shapes only.
inline goldfinch::checkpoint names(std::vector<goldfinch::stored_tensor> tensors) {
    std::ranges::sort(tensors, {}, &goldfinch::stored_tensor::name);
    return {.path = "names.only", .tensors = std::move(tensors), .metadata = {}, .storage = {}, .format = {}, .file_size = 0};
}

/// What it takes to be known as n blocks of Finch-C2, 64 wide.
inline goldfinch::checkpoint finch_c2_names(int n) {
    std::vector<goldfinch::stored_tensor> tensors{shaped("emb.weight", {256, 64})};
    for (int l = 0; l < n; ++l) tensors.push_back(shaped("blocks." + std::to_string(l) + ".att.time_value2_w1", {64, 64}));
    return names(std::move(tensors));
}

/// A fresh directory, removed with all in it at the end.
class temporary_directory {
public:
    temporary_directory() {
        static std::atomic<unsigned> counter{0};
        std::filesystem::path const base = std::filesystem::temp_directory_path();
        do path_ = base / ("goldfinch_io_" + std::to_string(counter++));
        while (!std::filesystem::create_directory(path_));
    }
    temporary_directory(temporary_directory const&) = delete;
    temporary_directory& operator=(temporary_directory const&) = delete;
    ~temporary_directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::filesystem::path path(std::string_view name) const { return path_ / name; }
    std::filesystem::path file(std::string_view name, std::string const& bytes) const {
        std::ofstream(path(name), std::ios::binary) << bytes;
        return path(name);
    }

private:
    std::filesystem::path path_;
};

inline std::string file_text(std::filesystem::path const& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The golden vectors: $GOLDFINCH_GOLDEN_DIR, or ../shared/golden beside the repository. Empty where they are not.
inline std::filesystem::path golden_directory() {
    std::vector<std::filesystem::path> places;
    if (char const* set = std::getenv("GOLDFINCH_GOLDEN_DIR")) places.emplace_back(set);
#ifdef GOLDFINCH_GOLDEN_DIR
    places.emplace_back(GOLDFINCH_GOLDEN_DIR);
#endif
    std::filesystem::path const here = std::filesystem::absolute(__FILE__).parent_path();  // tests/io
    places.push_back(here / "../../../shared/golden");
    for (auto const& place : places)
        if (std::filesystem::exists(place / "goldfinch_tiny")) return place.lexically_normal();
    return {};
}

}  // namespace build
