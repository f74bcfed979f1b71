// SPDX-License-Identifier: Apache-2.0
// Damaged checkpoints and what the readers must do with them, for the suite and for the long fuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <goldfinch/inspect.hpp>

#include "../io/builders.hpp"
#include "mutate.hpp"

namespace fuzz {

/// A Finch of one small block in both formats: a model as far as names and shapes go, so that all of the code is reached.
struct small_model {
    std::string safetensors, torch, pickle;

    small_model() {
        struct {
            char const* name;
            std::vector<std::int64_t> shape;
        } const tensors[] = {{"emb.weight", {4, 32}},
                             {"blocks.0.att.gate.weight", {32, 32}},
                             {"blocks.0.att.time_maa_w1", {32, 1}},
                             {"blocks.0.att.time_faaaa", {2, 16}},
                             {"head.weight", {4, 32}}};
        std::string header = R"({"__metadata__":{"format":"pt","stack":"1 * \u0066inch"})", data;
        std::vector<build::torch_tensor> pickled;
        for (auto const& t : tensors) {
            std::int64_t const elements = t.shape[0] * t.shape[1];
            std::string const key = std::to_string(pickled.size());
            header += std::string(",\"") + t.name + R"(":{"dtype":"BF16","shape":[)" + std::to_string(t.shape[0]) + "," + std::to_string(t.shape[1]) +
                      R"(],"data_offsets":[)" + std::to_string(data.size()) + "," +
                      std::to_string(data.size() + 2 * static_cast<std::size_t>(elements)) + "]}";
            data += std::string(2 * static_cast<std::size_t>(elements), 'w');
            pickled.push_back(
                {.name = t.name, .key = key, .type = "BFloat16Storage", .elements = elements, .shape = t.shape, .strides = {t.shape[1], 1}});
            storages_.push_back({.name = "m/data/" + key, .data = std::string(2 * static_cast<std::size_t>(elements), 'w')});
        }
        safetensors = build::safetensors(header + "}", data);
        pickle = build::state_dict(pickled);
        torch = archive(pickle, {});
    }

    /// The archive around another pickle, its checksum right.
    std::string archive(std::string const& with, build::zip_options const& options) const {
        std::vector<build::zip_file> files{{.name = "m/data.pkl", .data = with, .flags = 8}};
        files.insert(files.end(), storages_.begin(), storages_.end());
        return build::zip(files, options);
    }

private:
    std::vector<build::zip_file> storages_;
};

/// The kinds of damage: of a whole file, and of the part that a checksum or length in front of it would protect from most.
enum class damage { safetensors, safetensors_header, torch, torch64, torch_pickle };
inline constexpr damage all_damages[] = {damage::safetensors, damage::safetensors_header, damage::torch, damage::torch64, damage::torch_pickle};

inline std::string damaged(small_model const& model, damage kind, mutator& mutate) {
    switch (kind) {
        case damage::safetensors: return mutate(model.safetensors, model.torch);
        case damage::safetensors_header: {
            std::size_t const header = model.safetensors.rfind('}') + 1;
            std::string const text = mutate(std::string_view(model.safetensors).substr(8, header - 8), model.safetensors);
            return build::safetensors(text, model.safetensors.substr(header));
        }
        case damage::torch: return mutate(model.torch, model.safetensors);
        case damage::torch64: return mutate(model.archive(model.pickle, {.zip64 = true}), model.torch);
        default: return model.archive(mutate(model.pickle, model.pickle), {});
    }
}

/// Reads it as far as it goes and touches every byte of what loads. Returns whether it is a model; throws what must not happen.
inline bool read_all(std::string const& bytes) {
    try {
        goldfinch::checkpoint const file = build::parse(bytes);
        unsigned volatile sum = 0;  // volatile: the reads must happen
        for (goldfinch::stored_tensor const& t : file.tensors) {
            for (std::byte const b : t.bytes) sum = sum + static_cast<unsigned>(b);
            auto const* type = goldfinch::io::find_dtype(t.type_name);
            if (!type || goldfinch::io::byte_count(t.shape, type->size) != t.bytes.size())
                throw std::logic_error("a tensor of another size than its shape");
        }
        goldfinch::io::describe(file);
        return true;
    } catch (goldfinch::load_error const& e) {
        if (std::string_view(e.what()).find("test.file") == std::string_view::npos) throw std::logic_error("an error that does not name the file");
        return false;
    }
}

}  // namespace fuzz
