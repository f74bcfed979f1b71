// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

#include "program.hpp"
#include "stopwatch.hpp"

namespace commands {

/// A bar on standard error for work that takes long, where that is a terminal; gone when the work is done.
class progress {
public:
    explicit progress(std::string label) : label_(std::move(label)), shows_(is_terminal(stderr)) {}
    progress(progress const&) = delete;
    progress& operator=(progress const&) = delete;
    ~progress() {
        if (drawn_) std::fputs("\r\033[K", stderr);
    }

    void operator()(std::size_t done, std::size_t total) {
        // Short work draws nothing, and long work not more often than one can see.
        if (!shows_ || total == 0 || watch_.seconds() < next_) return;
        next_ = watch_.seconds() + 0.1;
        drawn_ = true;
        constexpr std::size_t width = 40;
        double const share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
        std::string bar(static_cast<std::size_t>(share * width), '#');
        bar.resize(width, '.');
        std::fprintf(stderr, "\r%s [%s] %3.0f%%", label_.c_str(), bar.c_str(), 100 * share);
        std::fflush(stderr);
    }

private:
    std::string label_;
    bool shows_, drawn_ = false;
    stopwatch watch_;
    double next_ = 0.3;
};

}  // namespace commands
