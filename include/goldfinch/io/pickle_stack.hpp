// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/stored_tensor.hpp>

namespace goldfinch::io {

/// What a value of a pickle may be.
enum class pickle_kind : std::uint8_t { none, boolean, integer, real, text, tuple, list, dict, global, storage, tensor };

/// Sixteen bytes whatever it is: a pickle of N bytes can make us hold no more than a small multiple of N.
struct pickle_value {
    pickle_kind type = pickle_kind::none;
    std::uint32_t size = 0;   // text: bytes; tuple: items
    std::int64_t number = 0;  // integer, boolean: itself; text: position in the pickle; tuple: index of its first item; else: index in its table
};

inline std::string_view name_of(pickle_kind k) {
    constexpr std::string_view names[] = {"None",   "a bool", "an integer", "a float",   "text",    "a tuple",
                                          "a list", "a dict", "a global",   "a storage", "a tensor"};
    return names[static_cast<std::size_t>(k)];
}

/// The values that a pickle's opcodes work on: the stack, the marks on it, the memo of values to be used again, and the items of tuples.
/// Every member throws load_error where the pickle asks for what is not there.
template <class OnDemand = void>
class pickle_stack {
protected:
    using kind = pickle_kind;
    using value = pickle_value;

    /// `base`: the file offset of the pickle.
    pickle_stack(std::string_view bytes, std::filesystem::path const& path, std::uint64_t base) : bytes_(bytes), path_(path), base_(base) {}

    [[noreturn]] GOLDFINCH_COLD void wrong(pieces what) const { fail(path_, {"the pickle (data.pkl) ", message(what), at_byte(base_ + opcode_at_)}); }

    /// Called before each opcode: where it is, for messages.
    void begin_opcode(std::size_t at) {
        opcode_at_ = at;
        if (stack_.size() + marks_.size() > most_values) wrong({"has more than ", most_values, " values on its stack"});
    }

    /// The only value left, at the end.
    value const& only_value() const {
        if (!marks_.empty() || stack_.size() != 1) wrong({"ends with ", stack_.size(), " values, expected one"});
        return stack_.back();
    }

    void push(kind type, std::int64_t number = 0, std::size_t size = 0) { stack_.push_back({type, static_cast<std::uint32_t>(size), number}); }

    value pop() {
        if (stack_.size() <= floor()) wrong({"takes a value from an empty stack (stack underflow)"});
        value const v = stack_.back();
        stack_.pop_back();
        return v;
    }

    value pop(kind expected) {
        value const v = pop();
        if (v.type != expected) wrong({"has ", name_of(v.type), " where ", name_of(expected), " is expected"});
        return v;
    }

    value const& top() const {
        if (stack_.size() <= floor()) wrong({"needs a value on an empty stack (stack underflow)"});
        return stack_.back();
    }

    /// The size of the stack at the last mark: what is below is out of reach.
    std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

    /// The position of the last mark, which is taken away.
    std::size_t pop_mark() {
        if (marks_.empty()) wrong({"needs a mark, but there is none (stack underflow)"});
        std::size_t const at = marks_.back();
        marks_.pop_back();
        return at;
    }

    /// The text that such a value stands for.
    std::string_view text(value const& v) const { return bytes_.substr(static_cast<std::size_t>(v.number), v.size); }

    /// The i-th item of a tuple, which must be of that kind.
    value const& item(value const& tuple, std::size_t i, kind expected) const {
        if (i >= tuple.size) wrong({"has a tuple of ", tuple.size, " items where more are expected"});
        value const& v = items_[static_cast<std::size_t>(tuple.number) + i];
        if (v.type != expected) wrong({"has ", name_of(v.type), " as item ", i, " where ", name_of(expected), " is expected"});
        return v;
    }

    std::uint64_t size_item(value const& tuple, std::size_t i) const {
        std::int64_t const n = item(tuple, i, kind::integer).number;
        if (n < 0) wrong({"has ", n, " where a size, stride or offset is expected"});
        return static_cast<std::uint64_t>(n);
    }

    std::vector<std::uint64_t> size_list(value const& tuple) const {
        if (tuple.size > most_dimensions) wrong({"has a tensor of ", tuple.size, " dimensions, at most ", most_dimensions, " are read"});
        std::vector<std::uint64_t> result(tuple.size);
        for (std::size_t i = 0; i < result.size(); ++i) result[i] = size_item(tuple, i);
        return result;
    }

    /// The n values on top become one tuple.
    void make_tuple(std::size_t n) {
        if (stack_.size() - floor() < n) wrong({"takes ", n, " values for a tuple from a stack of ", stack_.size() - floor(), " (stack underflow)"});
        auto const first = stack_.end() - static_cast<std::ptrdiff_t>(n);
        value const tuple{kind::tuple, static_cast<std::uint32_t>(n), static_cast<std::int64_t>(items_.size())};
        items_.insert(items_.end(), first, stack_.end());
        stack_.erase(first, stack_.end());
        stack_.push_back(tuple);
    }

    /// What lies above the last mark becomes one tuple.
    void marked_tuple() {
        std::size_t const from = pop_mark();
        make_tuple(stack_.size() - from);
    }

    void require_top(kind expected) const {
        if (top().type != expected) wrong({"has ", name_of(top().type), " where ", name_of(expected), " is expected"});
    }

    /// Keeps the value on top in a slot of the memo.
    void put(std::uint32_t index) {
        // Slots are numbered in the order of use, and each takes two bytes of the pickle at least.
        if (index > bytes_.size() / 2) wrong({"has the memo slot ", index, ", more than its size allows"});
        if (index >= memo_.size()) memo_.resize(index + std::size_t{1}, {{}, false});
        memo_[index] = {top(), true};
    }

    /// Puts the value of a slot on the stack.
    void get(std::uint32_t index) {
        if (index >= memo_.size() || !memo_[index].second) wrong({"takes memo slot ", index, ", which is empty"});
        stack_.push_back(memo_[index].first);
    }

    std::string_view bytes_;
    std::filesystem::path const& path_;
    std::uint64_t base_;
    std::vector<value> stack_;
    std::vector<std::size_t> marks_;  // sizes of the stack

private:
    static constexpr std::size_t most_values = 1'000'000;  // on the stack; torch.save needs about 2000

    std::size_t opcode_at_ = 0;
    std::vector<std::pair<value, bool>> memo_;  // slot, whether it is filled
    std::vector<value> items_;                  // of all tuples
};

}  // namespace goldfinch::io
