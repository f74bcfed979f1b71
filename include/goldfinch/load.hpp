// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/config.hpp>
#include <goldfinch/hash.hpp>
#include <goldfinch/io/checkpoint.hpp>
#include <goldfinch/message.hpp>
#include <goldfinch/parameters.hpp>
#include <goldfinch/weight/format.hpp>
#include <goldfinch/weight/plain.hpp>
#include <goldfinch/weight/quantized.hpp>

namespace goldfinch {

/// How to load a model.
struct load_options {
    std::size_t threads = 0;                                                    ///< of the model's pool, at most 256; 0: all cores
    std::function<void(std::size_t done, std::size_t total)> on_progress = {};  ///< called with bytes of weights taken so far
    std::optional<std::size_t> working_set = {};                                ///< bytes, as for model::working_set; none: the default
    std::optional<int> device = {};                                             ///< cuda: the GPU's number; none: the calling thread's current device
    void* stream = nullptr;                                                     ///< cuda: the cudaStream_t to work in, which must outlive the model; nullptr: one of its own
};

namespace detail {

/// Numbers from low up to high.
struct value_range {
    double low, high;
};

/// The range of a random model's values, by the parameter's name: sums keep unit variance, mixing weights lie in [0, 1], decays span fast to
/// slow channels.
inline value_range random_range(std::string_view name, std::span<std::size_t const> shape) {
    auto const has = [&](std::string_view part) { return name.find(part) != name.npos; };
    auto const around = [](double middle, double deviation) {
        return value_range{middle - std::sqrt(3.0) * deviation, middle + std::sqrt(3.0) * deviation};
    };
    if (name.ends_with("time_decay")) return {-6, -1};
    if (has("time_faaaa")) return {-0.5, 0.5};
    if (shape.size() > 1 && (name.ends_with("_w1") || name.ends_with("_w2")))
        return around(0, 0.3 / std::sqrt(static_cast<double>(shape[shape.size() - 2])));  // [in, out]
    if (has("time_")) return {0, 1};
    if (shape.size() < 2) return around(name.ends_with("weight") ? 1 : 0, 0.1);
    return around(0, 1 / std::sqrt(static_cast<double>(shape.back())));  // [out, in]
}

/// f(the format in which a file holds a tensor).
template <class F>
void with_stored_format(stored_tensor const& t, F const& f) {
    switch (t.type) {
        case dtype::f64: return f(plain_format_of<double>);
        case dtype::f32: return f(plain_format_of<float>);
        case dtype::f16: return f(plain_format_of<half>);
        case dtype::packed: return f(quantized_format(t.bits, t.block));
        default: return f(plain_format_of<bf16>);
    }
}

/// The bytes of a plane of a stored tensor.
inline std::span<std::byte const> stored_plane(stored_tensor const& t, std::size_t i) { return i == 0 ? t.bytes : t.scale; }

/// Copies of a file's bytes to memory of the backend, which may still be under way until they are finished: Backend::uploads where it has them.
template <class Backend>
struct uploads {
    static void copy(void* to, void const* host, std::size_t bytes) { Backend::upload(to, host, bytes); }
    static void finish() {}
};
template <class Backend>
requires requires { typename Backend::uploads; }
struct uploads<Backend> : Backend::uploads {};

/// The weights of a model in memory: mapped from a file where they can be used as they lie, else encoded into memory of the backend.
template <class Backend>
class weight_memory {
public:
    using runtime = typename Backend::runtime;

