// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/order.hpp>

namespace goldfinch::io {

/// An entry of a zip archive: stored, so its bytes are the file's.
struct zip_entry {
    std::string_view name;     // lies in the archive
    std::uint64_t header = 0;  // file offset of its local header
    std::uint64_t begin = 0;   // file offset of its data
    std::uint64_t size = 0;    // bytes
    std::uint32_t crc = 0;
};

/// CRC-32 as zip uses it (reflected polynomial 0xedb88320).
template <class OnDemand = void>
std::uint32_t crc32(std::span<std::byte const> bytes) {
    static constexpr auto table = [] {
        std::array<std::uint32_t, 256> t{};
        for (std::uint32_t i = 0; i < 256; ++i) {
            t[i] = i;
            for (int k = 0; k < 8; ++k) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0xedb88320u : 0u);
        }
        return t;
    }();
    std::uint32_t crc = 0xffffffffu;
    for (std::byte const b : bytes) crc = table[(crc ^ static_cast<std::uint32_t>(b)) & 0xff] ^ crc >> 8;
    return ~crc;
}

/// The directory of an uncompressed zip or zip64 archive. Everything it says is checked against the file: all entries are in
/// range, none overlaps another or the directory, no name comes twice. Source: PKWARE's APPNOTE 6.3.
template <class OnDemand = void>
class zip_directory {
public:
    /// Throws load_error, also for entries that are compressed or encrypted.
    zip_directory(std::span<std::byte const> bytes, std::filesystem::path const& path) : bytes_(bytes), path_(path) {
        read_entries(find_directory());
        check_overlap();
        auto const order = sorted_by_name(entries());
        if (place const* const twice = find_twice(order))
            fail(path_, {"the zip entry ", in_quotes(twice->name), " twice", at_byte(entries_[twice->index].header)});
        std::vector<zip_entry> sorted;
        sorted.reserve(order.size());
        for (place const& p : order) sorted.push_back(entries_[p.index]);
        entries_.swap(sorted);
    }

    std::vector<zip_entry> const& entries() const { return entries_; }  ///< sorted by name

    /// The entry of that name, or nullptr.
    zip_entry const* find(std::string_view name) const { return io::find(entries(), name); }

    std::span<std::byte const> data(zip_entry const& entry) const {
        return bytes_.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.size));
    }

