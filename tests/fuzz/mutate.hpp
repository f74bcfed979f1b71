// SPDX-License-Identifier: Apache-2.0
// Seeded mutations of a file's bytes, for fuzzing readers of any format.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

/// Makes damaged copies of valid files. The same seed and calls give the same copies, on every platform.
class mutator {
public:
    explicit mutator(std::uint64_t seed) : random_(seed) {}

    /// One to four mutations of `original`; some of them take bytes from `other`, a second valid file (or the same).
    std::string operator()(std::string_view original, std::string_view other) {
        std::string file(original);
        for (std::size_t n = 1 + below(4); n > 0; --n) mutate(file, other);
        return file;
    }

    /// A number in [0, n); 0 if n is 0. (std's distributions differ between platforms.)
    std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random_() % n); }

private:
    void mutate(std::string& file, std::string_view other) {
        if (file.empty()) {
            file.push_back(byte());
            return;
        }
        std::size_t const at = below(file.size()), some = 1 + below(std::min<std::size_t>(file.size() - at, 64));
        switch (below(10)) {
            case 0: file[at] = static_cast<char>(file[at] ^ (1 << below(8))); break;  // flip a bit
            case 1: file[at] = byte(); break;                                         // another byte
            case 2: file.resize(at); break;                                           // cut short
            case 3: file.erase(at, some); break;                                      // lose some
            case 4: file.insert(at, std::string(1 + below(16), byte())); break;       // a run of one byte
            case 5: file.insert(at, file.substr(below(file.size()), some)); break;    // a piece again, elsewhere
            case 6: length_field(file, at); break;
            case 7: digits(file, at); break;
            case 8: file.replace(at, some, other.substr(below(other.size()), some)); break;              // a piece of another file
            default: file = file.substr(0, at) + std::string(other.substr(below(other.size()))); break;  // the end of another file
        }
    }

    /// An integer of 2, 4 or 8 bytes becomes one at the edge of something, or moves by a little.
    void length_field(std::string& file, std::size_t at) {
        static constexpr std::uint64_t edges[] = {0,
                                                  1,
                                                  0x7f,
                                                  0x80,
                                                  0xff,
                                                  0x7fff,
                                                  0xffff,
                                                  0x7fffffff,
                                                  0x80000000,
                                                  0xffffffff,
                                                  0x100000000,
                                                  100'000'000,
                                                  0x7fffffffffffffff,
                                                  0x8000000000000000,
                                                  0xffffffffffffffff};
        std::size_t const size = std::min(std::size_t{2} << below(3), file.size() - at);
        std::uint64_t value = 0;
        std::memcpy(&value, file.data() + at, size);
        value = below(2) == 0 ? edges[below(std::size(edges))] : value + below(17) - 8;
        std::memcpy(file.data() + at, &value, size);
    }

    /// A decimal number becomes another one, if there is one at or after `at`.
    void digits(std::string& file, std::size_t at) {
        static constexpr std::string_view numbers[] = {
            "0", "1", "-1", "007", "1.5", "1e9", "4294967296", "9223372036854775808", "18446744073709551615", "18446744073709551616"};
        std::size_t const from = std::min(file.find_first_of("0123456789", at), file.size());
        std::size_t const to = std::min(file.find_first_not_of("0123456789", from), file.size());
        file.replace(from, to - from, numbers[below(std::size(numbers))]);
    }

    char byte() { return static_cast<char>(static_cast<unsigned char>(below(256))); }

    std::mt19937_64 random_;
};

}  // namespace fuzz