    void load(std::vector<parameter>& parameters, checkpoint const& file, runtime& host, load_options const& options) {
        file_ = file.storage;
        std::vector<std::optional<stored_planes>> as_stored;
        std::size_t to_own = 0, total = 0, done = 0;
        for (parameter& t : parameters) {
            as_stored.push_back(find_planes(t, file));
            to_own += Backend::on_host && as_stored.back() && !t.transposed ? 0 : t.bytes();
            total += t.stored_bytes();
        }
        host.each(1, [&](std::size_t) { owned_.resize(to_own); });  // on the runtime's device
        std::byte* next = owned_.data();
        uploads<Backend> copies;
        auto const take = [&](std::size_t bytes) {
            done += bytes;
            if (options.on_progress) options.on_progress(done, total);
        };
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            parameter& t = parameters[i];
            if (Backend::on_host && as_stored[i] && !t.transposed) {
                t.format->bind(t.view, as_stored[i]->data());
                take(t.stored_bytes());
                continue;
            }
            if (as_stored[i]) {
                if (t.transposed)
                    transpose(t, next, *as_stored[i], host);
                else
                    host.each(1, [&](std::size_t) { upload(t, next, *as_stored[i], copies); });
                take(t.stored_bytes());
                next += t.bytes();
                continue;
            }
            stored_tensor const& stored = *file.find(t.name);
            with_stored_format(stored, [&](weight_format const& format) {
                encode(t, next, host, [&](std::size_t r, double* row) {
                    std::byte const* planes[weight_format::most_planes] = {};
                    for (std::size_t k = 0; k < format.n_planes(); ++k) planes[k] = stored_plane(stored, k).data() + r * format.plane(k, t.columns()).row_bytes;
                    format.decode(planes, t.columns(), row);
                }, take);
            });
            next += t.bytes();
        }
        copies.finish();
    }

    void randomise(std::vector<parameter>& parameters, std::uint64_t seed, runtime& host) {
        std::size_t to_own = 0;
        for (parameter const& t : parameters) to_own += t.bytes();
        host.each(1, [&](std::size_t) { owned_.resize(to_own); });  // on the runtime's device
        std::byte* next = owned_.data();
        for (parameter& t : parameters) {
            auto const [low, high] = random_range(t.name, t.shape);
            std::uint64_t const key = hash(t.name, scramble(seed));
            double const first = low, extent = high - low;
            encode(t, next, host, [&](std::size_t r, double* row) {
                for (std::size_t i = 0; i < t.columns(); ++i) row[i] = first + extent * unit_interval(scramble(key + r * t.columns() + i));
            }, [](std::size_t) {});
            next += t.bytes();
        }
    }

    /// Writes the weights as they are kept, to be used in place when they are loaded again.
    static void save(std::vector<parameter> const& parameters, std::filesystem::path const& path, std::map<std::string, std::string> const& metadata) {
        std::vector<output_tensor> tensors;
        std::vector<std::vector<std::byte>> copies;  // of what lies in memory otherwise
        std::list<std::vector<std::uint64_t>> shapes;
        for (parameter const& t : parameters) {
            std::byte const* planes[weight_format::most_planes];
            t.format->planes_of(t.view, planes);
            for (std::size_t i = 0; i < t.format->n_planes(); ++i) {
                weight_plane const plane = t.format->plane(i, t.columns());
                std::vector<std::uint64_t> shape(t.shape.begin(), t.shape.end());
                shape.back() = plane.columns;
                std::span<std::byte const> bytes(planes[i], t.rows() * plane.row_bytes);
                if (!Backend::on_host || t.transposed) {
                    auto& copy = copies.emplace_back(bytes.size());
                    if (t.transposed)
                        t.load_rows(i, planes[i], copy.data());
                    else
                        Backend::download(bytes.data(), copy.data(), bytes.size());
                    bytes = copy;
                }
                tensors.push_back({message({t.name, plane.suffix}), io::find_dtype(plane.type)->type, std::move(shape), bytes});
            }
            if (t.format->keeps_shape()) {
                auto const& shape = shapes.emplace_back(std::vector<std::uint64_t>{t.rows(), t.columns()});
                tensors.push_back({t.name + "_shape", dtype::i64, {shape.size()}, std::as_bytes(std::span(shape))});
            }
        }
        write_safetensors(path, metadata, tensors);
    }

    /// A number that changes with samples of every tensor.
    static std::uint64_t fingerprint(std::vector<parameter> const& parameters) {
        std::uint64_t h = 0;
        for (parameter const& t : parameters) {
            h = hash(t.name, h);
            std::byte const* planes[weight_format::most_planes];
            t.format->planes_of(t.view, planes);
            for (std::size_t i = 0; i < t.format->n_planes(); ++i) {
                std::size_t const bytes = t.plane_bytes(i), step = std::max<std::size_t>(8, bytes / 61);
                for (std::size_t at = 0; at < bytes; at += step) {
                    std::uint64_t sample = 0;
                    Backend::download(planes[i] + at, &sample, std::min(sizeof sample, bytes - at));
                    h = scramble(h ^ sample);
                }
            }
        }
        return h;
    }

private:
    using stored_planes = std::array<std::byte const*, weight_format::most_planes>;

