// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <span>
#include <string_view>
#include <vector>

#include <goldfinch/io/bytes.hpp>
#include <goldfinch/io/order.hpp>
#include <goldfinch/io/pickle_stack.hpp>
#include <goldfinch/io/stored_tensor.hpp>
#include <goldfinch/utf8.hpp>

namespace goldfinch::io {

/// A tensor as a state dict's pickle describes it: a strided window on a storage. Nothing in it is checked against a file yet.
struct pickled_tensor {
    std::string_view name;     // lies in the pickle, as all text here
    std::string_view storage;  // the storage's key: its file is <root>/data/<key>
    dtype_info const* type = nullptr;
    std::uint64_t storage_elements = 0;
    std::uint64_t storage_offset = 0;  // elements
    std::vector<std::uint64_t> shape;
    std::vector<std::uint64_t> strides;  // elements, one a dimension
};

/// The names of the opcodes that are refused, for messages. Source: Python's pickletools.
inline std::string_view refused_opcode_name(unsigned char opcode) {
    struct named {
        unsigned char opcode;
        std::string_view name;
    };
    // clang-format off
    static constexpr named names[] = {
        {'0', "POP"}, {'1', "POP_MARK"}, {'2', "DUP"}, {'F', "FLOAT"}, {'I', "INT"}, {'L', "LONG"}, {'P', "PERSID"},
        {'S', "STRING"}, {'T', "BINSTRING"}, {'U', "SHORT_BINSTRING"}, {'V', "UNICODE"}, {'d', "DICT"}, {'g', "GET"},
        {'i', "INST"}, {'l', "LIST"}, {'o', "OBJ"}, {'p', "PUT"}, {'B', "BINBYTES"}, {'C', "SHORT_BINBYTES"}, {0x81, "NEWOBJ"},
        {0x82, "EXT1"}, {0x83, "EXT2"}, {0x84, "EXT4"}, {0x8b, "LONG4"}, {0x8c, "SHORT_BINUNICODE"}, {0x8d, "BINUNICODE8"},
        {0x8e, "BINBYTES8"}, {0x8f, "EMPTY_SET"}, {0x90, "ADDITEMS"}, {0x91, "FROZENSET"}, {0x92, "NEWOBJ_EX"},
        {0x93, "STACK_GLOBAL"}, {0x94, "MEMOIZE"}, {0x95, "FRAME"}, {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"},
        {0x98, "READONLY_BUFFER"},
    };
    // clang-format on
    for (named const& n : names)
        if (n.opcode == opcode) return n.name;
    return "unknown";
}

/// Reads the pickle of a PyTorch state dict, protocol 2, and executes nothing: values are plain data, the few globals a state
/// dict needs are known by name, and every other opcode or global is refused by name. Nothing nests in memory, so depth costs
/// nothing; stack, memo and what they hold are bounded by the pickle's size, and that is limited.
/// Source: Python's pickletools, torch/serialization.py.
template <class OnDemand = void>
class state_dict_pickle : pickle_stack<> {
public:
    /// `base`: the file offset of the pickle.
    state_dict_pickle(std::span<std::byte const> bytes, std::filesystem::path const& path, std::uint64_t base)
        : pickle_stack<>(as_text(bytes), path, base), in_(bytes, path, base, "the pickle") {
        if (bytes.size() > most_bytes) wrong({"is ", bytes.size(), " bytes long, at most 32 MB are read"});
    }

    /// The tensors in the order of the file. Throws load_error.
    std::vector<pickled_tensor> read() {
        while (step()) continue;
        if (in_.left() != 0) wrong({"goes on after STOP"});
        return named_tensors(only_value());
    }

private:
    static constexpr std::size_t most_bytes = 32'000'000;  // a state dict needs about 100 a tensor
    static constexpr std::size_t most_tensors = 100'000;   // a model has hundreds

    /// A global, as its index in `globals`. storage_type is the first of the storage types, which are the rest of that list.
    enum class global : std::uint32_t { ordered_dict, rebuild_tensor, rebuild_parameter, storage_type };

    struct member {
        value key, item;
    };
    struct storage {
        value key;
        dtype_info const* type;
        std::uint64_t elements;
    };
    struct known_global {
        std::string_view module, name, dtype;
    };

    static constexpr std::size_t n_globals = 13;  // said, since nvcc counts no initialisers in a template
    static constexpr known_global globals[n_globals] = {{"collections", "OrderedDict", ""},
                                                        {"torch._utils", "_rebuild_tensor_v2", ""},
                                                        {"torch._utils", "_rebuild_parameter", ""},
                                                        {"torch", "FloatStorage", "F32"},
                                                        {"torch", "HalfStorage", "F16"},
                                                        {"torch", "BFloat16Storage", "BF16"},
                                                        {"torch", "DoubleStorage", "F64"},
                                                        {"torch", "LongStorage", "I64"},
                                                        {"torch", "IntStorage", "I32"},
                                                        {"torch", "ShortStorage", "I16"},
                                                        {"torch", "CharStorage", "I8"},
                                                        {"torch", "ByteStorage", "U8"},
                                                        {"torch", "BoolStorage", "BOOL"}};

    /// One opcode; false at STOP.
    bool step() {
        begin_opcode(in_.position());
        auto const opcode = in_.number<std::uint8_t>();
        // clang-format off
        switch (opcode) {
            case 0x80: protocol(); break;                                          // PROTO
            case '.': return false;                                                // STOP
            case '(': marks_.push_back(stack_.size()); break;                      // MARK
            case 'N': push(kind::none); break;                                     // NONE
            case 0x88: push(kind::boolean, 1); break;                              // NEWTRUE
            case 0x89: push(kind::boolean, 0); break;                              // NEWFALSE
            case 'J': push(kind::integer, static_cast<std::int32_t>(in_.number<std::uint32_t>())); break;  // BININT
            case 'K': push(kind::integer, in_.number<std::uint8_t>()); break;      // BININT1
            case 'M': push(kind::integer, in_.number<std::uint16_t>()); break;     // BININT2
            case 0x8a: long_integer(); break;                                      // LONG1
            case 'G': in_.take(8), push(kind::real); break;                        // BINFLOAT: no tensor needs its value
            case 'X': unicode(); break;                                            // BINUNICODE
            case ')': make_tuple(0); break;                                        // EMPTY_TUPLE
            case 0x85: make_tuple(1); break;                                       // TUPLE1
            case 0x86: make_tuple(2); break;                                       // TUPLE2
            case 0x87: make_tuple(3); break;                                       // TUPLE3
            case 't': marked_tuple(); break;                                       // TUPLE
            case ']': push(kind::list); break;                                     // EMPTY_LIST: lists are never looked into
            case 'a': pop(), require_top(kind::list); break;                       // APPEND
            case 'e': stack_.resize(pop_mark()), require_top(kind::list); break;   // APPENDS
            case '}': make_dict(); break;                                          // EMPTY_DICT
            case 's': set_item(); break;                                           // SETITEM
            case 'u': set_items(); break;                                          // SETITEMS
            case 'q': put(in_.number<std::uint8_t>()); break;                      // BINPUT
            case 'r': put(in_.number<std::uint32_t>()); break;                     // LONG_BINPUT
            case 'h': get(in_.number<std::uint8_t>()); break;                      // BINGET
            case 'j': get(in_.number<std::uint32_t>()); break;                     // LONG_BINGET
            case 'c': push_global(); break;                                        // GLOBAL
            case 'Q': load_storage(); break;                                       // BINPERSID
            case 'R': reduce(); break;                                             // REDUCE
            case 'b': pop(kind::dict), require_top(kind::dict); break;             // BUILD: a state dict's _metadata, read and dropped
            default: refuse(opcode);
        }
        // clang-format on
        return true;
    }

    [[noreturn]] void refuse(std::uint8_t opcode) const {
        constexpr char digits[] = "0123456789abcdef";
        char const hex[] = {digits[opcode >> 4], digits[opcode & 15]};
        wrong({"has the opcode ", refused_opcode_name(opcode), " (0x", std::string_view(hex, 2), "), which no state dict needs: refused"});
    }

    void protocol() {
        auto const version = in_.number<std::uint8_t>();
        if (version != 2) wrong({"has protocol ", unsigned{version}, ", expected 2, torch.save's default"});
    }

    void long_integer() {
        auto const source = in_.take(in_.number<std::uint8_t>());
        if (source.size() > 8) wrong({"has an integer of ", source.size(), " bytes, at most 8 are read"});
        std::uint64_t result = !source.empty() && (source.back() & std::byte{0x80}) != std::byte{0} ? ~std::uint64_t{0} : 0;
        for (std::size_t i = source.size(); i-- > 0;) result = result << 8 | static_cast<std::uint64_t>(source[i]);
        push(kind::integer, static_cast<std::int64_t>(result));
    }

    void unicode() {
        auto const size = in_.number<std::uint32_t>();
        std::size_t const at = in_.position();
        std::string_view const string = in_.text(size);
        if (detail::valid_utf8_prefix(string) != string.size()) wrong({"has text that is not UTF-8: ", in_quotes(string)});
        push(kind::text, static_cast<std::int64_t>(at), size);
    }

    void make_dict() {
        push(kind::dict, static_cast<std::int64_t>(dicts_.size()));
        dicts_.emplace_back();
    }

    std::vector<member>& top_dict() {
        require_top(kind::dict);
        return dicts_[static_cast<std::size_t>(top().number)];
    }

    void set_item() {
        value const item = pop(), key = pop();
        top_dict().push_back({key, item});
    }

    void set_items() {
        std::size_t const from = pop_mark();
        if ((stack_.size() - from) % 2 != 0) wrong({"has a key without a value"});
        std::vector<value> const pairs(stack_.begin() + static_cast<std::ptrdiff_t>(from), stack_.end());
        stack_.resize(from);
        auto& dict = top_dict();
        for (std::size_t i = 0; i < pairs.size(); i += 2) dict.push_back({pairs[i], pairs[i + 1]});
    }

    std::string_view line() {
        std::size_t const end = bytes_.find('\n', in_.position());
        if (end == bytes_.npos) wrong({"is cut short inside a global's name"});
        std::string_view const result = in_.text(end - in_.position());
        in_.take(1);
        return result;
    }

    void push_global() {
        std::string_view const module = line(), name = line();
        for (std::size_t i = 0; i < n_globals; ++i)
            if (globals[i].module == module && globals[i].name == name) return push(kind::global, static_cast<std::int64_t>(i));
        wrong({"has the global ", in_quotes(message({module, ".", name})),
               ", which no state dict of plain tensors needs: refused (save model.state_dict() alone)"});
    }

    /// ('storage', torch.FloatStorage, '0', 'cpu', 65536)
    void load_storage() {
        value const id = pop(kind::tuple);
        if (id.size != 5 || text(item(id, 0, kind::text)) != "storage") wrong({"has a persistent id that is no storage"});
        value const& type = item(id, 1, kind::global);
        dtype_info const* const info = find_dtype(globals[static_cast<std::size_t>(type.number)].dtype);
        if (!info) wrong({"has a storage whose type is no storage type"});
        item(id, 3, kind::text);  // the device it was on
        push(kind::storage, static_cast<std::int64_t>(storages_.size()));
        storages_.push_back({item(id, 2, kind::text), info, size_item(id, 4)});
    }

    void reduce() {
        value const arguments = pop(kind::tuple), function = pop(kind::global);
        switch (static_cast<global>(function.number)) {
            case global::ordered_dict:
                if (arguments.size != 0) wrong({"makes an OrderedDict from arguments, expected none"});
                return make_dict();
            case global::rebuild_tensor: return rebuild_tensor(arguments);
            case global::rebuild_parameter:  // (tensor, requires_grad, hooks)
                if (arguments.size != 3) wrong({"makes a parameter from ", arguments.size, " values, expected 3"});
                item(arguments, 1, kind::boolean), item(arguments, 2, kind::dict);
                return stack_.push_back(item(arguments, 0, kind::tensor));
            default: wrong({"calls a storage type"});
        }
    }

    /// (storage, storage_offset, size, stride, requires_grad, backward_hooks)
    void rebuild_tensor(value const& arguments) {
        if (arguments.size != 6) wrong({"makes a tensor from ", arguments.size, " values, expected 6"});
        item(arguments, 4, kind::boolean), item(arguments, 5, kind::dict);
        pickled_tensor const tensor = tensor_of(arguments);
        if (tensor.shape.size() != tensor.strides.size()) {
            wrong({"has a tensor of ", tensor.shape.size(), " dimensions with ", tensor.strides.size(), " strides"});
        }
        push(kind::tensor, static_cast<std::int64_t>(tensors_.size()));
        tensors_.push_back(arguments);
    }

    pickled_tensor tensor_of(value const& arguments) const {
        storage const& from = storages_[static_cast<std::size_t>(item(arguments, 0, kind::storage).number)];
        return {.name = {},
                .storage = text(from.key),
                .type = from.type,
                .storage_elements = from.elements,
                .storage_offset = size_item(arguments, 1),
                .shape = size_list(item(arguments, 2, kind::tuple)),
                .strides = size_list(item(arguments, 3, kind::tuple))};
    }

    /// Refuses too many names, and a name that comes twice. To be called before tensors are unpacked: a few bytes of a pickle give a
    /// tensor one more name, and unpacked it would take hundreds of bytes for each.
    void check_names(std::vector<member> const& members) const {
        if (members.size() > most_tensors) wrong({"holds ", members.size(), " tensors, at most ", most_tensors, " are read"});
        std::vector<place> names;
        for (member const& m : members) {
            if (m.key.type != kind::text) wrong({"has ", name_of(m.key.type), " as a key of its dict, expected a tensor's name"});
            names.push_back({names.size(), text(m.key)});
        }
        sort(names);
        if (place const* const twice = find_twice(names)) fail(path_, {"tensor ", in_quotes(twice->name), " twice", at_byte(base_)});
    }

    std::vector<pickled_tensor> named_tensors(value const& root) const {
        if (root.type != kind::dict) wrong({"holds ", name_of(root.type), ", expected a dict of tensors"});
        auto const& members = dicts_[static_cast<std::size_t>(root.number)];
        check_names(members);
        std::vector<pickled_tensor> result;
        for (member const& m : members) {
            if (m.item.type == kind::tensor) {
                result.push_back(tensor_of(tensors_[static_cast<std::size_t>(m.item.number)]));
                result.back().name = text(m.key);
                continue;
            }
            wrong({"has ", name_of(m.item.type), " under the key ", in_quotes(text(m.key)), ", expected a tensor",
                   (m.item.type == kind::dict ? ": a training checkpoint? Save the state dict alone, torch.save(model.state_dict(), path)" : "")});
        }
        return result;
    }

    byte_reader in_;
    std::vector<std::vector<member>> dicts_;
    std::vector<storage> storages_;
    std::vector<value> tensors_;  // the arguments that each is made from: already checked, unpacked once it is known to have a name
};

}  // namespace goldfinch::io
