// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace text_test {

/// The repository: as the build says, else found from where this file is.
inline std::filesystem::path source_dir() {
#ifdef GOLDFINCH_SOURCE_DIR
    return GOLDFINCH_SOURCE_DIR;
#else
    return std::filesystem::path(__FILE__).parent_path() / ".." / "..";
#endif
}

inline std::filesystem::path small_vocabulary() { return source_dir() / "tests" / "data" / "text" / "small_vocab.txt"; }

/// The official vocabulary, which is not in the repository; empty where it is absent.
inline std::filesystem::path official_vocabulary() {
    char const* const named = std::getenv("GOLDFINCH_VOCAB");
    auto const path = named ? std::filesystem::path(named) : source_dir() / ".." / "shared" / "data" / "rwkv_vocab_v20230424.txt";
    return std::filesystem::exists(path) ? path : std::filesystem::path();
}

inline std::string contents(std::filesystem::path const& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace text_test