    /// The tensor's planes in the mapped file, where that holds its format, and, of a tensor that is used as it lies there, aligned to its elements.
    static std::optional<stored_planes> find_planes(parameter const& t, checkpoint const& file) {
        stored_tensor const& stored = *file.find(t.name);
        bool same = true;
        stored_planes planes{};
        with_stored_format(stored, [&](weight_format const& format) {
            same = same && format.n_planes() == t.format->n_planes();
            for (std::size_t i = 0; same && i < format.n_planes(); ++i) {
                weight_plane const here = t.format->plane(i, t.columns()), there = format.plane(i, t.columns());
                planes[i] = stored_plane(stored, i).data();
                same = here.type == there.type && here.bits == there.bits && here.row_bytes == there.row_bytes &&
                       (t.transposed || reinterpret_cast<std::uintptr_t>(planes[i]) % io::find_dtype(here.type)->size == 0);
            }
        });
        return same ? std::optional(planes) : std::nullopt;
    }

    /// Fills a tensor's memory with the bytes of a file, and binds its view to it.
    static void upload(parameter& t, std::byte* memory, stored_planes const& from, uploads<Backend>& copies) {
        std::byte* to[weight_format::most_planes];
        t.bind(memory);
        t.place(memory, 0, to);
        for (std::size_t i = 0; i < t.format->n_planes(); ++i) copies.copy(to[i], from[i], t.rows() * t.format->plane(i, t.columns()).row_bytes);
    }

    /// Fills a transposed tensor's memory with the rows of a file, on all threads, and binds its view to it.
    static void transpose(parameter& t, std::byte* memory, stored_planes const& from, runtime& host) {
        constexpr std::size_t slab = 32;
        t.bind(memory);
        host.each((t.rows() + slab - 1) / slab, [&](std::size_t s) {
            stored_planes rows{};
            for (std::size_t i = 0; i < t.format->n_planes(); ++i) rows[i] = from[i] + s * slab * t.format->plane(i, t.columns()).row_bytes;
            t.store_rows(memory, s * slab, std::min(slab, t.rows() - s * slab), rows.data());
        });
    }

    /// Fills a tensor's memory with rows that row_of(r, row) makes, on all threads, and binds its view to it. took(bytes) says how far it is.
    template <class RowOf, class Took>
    static void encode(parameter& t, std::byte* memory, runtime& host, RowOf const& row_of, Took const& took) {
        t.bind(memory);
        std::size_t const columns = t.columns(), bytes = row_bytes(*t.format, columns);
        // Of a transposed tensor, whole bytes of its rows in memory.
        std::size_t const most = std::max<std::size_t>(1, 65536 / columns), slab = t.transposed ? (most + 31) / 32 * 32 : most, slabs_at_once = 64;
        for (std::size_t first = 0; first < t.rows(); first += slab * slabs_at_once) {
            std::size_t const last = std::min(t.rows(), first + slab * slabs_at_once);
            host.each((last - first + slab - 1) / slab, [&](std::size_t s) {
                std::size_t const begin = first + s * slab, n = std::min(slab, last - begin);
                std::vector<double> row(columns);
                std::vector<std::byte> encoded(n * bytes);  // the slab's rows of every plane
                std::byte *planes[weight_format::most_planes] = {}, *to[weight_format::most_planes] = {};
                for (std::size_t i = 0, at = 0; i < t.format->n_planes(); ++i) {
                    planes[i] = encoded.data() + at;
                    at += n * t.format->plane(i, columns).row_bytes;
                }
                for (std::size_t r = 0; r < n; ++r) {
                    row_of(begin + r, row.data());
                    for (std::size_t i = 0; i < t.format->n_planes(); ++i) to[i] = planes[i] + r * t.format->plane(i, columns).row_bytes;
                    t.format->encode(row.data(), columns, to);
                }
                if constexpr (Backend::on_host) {
                    t.store_rows(memory, begin, n, planes);
                } else {
                    t.place(memory, begin, to);
                    for (std::size_t i = 0; i < t.format->n_planes(); ++i) Backend::upload(to[i], planes[i], n * t.format->plane(i, columns).row_bytes);
                }
            });
            took((last - first) * bytes);
        }
    }

    typename Backend::template buffer<std::byte> owned_;  // tensors that were converted or made here
    std::shared_ptr<void const> file_;                    // the mapping behind all others
};

}  // namespace detail

}  // namespace goldfinch
