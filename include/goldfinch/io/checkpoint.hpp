// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/mapped_file.hpp>
#include <goldfinch/io/require_tensors.hpp>
#include <goldfinch/io/safetensors.hpp>
#include <goldfinch/io/stored_tensor.hpp>
#include <goldfinch/io/torch_zip.hpp>

namespace goldfinch {

namespace io {

/// For a file that is no checkpoint: what it seems to be and what was expected, such as "is a PDF document; expected ...", to follow
/// the file's name in a message. Empty where its bytes say nothing.
template <class OnDemand = void>
std::string name_other_format(std::string_view bytes) {
    struct signature {
        std::size_t at;
        std::string_view bytes, meaning;
    };
    using namespace std::string_view_literals;
    static constexpr std::string_view convert = "; expected safetensors, or a .pth as torch.save writes it";
    static constexpr signature signatures[] = {
        {0, "version https://git-lfs"sv, "is a git-lfs pointer, not the file itself: fetch it with 'git lfs pull'"sv},
        {0, "gfsessn\n"sv, "is a session of goldfinch, not a model"sv},
        {0, "GGUF"sv, "is a gguf file (llama.cpp)"sv},
        {0, "lmgg"sv, "is a ggml file"sv},
        {0, "fmgg"sv, "is a ggmf file (rwkv.cpp)"sv},
        {0, "tjgg"sv, "is a ggjt file"sv},
        {0, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv,
         "is a .pth of PyTorch before 1.6, not a zip archive: load it in PyTorch and save it again with torch.save(state_dict, path)"sv},
        {0, "\x89HDF\r\n"sv, "is an HDF5 file"sv},
        {0, "\x93NUMPY"sv, "is a NumPy array"sv},
        {0, "\x1f\x8b"sv, "is compressed with gzip: unpack it first"sv},
        {0, "\x28\xb5\x2f\xfd"sv, "is compressed with zstd: unpack it first"sv},
        {0,
         "\xfd"
         "7zXZ"sv,
         "is compressed with xz: unpack it first"sv},
        {0, "BZh"sv, "is compressed with bzip2: unpack it first"sv},
        {257, "ustar"sv, "is a tar archive: unpack it first"sv},
        {0, "%PDF"sv, "is a PDF document"sv},
    };
    for (signature const& s : signatures)
        if (bytes.size() > s.at && bytes.substr(s.at).starts_with(s.bytes))
            return message({s.meaning, s.meaning.find(": ") == s.meaning.npos ? convert : ""});

    std::string start(bytes.substr(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()), 16));
    for (char& c : start) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (start.starts_with("<!doctype html") || start.starts_with("<html"))
        return "is an HTML page, probably what a server said instead of the file: check the address it came from";
    if (start.starts_with("<?xml")) return message({"is an XML document", convert});
    bool text = true;
    for (char const c : bytes.substr(0, 64)) text = text && ((c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t');
    if (text && (start.starts_with('{') || start.starts_with('['))) {
        bool const index = bytes.substr(0, 4096).find("\"weight_map\"") != bytes.npos;
        return message({index ? "is the index of a model in several files, which is not supported" : "is a JSON text", convert});
    }
    return text ? message({"is a text", convert}) : "";
}

}  // namespace io

/// Reads a checkpoint from memory, by its content: safetensors or a PyTorch zip archive. `path` is for messages, `storage`
/// keeps the bytes alive as long as the result. Throws load_error; a file of another kind is named for what it is.
template <class OnDemand = void>
checkpoint read_checkpoint(std::span<std::byte const> bytes, std::filesystem::path const& path, std::shared_ptr<void const> storage) {
    using namespace std::string_view_literals;
    std::string_view const text = io::as_text(bytes);
    if (text.empty()) io::fail(path, {"is empty (0 bytes), expected a checkpoint"});
    if (text.starts_with("PK\x03\x04"sv) || text.starts_with("PK\x05\x06"sv)) return io::read_torch_zip(bytes, path, std::move(storage));
    // A header of a plausible length decides before any signature, which its length could look like.
    bool const brace = text.size() > 8 && text[8] == '{';
    if (brace && io::byte_reader(bytes, path, 0, "").number<std::uint64_t>() <= io::most_header_bytes)
        return io::read_safetensors(bytes, path, std::move(storage));
    if (std::string const other = io::name_other_format(text); !other.empty()) io::fail(path, {other});
    if (brace) return io::read_safetensors(bytes, path, std::move(storage));
    if (text.size() < 9) io::fail(path, {"has ", text.size(), " bytes, too few for a checkpoint: the file is cut short"});
    if (text[0] == '\x80' && text[1] >= '\x02' && text[1] <= '\x05')
        io::fail(path, {"is a bare pickle, expected safetensors or a .pth as torch.save writes it (a zip archive)"});
    io::fail(path, {"is neither safetensors (a header length, then '{' at byte 8) nor a zip archive as torch.save writes it: it starts with ",
                    io::in_quotes(text.substr(0, 16))});
}

/// Reads a checkpoint file; the tensors lie in its mapping. As above.
template <class OnDemand = void>
checkpoint read_checkpoint(std::filesystem::path const& path) {
    auto const file = std::make_shared<mapped_file<> const>(path);
    return read_checkpoint(file->bytes(), path, file);
}

}  // namespace goldfinch
