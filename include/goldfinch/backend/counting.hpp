// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <goldfinch/batch.hpp>
#include <goldfinch/cache/pages.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/layer/weights.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/parameters.hpp>
#include <goldfinch/session.hpp>
#include <goldfinch/view.hpp>
#include <goldfinch/weight/format.hpp>

namespace goldfinch {

/// What an operation costs.
struct operation_cost {
    std::string_view name;    ///< of the operation
    double calls = 0;
    double flops = 0;         ///< of products, recurrences and attention, a multiply-add as two; work on single elements is not counted
    double weight_bytes = 0;  ///< of weights that no operation before it has read
    double cache_bytes = 0;   ///< read from caches of keys and values, and written to them
};

/// What some work costs at least: every weight is read once, however large.
struct cost {
    double flops = 0;
    double weight_bytes = 0;
    double cache_bytes = 0;
    std::vector<operation_cost> operations = {};  ///< the same for each operation, in the order of first use
};

namespace detail {

/// The address of so many bytes of memory that is not there: not null, since offsets are added to it, and no other's.
inline std::uintptr_t nowhere(std::size_t bytes) {
    static std::atomic<std::uintptr_t> next{4096};
    return next.fetch_add((bytes + 127) / 64 * 64);
}

}  // namespace detail

/// A backend without arithmetic, which counts what Backend would have to do: the same layers, caches and sessions run on it. Its memory has
/// sizes and addresses and holds nothing.
template <class Backend>
struct counting {
    using weight = typename Backend::weight;
    using scalar = double;  // caches keep float, bf16 or int8: rows of these are read from a cache, rows of double are not
    template <std::size_t Out, std::size_t In>
    using linear_weights = typename Backend::template linear_weights<Out, In>;
    template <std::size_t Out, std::size_t In>
    using sparse_input_weights = typename Backend::template sparse_input_weights<Out, In>;
    static constexpr bool on_host = false;
    static constexpr std::size_t most_kept_bytes = std::size_t(-1) / 2;
    static constexpr bool keeps_rebuilt = false;  // what is rebuilt is no cache's
    static constexpr std::size_t tokens_a_pass = 256, most_rebuilt_bytes = 0;

    /// A size, and addresses that no other buffer has.
    template <class T>
    class buffer {
    public:
        explicit buffer(std::size_t size = 0) { resize(size); }
        buffer(buffer const& other) : buffer(other.size_) {}
        buffer(buffer&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(other.data_) {}
        buffer& operator=(buffer other) noexcept {
            size_ = std::exchange(other.size_, 0), data_ = other.data_;
            return *this;
        }
        void resize(std::size_t size) {
            size_ = size;
            data_ = reinterpret_cast<T*>(detail::nowhere(size * sizeof(T)));
        }
        std::size_t size() const { return size_; }
        T* data() const { return data_; }

    private:
        std::size_t size_;
        T* data_;
    };
    static void upload(void*, void const*, std::size_t) {}
    static void download(void const*, void* host, std::size_t bytes) { std::memset(host, 0, bytes); }
    static void clear(void*, std::size_t) {}

    /// What has been counted.
    struct runtime {
        cost counted;
        std::set<void const*> seen;      // weights, and token ids
        void const* uploaded = nullptr;  // the token ids that are no cache's
        explicit runtime(std::size_t = 1) {}
        void threads(std::size_t) {}
        std::size_t threads() const { return 1; }
        template <class F>
        void each(std::size_t n, F const& f) {
            for (std::size_t i = 0; i < n; ++i) f(i);
        }
        struct lease {
            runtime& work;
            explicit lease(runtime& r) : work(r) {}
            runtime& executor() const { return work; }
        };
    };

    runtime* work;
    explicit counting(runtime& r) : work(&r) {}

