// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>

#include <goldfinch/goldfinch.hpp>

namespace commands {

/// The entry of a list, whose entries have a name and a config, that fits a checkpoint. Throws goldfinch::load_error where none does and
/// says where the list is.
template <class Known, std::size_t n>
Known const& find_model(std::string const& file, std::optional<int> rope_base, Known const (&list)[n], char const* list_file) {
    namespace gf = goldfinch;
    gf::checkpoint const checkpoint = gf::read_checkpoint(file);
    gf::inferred found = gf::infer_config(checkpoint);
    if (rope_base && found.from_metadata && found.cfg.rope_base != *rope_base) {
        throw gf::load_error(file + ": the file says rope_base = " + std::to_string(found.cfg.rope_base) + ", not " + std::to_string(*rope_base) +
                             " as --rope does");
    }
    if (rope_base) found.cfg.rope_base = *rope_base;
    auto const known = std::ranges::find(list, found.cfg, &Known::cfg);
    if (found.stack == "goldfinch" && known != std::end(list)) return *known;

    std::string names;
    for (Known const& m : list) names += (names.empty() ? "" : ", ") + std::string(m.name);
    throw gf::load_error(file + ": this program was not built for such a model, only for " + names + ".\n\n" + gf::inspect(file) +
                         (rope_base ? "\nwith .rope_base = " + std::to_string(*rope_base) + " as --rope asks.\n" : "") +
                         "\nPaste that type into a program of your own, such as examples/hello.cpp, or add it to " + list_file + ".");
}

}  // namespace commands
