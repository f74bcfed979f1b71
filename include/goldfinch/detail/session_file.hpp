// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>

#include <goldfinch/error.hpp>
#include <goldfinch/io/mapped_file.hpp>
#include <goldfinch/io/output_file.hpp>
#include <goldfinch/message.hpp>

// A session file: the header below, the payload, and a checksum over both, all of it little-endian (stored_tensor.hpp asserts that
// the machine is).

namespace goldfinch::detail {

/// Numbers that tell models apart: what a session of one is not one of another.
struct model_fingerprint {
    std::uint64_t shape = 0;    // of config and stack
    std::uint64_t types = 0;    // of backend and cache
    std::uint64_t weights = 0;  // of samples of every tensor
};

struct session_header {
    std::array<char, 8> magic = {'g', 'f', 's', 'e', 's', 's', 'n', '\n'};
    std::uint32_t version = 2;
    std::uint32_t cut = 0;
    model_fingerprint model;
    std::uint64_t position = 0;  // tokens seen
    std::uint64_t pending = 0;   // tokens the upper blocks have not seen
    std::uint64_t payload = 0;   // bytes that follow
};

/// A sum that no single changed word leaves as it was, computed word by word, however the bytes are cut into parts.
template <class OnDemand = void>
class checksum {
public:
    void add(std::span<std::byte const> bytes) {
        if (filled_ > 0) {
            std::size_t const n = std::min(bytes.size(), sizeof word_ - filled_);
            append(bytes.first(n));
            bytes = bytes.subspan(n);
        }
        for (; bytes.size() >= sizeof word_; bytes = bytes.subspan(sizeof word_)) append(bytes.first(sizeof word_));
        append(bytes);
    }
    /// Of all bytes so far, the last word padded with zeros.
    std::uint64_t value() const { return filled_ > 0 ? next(word_) : sum_; }

private:
    void append(std::span<std::byte const> bytes) {
        if (!bytes.empty()) std::memcpy(reinterpret_cast<std::byte*>(&word_) + filled_, bytes.data(), bytes.size());
        filled_ += bytes.size();
        if (filled_ == sizeof word_) {
            sum_ = next(word_);
            word_ = filled_ = 0;
        }
    }
    std::uint64_t next(std::uint64_t word) const {
        std::uint64_t const x = (sum_ ^ word) * 0x9e3779b97f4a7c15u;
        return x ^ (x >> 32);
    }

    std::uint64_t sum_ = 0x676f6c6466696e63u, word_ = 0;
    std::size_t filled_ = 0;
};

/// f(), where a failure of a file is one of a session.
template <class F>
auto as_session(F const& f) {
    try {
        return f();
    } catch (load_error const& e) {
        throw session_error(e.what());
    }
}

/// Writes a session file; it appears with commit. A session holds what its user wrote, so others may not read the file, unless it
/// takes the place of one that they may. Throws session_error.
template <class OnDemand = void>
class session_writer {
public:
    session_writer(std::filesystem::path const& path, session_header const& header) : file_(open(path)) { bytes(&header, sizeof header); }

    void bytes(void const* data, std::size_t n) {
        std::span const part(static_cast<std::byte const*>(data), n);
        sum_.add(part);
        write(part);
    }
    void commit() {
        std::uint64_t const sum = sum_.value();
        write(std::as_bytes(std::span(&sum, 1)));
        as_session([&] { file_.commit(); });
    }

private:
    static output_file<> open(std::filesystem::path const& path) {
        using std::filesystem::perms;
        return as_session([&] { return output_file(path, perms::owner_read | perms::owner_write); });
    }
    void write(std::span<std::byte const> part) {
        as_session([&] { file_.write(part); });
    }

    output_file<> file_;
    checksum<> sum_;
};

/// Reads a session file whose header, length and checksum hold. Throws session_error.
template <class OnDemand = void>
class session_reader {
public:
    session_reader(std::filesystem::path const& path, model_fingerprint const& expected) : file_(open(path)) {
        auto const all = file_.bytes();
        if (all.size() < sizeof header + sizeof(std::uint64_t)) fail({"too short to be a session file: ", all.size(), " bytes"});
        std::memcpy(&header, all.data(), sizeof header);
        if (header.magic != session_header{}.magic) fail({"not a goldfinch session file"});
        if (header.version != session_header{}.version) fail({"session file version ", header.version, ", expected ", session_header{}.version});
        if (header.payload != all.size() - sizeof header - sizeof(std::uint64_t))
            fail({"cut short, extended or damaged: expected ", header.payload, " bytes of content, found ",
                  all.size() - sizeof header - sizeof(std::uint64_t)});
        std::uint64_t stored;
        std::memcpy(&stored, all.data() + all.size() - sizeof stored, sizeof stored);
        checksum sum;
        sum.add(all.first(sizeof header));
        sum.add(all.subspan(sizeof header, all.size() - sizeof header - sizeof stored));
        if (sum.value() != stored) fail({"damaged: its checksum does not match its content"});
        if (header.model.shape != expected.shape) fail({"a session of another model: its config or stack is not this one's"});
        if (header.model.types != expected.types) fail({"a session of another type of model: its backend or cache type is not this one's"});
        if (header.model.weights != expected.weights) fail({"a session of another model: the same sizes, but other weights"});
        if (header.cut > 1) fail({"a flag that means nothing"});
        rest_ = all.subspan(sizeof header, header.payload);
    }

    session_header header;

    void bytes(void* data, std::size_t n) {
        if (n > rest_.size()) fail({"fewer bytes than its header needs"});
        if (n > 0) std::memcpy(data, rest_.data(), n);
        rest_ = rest_.subspan(n);
    }
    [[noreturn]] GOLDFINCH_COLD void fail(pieces what) const { throw session_error(message({file_.path().string(), ": ", message(what)})); }

private:
    static mapped_file<> open(std::filesystem::path const& path) {
        return as_session([&] { return mapped_file(path); });
    }

    mapped_file<> file_;
    std::span<std::byte const> rest_;
};

}  // namespace goldfinch::detail
