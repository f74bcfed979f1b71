// SPDX-License-Identifier: Apache-2.0
// Damaged checkpoints and session files through a whole model: what loads must run, what does not must say so.
#pragma once

#include <goldfinch/goldfinch.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "../io/builders.hpp"
#include "mutate.hpp"

namespace gf = goldfinch;

namespace fuzz {

inline constexpr gf::config little = gf::checked({.vocab_size = 40, .n_layer = 2, .n_gold = 1, .n_embd = 32, .head_size = 32});

/// One model in all its files, and a session of it. Its safetensors file holds weights as the model does; its archive, which
/// holds plain numbers only, has float or bf16.
template <class Weight>
class model_files {
public:
    using model = gf::model<little, gf::simd<Weight>, gf::compressed_keys<gf::int8>>;
    using wide = std::conditional_t<std::is_same_v<Weight, float>, float, gf::bf16>;

    enum damage { safetensors, safetensors_header, torch, session, session_content, damages };

    model_files() {
        lm_.save(dir_.path("m"));
        safetensors_ = build::file_text(dir_.path("m"));
        std::vector<build::torch_tensor> pickled;
        std::vector<build::zip_file> files(1);
        gf::model<little, gf::simd<wide>>::random(1, {.threads = 1}).save(dir_.path("wide"));
        gf::checkpoint const file = gf::read_checkpoint(dir_.path("wide"));
        for (auto const& t : file.tensors) {
            std::string const key = std::to_string(pickled.size());
            std::vector<std::int64_t> shape(t.shape.begin(), t.shape.end()), strides(shape.size(), 1);
            for (std::size_t i = shape.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * shape[i];
            pickled.push_back({.name = t.name, .key = key, .type = std::is_same_v<wide, float> ? "FloatStorage" : "BFloat16Storage",
                               .elements = strides[0] * shape[0], .shape = shape, .strides = strides});
            files.push_back({.name = "m/data/" + key, .data = std::string(gf::io::as_text(t.bytes))});
        }
        files[0] = {.name = "m/data.pkl", .data = build::state_dict(pickled), .flags = 8};
        torch_ = build::zip(files);

        gf::session s{lm_};
        s.append(std::vector<gf::token>{1, 2, 3, 4, 5, 6, 7, 8, 9});
        s.save(dir_.path("s"));
        session_ = build::file_text(dir_.path("s"));
    }

    /// One damaged file, read. Returns whether it was accepted; throws what must not happen.
    bool operator()(damage kind, mutator& mutate) {
        switch (kind) {
            case safetensors: return load(mutate(safetensors_, torch_));
            case safetensors_header: {
                std::uint64_t length;
                std::memcpy(&length, safetensors_.data(), sizeof length);
                return load(build::safetensors(mutate(std::string_view(safetensors_).substr(8, length), safetensors_), safetensors_.substr(8 + length)));
            }
            case torch: return load(mutate(torch_, safetensors_));
            case session: return restore(mutate(session_, safetensors_));
            default: return restore(with_checksum(mutate(std::string_view(session_).substr(0, session_.size() - 8), session_)));
        }
    }

private:
    bool load(std::string const& bytes) {
        auto const path = dir_.file("damaged", bytes);
        try {
            auto const lm = model::load(path, {.threads = 1});
            gf::session s{lm};
            run(s);
            return true;
        } catch (gf::load_error const& e) {
            return refused(e.what());
        }
    }

    bool restore(std::string const& bytes) {
        auto const path = dir_.file("damaged", bytes);
        try {
            gf::session s{lm_, path};
            run(s);
            return true;
        } catch (gf::session_error const& e) {
            return refused(e.what());
        }
    }

    static void run(gf::session<model>& s) {
        s.append(std::vector<gf::token>{3, 39});
        if (s.step(0).size() != little.vocab_size) throw std::logic_error("logits of another size");
    }
    static bool refused(std::string_view what) {
        if (what.find("damaged") == what.npos) throw std::logic_error("an error that does not name the file");
        return false;
    }

    /// A session file whose checksum and length are right, so that what is behind them is reached.
    static std::string with_checksum(std::string bytes) {
        gf::detail::session_header header;
        if (bytes.size() >= sizeof header) {
            std::memcpy(&header, bytes.data(), sizeof header);
            header.payload = bytes.size() - sizeof header;
            std::memcpy(bytes.data(), &header, sizeof header);
        }
        gf::detail::checksum sum;
        sum.add(std::as_bytes(std::span(bytes)));
        std::uint64_t const value = sum.value();
        return bytes.append(reinterpret_cast<char const*>(&value), sizeof value);
    }

    build::temporary_directory dir_;
    model lm_ = model::random(1, {.threads = 1});
    std::string safetensors_, torch_, session_;
};

}  // namespace fuzz
