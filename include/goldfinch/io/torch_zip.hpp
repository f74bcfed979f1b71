// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/order.hpp>
#include <goldfinch/io/pickle.hpp>
#include <goldfinch/io/stored_tensor.hpp>
#include <goldfinch/io/zip.hpp>

namespace goldfinch::io {

/// Turns the strided windows of a torch.save archive into row-major tensors: views of the file where they are contiguous,
/// copies where they are not.
template <class OnDemand = void>
class torch_archive {
public:
    torch_archive(std::span<std::byte const> bytes, std::filesystem::path const& path, zip_directory<> const& zip, std::string_view root)
        : path_(path), zip_(zip), root_(root), copies_left_(bytes.size()) {}

    stored_tensor tensor(pickled_tensor const& t) {
        std::uint64_t const element = t.type->size;
        zip_entry const* const entry = zip_.find(message({root_, "/data/", t.storage}));
        if (!entry) fail(path_, {"tensor ", in_quotes(t.name), " lies in the storage ", in_quotes(t.storage), ", but the archive has no such entry"});
        complaint const wrong{path_, "tensor", t.name, entry->begin};
        if (checked_multiply(t.storage_elements, element) != entry->size) {
            wrong({"in storage ", in_quotes(entry->name), " expects ", t.storage_elements, " elements of ", t.type->name, ", but the entry has ",
                   entry->size, " bytes"});
        }
        auto const size = byte_count(t.shape, element);
        if (!size || !in_range(t)) {
            wrong({"in storage ", in_quotes(entry->name), " reaches beyond it: shape ", shape_text(t.shape), ", strides ", shape_text(t.strides),
                   ", offset ", t.storage_offset, ", storage of ", t.storage_elements, " elements"});
        }
        stored_tensor result{.name = std::string(t.name),
                             .type = t.type->type,
                             .type_name = std::string(t.type->name),
                             .shape = t.shape,
                             .bytes = {},
                             .offset = entry->begin};
        if (*size == 0) return result;
        result.offset += t.storage_offset * element;
        auto const window = zip_.data(*entry).subspan(static_cast<std::size_t>(t.storage_offset * element));
        if (contiguous(t)) {
            result.bytes = window.first(static_cast<std::size_t>(*size));
        } else {
            // Overlapping strides can describe far more elements than the file has: then it is no checkpoint.
            if (*size > copies_left_)
                wrong({"in storage ", in_quotes(entry->name), " is not contiguous and would need ", *size,
                       " bytes of memory, more than is left of the file's size"});
            copies_left_ -= *size;
            result.bytes = copy(window, t, static_cast<std::size_t>(*size));
        }
        return result;
    }

    /// What the tensors made so far need beside the file.
    std::vector<std::unique_ptr<std::byte[]>> take_copies() { return std::move(copies_); }

private:
    /// Whether the last element lies in the storage. Needs byte_count to fit: then no extent is zero unless nothing is read.
    static bool in_range(pickled_tensor const& t) {
        std::optional<std::uint64_t> last = t.storage_offset;
        for (std::size_t i = 0; i < t.shape.size(); ++i) {
            if (t.shape[i] == 0) return t.storage_offset <= t.storage_elements;
            auto const reach = checked_multiply(t.shape[i] - 1, t.strides[i]);
            last = last && reach ? checked_add(*last, *reach) : std::nullopt;
        }
        return last && *last < t.storage_elements;
    }

    static bool contiguous(pickled_tensor const& t) {
        std::uint64_t expected = 1;
        for (std::size_t i = t.shape.size(); i-- > 0;) {
            if (t.shape[i] != 1 && t.strides[i] != expected) return false;
            expected *= t.shape[i];
        }
        return true;
    }

    std::span<std::byte const> copy(std::span<std::byte const> source, pickled_tensor const& t, std::size_t size) {
        auto const element = static_cast<std::size_t>(t.type->size);
        copies_.emplace_back(new std::byte[size]);
        std::byte* const target = copies_.back().get();
        std::vector<std::uint64_t> index(t.shape.size(), 0);
        std::uint64_t from = 0;
        for (std::size_t to = 0; to < size; to += element) {
            std::memcpy(target + to, source.data() + from * element, element);
            for (std::size_t i = index.size(); i-- > 0;) {
                from += t.strides[i];
                if (++index[i] < t.shape[i]) break;
                from -= t.strides[i] * t.shape[i];
                index[i] = 0;
            }
        }
        return {target, size};
    }

    std::filesystem::path const& path_;
    zip_directory<> const& zip_;
    std::string_view root_;
    std::uint64_t copies_left_;  // bytes
    std::vector<std::unique_ptr<std::byte[]>> copies_;
};

/// The folder that everything in a torch.save archive lies in: that of its one data.pkl.
template <class OnDemand = void>
std::string_view torch_root(zip_directory<> const& zip, std::filesystem::path const& path) {
    constexpr std::string_view suffix = "/data.pkl";
    std::string_view root;
    for (zip_entry const& entry : zip.entries()) {
        if (!entry.name.ends_with(suffix) || entry.name.find('/') != entry.name.size() - suffix.size()) continue;
        if (!root.empty())
            fail(path, {"a zip archive with more than one data.pkl, ", in_quotes(root), " and ", in_quotes(entry.name), at_byte(entry.header)});
        root = entry.name.substr(0, entry.name.size() - suffix.size());
    }
    if (root.empty())
        fail(path, {"a zip archive of ", zip.entries().size(), " entries, but not one that torch.save wrote: no <folder>/data.pkl in it"});
    return root;
}

/// Reads a PyTorch zip archive (torch.save of a state dict) from memory; `storage` keeps the bytes alive. Nothing in it is
/// executed. The weights' own checksums are not verified: that would read every page of a file that is mapped so that pages
/// are read when they are used. Throws load_error. Source: torch/serialization.py.
template <class OnDemand = void>
checkpoint read_torch_zip(std::span<std::byte const> bytes, std::filesystem::path const& path, std::shared_ptr<void const> storage) {
    zip_directory const zip(bytes, path);
    std::string_view const root = torch_root(zip, path);
    if (zip_entry const* order = zip.find(message({root, "/byteorder"}))) {
        std::string_view const text = as_text(zip.data(*order));
        if (!text.starts_with("little")) fail(path, {"has the byte order ", in_quotes(text), ", expected 'little'", at_byte(order->begin)});
    }
    if (zip.find(message({root, "/constants.pkl"})))
        fail(path, {"is a TorchScript program, expected the state dict of a model: torch.save(model.state_dict(), path)"});

    zip_entry const& pickle = *zip.find(message({root, "/data.pkl"}));
    if (auto const crc = crc32(zip.data(pickle)); crc != pickle.crc) {
        fail(path,
             {"the checksum of ", in_quotes(pickle.name), " is ", crc, ", expected ", pickle.crc, ": the file is damaged", at_byte(pickle.begin)});
    }

    checkpoint result{.path = path, .tensors = {}, .metadata = {}, .storage = {}, .format = "PyTorch zip archive", .file_size = bytes.size()};
    torch_archive archive(bytes, path, zip, root);
    std::vector<pickled_tensor> const tensors = state_dict_pickle(zip.data(pickle), path, pickle.begin).read();
    for (place const& p : sorted_by_name(tensors)) result.tensors.push_back(archive.tensor(tensors[p.index]));

    using owner = std::pair<std::shared_ptr<void const>, std::vector<std::unique_ptr<std::byte[]>>>;
    result.storage = std::make_shared<owner>(std::move(storage), archive.take_copies());
    return result;
}

}  // namespace goldfinch::io