private:
    struct range {
        std::uint64_t begin = 0, size = 0, count = 0;
    };

    static constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                                   end64_signature = 0x06064b50, locator_signature = 0x07064b50;
    static constexpr std::uint32_t full32 = 0xffffffff;  // "see the zip64 field"
    static constexpr std::uint16_t full16 = 0xffff;
    static constexpr std::size_t end_size = 22, locator_size = 20, end64_size = 56, central_size = 46, longest_name = 4096;

    byte_reader reader_at(std::uint64_t offset, std::string_view what) const {
        if (offset > bytes_.size()) fail(path_, {what, " lies beyond the file, which has ", bytes_.size(), " bytes", at_byte(offset)});
        return {bytes_.subspan(static_cast<std::size_t>(offset)), path_, offset, what};
    }

    /// The end record is the last thing in the file but for a comment of at most 64 KiB, whose length it holds.
    std::uint64_t find_end() const {
        for (std::size_t comment = 0; comment + end_size <= bytes_.size() && comment <= full16; ++comment) {
            std::size_t const at = bytes_.size() - end_size - comment;
            if (bytes_[at] != std::byte{'P'} || bytes_[at + 1] != std::byte{'K'}) continue;
            byte_reader reader = reader_at(at, "the zip's end record");
            if (reader.number<std::uint32_t>() != end_signature) continue;
            reader.take(16);
            if (reader.number<std::uint16_t>() == comment) return at;
        }
        fail(path_, {"a zip archive without its directory at the end: the file is cut short or damaged"});
    }

    range find_directory() const {
        std::uint64_t end = find_end();
        byte_reader reader = reader_at(end + 4, "the zip's end record");
        auto const disk = reader.number<std::uint16_t>(), start_disk = reader.number<std::uint16_t>();
        auto const here = reader.number<std::uint16_t>(), count = reader.number<std::uint16_t>();
        auto const size = reader.number<std::uint32_t>(), begin = reader.number<std::uint32_t>();
        if ((disk != 0 && disk != full16) || (start_disk != 0 && start_disk != full16) || here != count)
            fail(path_, {"a zip archive in several parts", at_byte(end)});
        range result{begin, size, count};
        if (auto const wide = find_directory64(end)) {
            bool const agrees = (begin == full32 || begin == wide->directory.begin) && (size == full32 || size == wide->directory.size) &&
                                (count == full16 || count == wide->directory.count);
            if (!agrees) fail(path_, {"the zip's two end records disagree", at_byte(end)});
            result = wide->directory;
            end = wide->at;
        }
        if (result.begin > end || result.size != end - result.begin) {
            fail(path_, {"the zip directory is said to be bytes ", result.begin, " to ", result.begin, " + ", result.size,
                         ", expected it to end at byte ", end});
        }
        if (result.count > result.size / central_size)
            fail(path_, {"the zip directory of ", result.size, " bytes cannot hold ", result.count, " entries", at_byte(end)});
        return result;
    }

    struct end64 {
        std::uint64_t at;
        range directory;
    };

    /// The zip64 end record, if the file has one: a locator in front of the end record says where it is.
    std::optional<end64> find_directory64(std::uint64_t end) const {
        if (end < locator_size + end64_size) return std::nullopt;
        byte_reader locator = reader_at(end - locator_size, "the zip64 locator");
        if (locator.number<std::uint32_t>() != locator_signature) return std::nullopt;
        locator.take(4);
        auto const at = locator.number<std::uint64_t>();
        if (at > end - locator_size - end64_size) fail(path_, {"the zip64 locator points beyond itself, to byte ", at, at_byte(end - locator_size)});
        byte_reader reader = reader_at(at, "the zip64 end record");
        if (reader.number<std::uint32_t>() != end64_signature) fail(path_, {"the zip64 locator points to no zip64 end record", at_byte(at)});
        auto const record_size = reader.number<std::uint64_t>();
        if (record_size != end - locator_size - at - 12) fail(path_, {"the zip64 end record has a wrong size, ", record_size, at_byte(at + 4)});
        reader.take(4);  // versions
        auto const disk = reader.number<std::uint32_t>(), start_disk = reader.number<std::uint32_t>();
        auto const here = reader.number<std::uint64_t>(), count = reader.number<std::uint64_t>();
        auto const size = reader.number<std::uint64_t>(), begin = reader.number<std::uint64_t>();
        if (disk != 0 || start_disk != 0 || here != count) fail(path_, {"a zip archive in several parts", at_byte(at)});
        return end64{at, {begin, size, count}};
    }

    void read_entries(range const& directory) {
        byte_reader reader(bytes_.subspan(static_cast<std::size_t>(directory.begin), static_cast<std::size_t>(directory.size)), path_,
                           directory.begin, "the zip directory");
        entries_.reserve(static_cast<std::size_t>(directory.count));
        for (std::uint64_t i = 0; i < directory.count; ++i) entries_.push_back(read_entry(reader, directory.begin));
        if (reader.left() != 0) fail(path_, {"the zip directory holds more than its ", directory.count, " entries", at_byte(reader.offset())});
    }

    zip_entry read_entry(byte_reader& reader, std::uint64_t directory_begin) const {
        std::uint64_t const at = reader.offset();
        if (reader.number<std::uint32_t>() != central_signature) fail(path_, {"the zip directory: expected an entry's signature", at_byte(at)});
        reader.take(4);  // versions
        auto const flags = reader.number<std::uint16_t>(), method = reader.number<std::uint16_t>();
        reader.take(4);  // time and date
        zip_entry entry;
        entry.crc = reader.number<std::uint32_t>();
        std::uint64_t packed = reader.number<std::uint32_t>();
        entry.size = reader.number<std::uint32_t>();
        auto const name_size = reader.number<std::uint16_t>(), extra_size = reader.number<std::uint16_t>(),
                   comment_size = reader.number<std::uint16_t>();
        reader.take(8);  // disk and attributes
        entry.header = reader.number<std::uint32_t>();
        entry.name = reader.text(name_size);
        std::uint64_t const extra_at = reader.offset();
        byte_reader extra(reader.take(extra_size), path_, extra_at, "a zip entry's extra field");
        reader.take(comment_size);
        complaint const wrong{path_, "the zip entry", entry.name, at};
        read_extra64(extra, entry, packed);
        if (name_size == 0 || name_size > longest_name) wrong({"has a name of ", name_size, " bytes"});
        if ((flags & 0x2041u) != 0) wrong({"is encrypted"});
        if (method != 0) wrong({"is compressed (method ", method, "), expected it stored: zip it again with compression off (zip -0)"});
        if (packed != entry.size) wrong({"is stored but has two sizes, ", packed, " and ", entry.size});
        entry.begin = find_data(entry, directory_begin);
        return entry;
    }

    /// A zip64 extra field holds, in this order, those of size, packed size and header offset that did not fit 32 bits.
    static void read_extra64(byte_reader& extra, zip_entry& entry, std::uint64_t& packed) {
        while (extra.left() >= 4) {
            auto const id = extra.number<std::uint16_t>(), size = extra.number<std::uint16_t>();
            if (id != 1) {
                extra.take(size);
                continue;
            }
            std::size_t const end = extra.position() + size;
            for (std::uint64_t* field : {&entry.size, &packed, &entry.header})
                if (*field == full32 && extra.position() + 8 <= end) *field = extra.number<std::uint64_t>();
            extra.take(end - extra.position());
        }
    }

    /// The local header repeats the entry, except that sizes may be missing; where the data starts only it can say.
    std::uint64_t find_data(zip_entry const& entry, std::uint64_t directory_begin) const {
        complaint const wrong{path_, "the zip entry", entry.name, entry.header};
        if (entry.header >= directory_begin) wrong({"is said to start inside or behind the directory at byte ", directory_begin});
        byte_reader reader = reader_at(entry.header, "a zip entry's local header");
        if (reader.number<std::uint32_t>() != local_signature) wrong({"has no local header where the directory says"});
        reader.take(2);
        auto const flags = reader.number<std::uint16_t>(), method = reader.number<std::uint16_t>();
        reader.take(8);  // time, date, CRC
        std::uint64_t const packed = reader.number<std::uint32_t>(), size = reader.number<std::uint32_t>();
        auto const name_size = reader.number<std::uint16_t>(), extra_size = reader.number<std::uint16_t>();
        if ((flags & 0x2041u) != 0) wrong({"is encrypted"});
        if (method != 0) wrong({"is compressed (method ", method, ") in its local header"});
        bool const descriptor = (flags & 8u) != 0;
        for (std::uint64_t const n : {packed, size})
            if (n != entry.size && n != full32 && !(n == 0 && descriptor))
                wrong({"has ", n, " bytes in its local header, ", entry.size, " in the directory"});
        if (reader.text(name_size) != entry.name) wrong({"has another name in its local header"});
        reader.take(extra_size);
        std::uint64_t const begin = reader.offset();
        if (begin > directory_begin || entry.size > directory_begin - begin)
            wrong({"of ", entry.size, " bytes reaches into or beyond the directory at byte ", directory_begin});
        return begin;
    }

    void check_overlap() {
        std::vector<place> order;
        order.reserve(entries_.size());
        for (zip_entry const& e : entries_) order.push_back({order.size(), e.name, e.header, e.begin + e.size});
        sort(order);
        for (std::size_t i = 1; i < order.size(); ++i) {
            if (order[i - 1].end > order[i].begin)
                fail(path_,
                     {"the zip entries ", in_quotes(order[i - 1].name), " and ", in_quotes(order[i].name), " overlap", at_byte(order[i].begin)});
        }
    }

    std::span<std::byte const> bytes_;
    std::filesystem::path const& path_;
    std::vector<zip_entry> entries_;
};

}  // namespace goldfinch::io
