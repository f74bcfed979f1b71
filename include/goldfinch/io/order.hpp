// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace goldfinch::io {

/// What to sort the index-th of some things by: two numbers, where they have some, then the name. The readers of file formats sort
/// these in place of their entries, so that one sort serves them all. (Functions here and below take vectors and not spans, which
/// cost compilers more.)
struct place {
    std::size_t index;
    std::string_view name;
    std::uint64_t begin = 0, end = 0;

    bool operator==(place const& other) const { return begin == other.begin && end == other.end && name == other.name; }
    bool operator<(place const& other) const {
        if (begin != other.begin) return begin < other.begin;
        return end != other.end ? end < other.end : name < other.name;
    }
};

template <class OnDemand = void>
void sort(std::vector<place>& places) {
    std::sort(places.begin(), places.end());
}

/// The places of things, sorted by their names.
template <class T>
std::vector<place> sorted_by_name(std::vector<T> const& things) {
    std::vector<place> places;
    places.reserve(things.size());
    for (T const& thing : things) places.push_back({places.size(), thing.name});
    sort(places);
    return places;
}

/// A place that is equal to the one before it; nullptr where there is none.
inline place const* find_twice(std::vector<place> const& sorted) {
    for (std::size_t i = 1; i < sorted.size(); ++i)
        if (sorted[i] == sorted[i - 1]) return &sorted[i];
    return nullptr;
}

/// The thing of that name among some sorted by name, or nullptr.
template <class T>
T const* find(std::vector<T> const& sorted, std::string_view name) {
    std::size_t first = 0, last = sorted.size();
    while (first < last) {
        std::size_t const middle = first + (last - first) / 2;
        int const order = name.compare(sorted[middle].name);
        if (order == 0) return &sorted[middle];
        (order < 0 ? last : first) = order < 0 ? middle : middle + 1;
    }
    return nullptr;
}

}  // namespace goldfinch::io