    /// Notes a call.
    void add(std::string_view name, double flops, double weight_bytes = 0, double cache_bytes = 0) const {
        cost& all = work->counted;
        all.flops += flops, all.weight_bytes += weight_bytes, all.cache_bytes += cache_bytes;
        operation_cost* entry = nullptr;
        for (operation_cost& o : all.operations)
            if (o.name == name) entry = &o;
        if (entry == nullptr) entry = &all.operations.emplace_back(operation_cost{name});
        entry->calls += 1, entry->flops += flops, entry->weight_bytes += weight_bytes, entry->cache_bytes += cache_bytes;
    }
    /// Bytes of weights that are read for the first time.
    template <class... Views>
    double fresh(Views const&... views) const {
        return (fresh_bytes(views) + ... + 0.0);
    }

private:
    template <class View>
    double fresh_bytes(View const& view) const {
        weight_format const& format = format_of(view);
        std::byte const* planes[weight_format::most_planes];
        format.planes_of(&view, planes);
        constexpr std::size_t columns = View::extents.back();
        return planes[0] != nullptr && work->seen.insert(planes[0]).second ? static_cast<double>(View::size / columns * row_bytes(format, columns)) : 0;
    }
};

namespace detail {

/// Rows without memory.
template <std::size_t Width>
struct counted_rows : sequence<double, Width> {
    explicit counted_rows(std::size_t n) : sequence<double, Width>(reinterpret_cast<double*>(std::uintptr_t{4096}), n) {}
};

/// f for each element of rows.
template <std::size_t D>
double each_element(std::size_t rows, double f) {
    return static_cast<double>(rows * D) * f;
}

}  // namespace detail

template <std::size_t Width, class B>
detail::counted_rows<Width> temporary(counting<B> const&, std::size_t rows) {
    return detail::counted_rows<Width>(rows);
}
template <class B>
counting<B> batch_invariant(counting<B> const& be) {
    return be;
}
template <class B>
std::span<token const> upload(counting<B> const& be, std::span<token const> tokens) {
    auto const* const copy = reinterpret_cast<token const*>(detail::nowhere(tokens.size_bytes()));
    be.work->uploaded = copy;
    return {copy, tokens.size()};
}
template <class B, class Id, class T, std::size_t V, std::size_t D>
void embed(counting<B> const& be, matrix<T const, V, D>, std::span<Id const> ids, as<sequence<double, D>> y) {
    bool const again = !be.work->seen.insert(ids.data()).second;  // the blocks above token_cat look the same tokens up
    bool const cached = be.work->uploaded != ids.data();
    be.add("embed", 0, again ? 0.0 : static_cast<double>(y.size * D * sizeof(T)), cached ? static_cast<double>(ids.size() * sizeof(Id)) : 0.0);
}
template <class B, std::size_t D>
void copy(counting<B> const&, as<sequence<double const, D>>, sequence<double, D>) {}
template <class B, std::size_t D>
void clear(counting<B> const&, sequence<double, D>) {}
template <class B, class S, std::size_t D>
void read_rows(counting<B> const&, sequence<S, D>, float*) {}
template <class B, class F>
void parallel(counting<B> const& be, std::size_t n, F const& f) {
    for (std::size_t i = 0; i < n; ++i) f(be, i);
}

template <class B, class T, std::size_t D>
void layer_norm(counting<B> const& be, norm_weights<T, D> const& p, as<sequence<double const, D>>, as<sequence<double, D>>, double = 1e-5, std::size_t = 1) {
    be.add("layer_norm", 0, be.fresh(p.weight, p.bias));
}
template <class B, std::size_t D>
void rms_norm(counting<B> const& be, as<sequence<double const, D>>, sequence<double, D>) {
    be.add("rms_norm", 0);
}

template <class B, std::size_t D, class T>
void token_shift(counting<B> const& be, as<sequence<double const, D>>, state_tensor<counting<B>, D>, vector<T const, D> mu, as<sequence<double, D>>) {
    be.add("token_shift", 0, be.fresh(mu));
}
template <class B, std::size_t D, std::size_t K>
void token_shift(counting<B> const& be, as<sequence<double const, D>>, state_tensor<counting<B>, D>,
                 as<vector<typename B::weight const, D>> const (&mu)[K], as<sequence<double, D>> const (&)[K]) {
    double bytes = 0;
    for (auto const& m : mu) bytes += be.fresh(m);
    be.add("token_shift", 0, bytes);
}
template <class B, std::size_t D, std::size_t R, class T>
void token_shift(counting<B> const& be, as<sequence<double const, D>> x, state_tensor<counting<B>, D>, as<sequence<double const, R>>,
                 matrix<T const, R, D> w2, as<vector<T const, D>> mu, as<sequence<double, D>>) {
    be.add("data-dependent token_shift", detail::each_element<D>(x.size, 2.0 * R), be.fresh(w2, mu));
}
template <class B, std::size_t D, std::size_t K, std::size_t R, class T>
void token_shift(counting<B> const& be, as<sequence<double const, D>> x, state_tensor<counting<B>, D>, as<sequence<double const, K * R>>,
                 tensor<T const, K, R, D> w2, as<vector<T const, D>> const (&mu)[K], as<sequence<double, D>> const (&)[K]) {
    double bytes = be.fresh(w2);
    for (auto const& m : mu) bytes += be.fresh(m);
    be.add("data-dependent token_shift", detail::each_element<D>(x.size, 2.0 * K * R), bytes);
}
template <class B, std::size_t D>
void keep_last(counting<B> const&, as<sequence<double const, D>>, state_tensor<counting<B>, D>) {}

template <class B, class View>
void linear(counting<B> const& be, View const& w, as<sequence<double const, View::extents[1]>> x, as<sequence<double, View::extents[0]>>) {
    be.add("linear", detail::each_element<View::extents[0]>(x.size, 2.0 * View::extents[1]), be.fresh(w));
}
template <class B, class T, std::size_t In, std::size_t R>
void lora_down(counting<B> const& be, as<sequence<double const, In>> x, matrix<T const, In, R> w1, as<sequence<double, R>>) {
    be.add("lora_down", detail::each_element<R>(x.size, 2.0 * In), be.fresh(w1));
}
template <class B, class T, std::size_t R, std::size_t Out>
void lora_up(counting<B> const& be, as<sequence<double const, R>> h, matrix<T const, R, Out> w2, as<sequence<double, Out>>) {
    be.add("lora_up", detail::each_element<Out>(h.size, 2.0 * R), be.fresh(w2));
}
template <class B, class T, std::size_t In, std::size_t R, std::size_t Out>
void lora(counting<B> const& be, as<sequence<double const, In>> x, matrix<T const, In, R> w1, matrix<T const, R, Out> w2, as<sequence<double, Out>>) {
    be.add("lora", detail::each_element<R>(x.size, 2.0 * In) + detail::each_element<Out>(x.size, 2.0 * R), be.fresh(w1, w2));
}
template <class B, class T, std::size_t In, std::size_t R, std::size_t Out>
void lora(counting<B> const& be, as<vector<T const, Out>> v, as<sequence<double const, In>> x, matrix<T const, In, R> w1, matrix<T const, R, Out> w2,
          as<sequence<double, Out>>) {
    be.add("lora", detail::each_element<R>(x.size, 2.0 * In) + detail::each_element<Out>(x.size, 2.0 * R), be.fresh(v, w1, w2));
}

template <class B, std::size_t D>
void decay(counting<B> const& be, sequence<double, D>) {
    be.add("decay", 0);
}
template <class B, std::size_t D>
void decay(counting<B> const& be, sequence<double, D>, as<sequence<double, D>>) {
    be.add("decay", 0);
}
template <class B, std::size_t H, std::size_t N>
void wkv6(counting<B> const& be, as<sequence<double const, H * N>> r, as<sequence<double const, H * N>>, as<sequence<double const, H * N>>,
          as<sequence<double const, H * N>>, state_tensor<counting<B>, H, N, N>, as<sequence<double, H * N>>) {
    be.add("wkv6", detail::each_element<H * N * N>(r.size, 5));
}
template <class B, std::size_t H, std::size_t N>
void wkv6(counting<B> const& be, as<sequence<double const, H * N>> r, as<sequence<double const, H * N>>, as<sequence<double const, H * N>>,
          as<sequence<double const, H * N>>, matrix<typename B::weight const, H, N> u, state_tensor<counting<B>, H, N, N>, as<sequence<double, H * N>>) {
    be.add("wkv6", detail::each_element<H * N * N>(r.size, 5) + detail::each_element<H * N>(r.size, 4), be.fresh(u));
}

template <class B, std::size_t D>
void add(counting<B> const& be, as<sequence<double const, D>>, sequence<double, D>) {
    be.add("add", 0);
}
template <class B, std::size_t D>
void relu_squared(counting<B> const& be, sequence<double, D>) {
    be.add("relu_squared", 0);
}
template <class B, std::size_t D>
void sigmoid_gate(counting<B> const& be, as<sequence<double const, D>>, sequence<double, D>) {
    be.add("sigmoid_gate", 0);
}
template <class B, std::size_t D>
void silu_gate(counting<B> const& be, as<sequence<double const, D>>, sequence<double, D>) {
    be.add("silu_gate", 0);
}
template <std::size_t N, class B, std::size_t D>
void rope(counting<B> const& be, batch<double> const&, sequence<double, D>, double, double) {
    be.add("rope", 0);
}

namespace detail {

/// The elements of the widest rows among the arguments of a mixer's own function, and the bytes of its parameters.
template <class B, std::size_t W>
void count_argument(counting<B> const&, sequence<double, W> const& x, double& elements, double&) {
    elements = std::max(elements, each_element<W>(x.size, 1));
}
template <class B, std::size_t W>
void count_argument(counting<B> const&, sequence<double const, W> const& x, double& elements, double&) {
    elements = std::max(elements, each_element<W>(x.size, 1));
}
template <class B, class T, std::size_t... E>
void count_argument(counting<B> const& be, tensor<T const, E...> const& x, double&, double& bytes) {
    bytes += be.fresh(x);
}
template <class B, std::size_t W>
void count_argument(counting<B> const&, state_tensor<counting<B>, W> const&, double&, double&) {}

}  // namespace detail

template <class B, class F, class... Arguments>
void transform(counting<B> const& be, F const&, Arguments const&... arguments) {
    double elements = 0, bytes = 0;
    (detail::count_argument(be, arguments, elements, bytes), ...);
    be.add("transform", 0, bytes);
}
template <class B, class F, std::size_t W, class... Arguments>
void scan(counting<B> const& be, F const&, state_tensor<counting<B>, W>, Arguments const&... arguments) {
    double elements = 0, bytes = 0;
    (detail::count_argument(be, arguments, elements, bytes), ...);
    be.add("scan", 2 * elements, bytes);
}
template <class B, std::size_t A, std::size_t H>
void inner_product(counting<B> const& be, as<sequence<double const, A>> a, sequence<double, A>, sequence<double, H>) {
    be.add("inner_product", detail::each_element<A>(a.size, 2));
}

template <class B, class Value, std::size_t D>
void pack(counting<B> const& be, as<sequence<double const, D>> x, sequence<Value, D>, float*) {
    be.add("pack", 0, 0, static_cast<double>(x.size * (D * sizeof(Value) + (std::is_integral_v<Value> ? sizeof(float) : 0))));
}
template <class B, class Value, std::size_t D>
void unpack(counting<B> const& be, sequence<Value, D> x, float const*, as<sequence<double, D>>) {
    be.add("unpack", 0, 0, static_cast<double>(x.size * (D * sizeof(Value) + (std::is_integral_v<Value> ? sizeof(float) : 0))));
}
template <std::size_t H, class B, std::size_t A, class Tiles>
void softmax_attention(counting<B> const& be, batch<double> const& of, as<sequence<double const, A>>, Tiles const& tiles, sequence<double, A>) {
    for (std::size_t i = 0; i < of.size; ++i) {
        std::size_t const n = tiles.positions(i), first = n - of.rows(i);
        for (std::size_t tile = 0; tile * detail::page_positions < n; ++tile) {
            if (tiles.owner(i, tile) != i) continue;
            tiles.read(be, i, tile, [&]<class Value>(sequence<Value, A> const& K, auto const&) {
                if (!std::is_same_v<std::remove_const_t<Value>, double>) be.add("softmax_attention", 0, 0, static_cast<double>(2 * K.size * A * sizeof(Value)));
            });
        }
        double pairs = 0;  // of a query and a key that it sees
        for (std::size_t t = first; t < n; ++t) pairs += static_cast<double>(t + 1);
        be.add("softmax_attention", pairs * 4.0 * A);
    }
}

namespace detail {

/// The same model on the counting backend, with addresses in the place of weights.
template <class Model>
struct counted {
    using backend = counting<typename Model::backend_type>;
    using model = goldfinch::model<Model::cfg, backend, typename Model::cache_type, typename Model::stack_type>;

    static model make() {
        model lm({.threads = 1, .working_set = 0});
        for (parameter& t : list_parameters(lm.data_->p)) t.bind(reinterpret_cast<std::byte*>(nowhere(t.bytes())));
        return lm;
    }
    /// What f(session) costs, for a session that has seen `position` tokens.
    template <class F>
    static cost of(std::size_t position, F const& f) {
        model const lm = make();
        session<model> s{lm};
        s.position_ = position;
        s.cache_.resize(position);
        for (auto& block : s.own_) block.kept().reserve(position), block.kept().grow(position);
        f(s);
        return lm.data_->runtime.counted;
    }
};

}  // namespace detail

/// What a decoded token costs a session that has seen `context` tokens, the decoded one among them: append and logits, dense, with nothing
/// kept of earlier steps but what the cache type says. No model is made.
template <class Model>
cost decode_cost(std::size_t context) {
    return detail::counted<Model>::of(context > 0 ? context - 1 : 0, [](auto& session) { (void)session.step(token{0}); });
}

/// What it costs to append `tokens` tokens to a new session.
template <class Model>
cost prefill_cost(std::size_t tokens) {
    std::vector<token> const prompt(tokens);
    return detail::counted<Model>::of(0, [&](auto& session) { session.append(prompt); });
}

}  // namespace goldfinch
