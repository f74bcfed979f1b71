// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <locale>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A scatter plot with a label at each point, as SVG: no library draws one, so that the lab needs none.

namespace lab {

struct point {
    std::string label;
    double x, y;       ///< at least 0
    std::size_t kind;  ///< index in scatter::kinds, of which there are at most 3
};

struct scatter {
    std::string title, subtitle, x_title, y_title;
    std::vector<std::string> kinds;
    std::vector<point> points;
};

namespace detail {

/// Text as it stands in XML, without what XML cannot hold.
inline std::string escaped(std::string_view text) {
    std::string result;
    for (char const c : text) switch (c) {
            case '&': result += "&amp;"; break;
            case '<': result += "&lt;"; break;
            case '>': result += "&gt;"; break;
            case '"': result += "&quot;"; break;
            default: result += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
        }
    return result;
}

/// A number with commas between thousands.
inline std::string readable(double value) {
    std::ostringstream digits;
    digits.imbue(std::locale::classic());
    digits << (value < 1 ? std::defaultfloat : std::fixed) << std::setprecision(value < 1 ? 3 : 0) << value;
    std::string text = digits.str();
    if (value >= 1)
        for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
    return text;
}

/// A logarithmic axis from pixel `from` to `to`, with a place of its own for zero at the beginning where there is one.
class axis {
public:
    axis(std::vector<double> const& values, double from, double to) {
        for (double const v : values) {
            if (v <= 0) continue;
            low_ = low_ > 0 ? std::min(low_, v) : v;
            high_ = std::max(high_, v);
        }
        has_zero_ = std::any_of(values.begin(), values.end(), [](double v) { return v <= 0; });
        zero_ = from + (to - from) * 0.05;
        begin_ = has_zero_ ? from + (to - from) * 0.12 : from;
        end_ = to;
        if (low_ > 0) {
            double const range = high_ / low_, room = std::max(std::pow(range, 0.05), std::sqrt(10 / range));  // a power of ten at the least
            low_ /= room;
            high_ *= room;
        }
    }

    bool has_zero() const { return has_zero_; }
    double break_at() const { return begin_; }  ///< pixel between the place for zero and the rest
    double at(double value) const { return value <= 0 ? zero_ : begin_ + (end_ - begin_) * std::log(value / low_) / std::log(high_ / low_); }

    /// Zero where it has a place, and powers of ten with 2 and 5 times these.
    std::vector<double> ticks() const {
        std::vector<double> result;
        if (has_zero_) result.push_back(0);
        if (low_ > 0)
            for (double power = std::pow(10, std::floor(std::log10(low_))); power <= high_; power *= 10)
                for (double const v : {power, 2 * power, 5 * power})
                    if (v >= low_ && v <= high_) result.push_back(v);
        return result;
    }

private:
    double low_ = 0, high_ = 0, zero_, begin_, end_;
    bool has_zero_;
};

struct box {
    double left, top, right, bottom;

    bool meets(box const& b) const { return left < b.right && b.left < right && top < b.bottom && b.top < bottom; }
    bool holds(double x, double y) const { return x > left && x < right && y > top && y < bottom; }
    bool inside(box const& b) const { return left >= b.left && right <= b.right && top >= b.top && bottom <= b.bottom; }
};

struct line {
    double x0, y0, x1, y1;

    bool meets(box const& b) const {
        constexpr int samples = 100;
        for (int i = 0; i <= samples; ++i)
            if (double const s = static_cast<double>(i) / samples; b.holds(x0 + (x1 - x0) * s, y0 + (y1 - y0) * s)) return true;
        return false;
    }
};

struct placed_label {
    box text;
    line leader;  ///< from the point to the text
    bool far;     ///< whether the leader is to be drawn
};

constexpr double font_size = 12, letter = 0.61 * font_size;  // the widest monospaced fonts take 0.602
constexpr double marker = 6.5;

struct placement {
    std::vector<placed_label> labels;  // of the points, in their order
    double cost = 0;                   // how far from their points they are, and what they cross
};

/// Finds each label a place that overlaps no other and no point, near its own: to the right, to the left, and around it in growing
/// circles. Labels come in the given order.
inline placement place_labels(std::vector<point> const& points, std::vector<box> const& markers, box const& plot,
                              std::vector<std::size_t> const& order) {
    placement result{std::vector<placed_label>(points.size()), 0};
    std::vector<placed_label> placed;
    for (std::size_t const p : order) {
        double const x = (markers[p].left + markers[p].right) / 2, y = (markers[p].top + markers[p].bottom) / 2;
        double const width = letter * static_cast<double>(points[p].label.size()), height = font_size + 2;
        auto const candidate = [&](double distance, double angle) {
            double const dx = std::cos(angle), dy = std::sin(angle);
            double const left = std::abs(dx) < 0.3 ? x + distance * dx - width / 2 : dx > 0 ? x + distance * dx : x + distance * dx - width;
            double const top = y + distance * dy - height / 2;
            box const text{left, top, left + width, top + height};
            line const leader{x, y, std::clamp(x, text.left, text.right), std::clamp(y, text.top, text.bottom)};
            return placed_label{text, leader, std::hypot(leader.x1 - x, leader.y1 - y) > 2 * marker};
        };
        // Text overlaps nothing; a leader had better not cross what is not its own, but between crowded points it has to.
        constexpr double never = 1e9;
        auto const cost = [&](placed_label const& label, double distance) {
            if (!label.text.inside(plot)) return never;
            double sum = distance;
            for (box const& other : markers) {
                if (label.text.meets(other)) return never;
                if (label.far && !other.meets(markers[p]) && label.leader.meets(other)) sum += 150;
            }
            for (placed_label const& other : placed) {
                if (label.text.meets(other.text)) return never;
                if ((label.far && label.leader.meets(other.text)) || (other.far && other.leader.meets(label.text))) sum += 120;
            }
            return sum;
        };

        constexpr double pi = 3.14159265358979, first = 1.6 * marker;
        placed_label best = candidate(first, 0);
        double least = never;
        for (double distance = first; distance < std::min(400.0, least); distance += 6)
            for (int const eighth : {0, 8, 1, -1, 7, -7, 2, -2, 6, -6, 3, -3, 5, -5, 4, -4}) {
                auto const label = candidate(distance, eighth * pi / 8);
                if (double const its = cost(label, distance); its < least) {
                    best = label;
                    least = its;
                }
            }
        placed.push_back(best);
        result.labels[p] = best;
        result.cost += least;
    }
    return result;
}

/// The best of some orders to place labels in: in a crowd the last ones find little room.
inline std::vector<placed_label> place_labels(std::vector<point> const& points, std::vector<box> const& markers, box const& plot) {
    std::vector<std::size_t> order(points.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    placement best = place_labels(points, markers, plot, order);
    std::mt19937 random(1);
    for (int i = 0; i < 100; ++i) {
        std::shuffle(order.begin(), order.end(), random);
        if (placement other = place_labels(points, markers, plot, order); other.cost < best.cost) best = std::move(other);
    }
    return std::move(best.labels);
}

}  // namespace detail

/// The plot as an SVG document. Both axes are logarithmic; it follows the reader's light or dark setting.
inline std::string svg(scatter const& s) {
    using namespace detail;
    constexpr double width = 960, height = 620;
    constexpr box plot{80, 96, width - 24, height - 60};
    std::vector<double> xs, ys;
    for (point const& p : s.points) {
        xs.push_back(p.x);
        ys.push_back(p.y);
    }
    axis const x(xs, plot.left, plot.right), y(ys, plot.bottom, plot.top);

    std::ostringstream out;
    out.imbue(std::locale::classic());
    out << std::fixed << std::setprecision(1);
    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << ' ' << height << "\" width=\"" << width << "\" height=\"" << height
        << "\" role=\"img\">\n<title>" << escaped(s.title) << "</title>\n";
    // Plain rules, no variables: not only browsers read it.
    out << R"(<style>
text { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12px; fill: #1f2328; }
.title, .plain { font-family: system-ui, Helvetica, Arial, "DejaVu Sans", sans-serif; font-size: 13px; }
.title { font-size: 16px; font-weight: bold; }
.middle { text-anchor: middle; } .end { text-anchor: end; } .faint { fill: #6e7781; } .paper { fill: #ffffff; }
.grid { stroke: #d8dee4; } .leader { stroke: #8c959f; } .break { stroke-dasharray: 4 4; }
.k0 { fill: #1a7f37; } .k1 { fill: #0969da; } .k2 { fill: #bc4c00; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .faint { fill: #9198a1; } .paper { fill: #0d1117; } .grid { stroke: #30363d; } .leader { stroke: #6e7781; }
.k0 { fill: #56d364; } .k1 { fill: #58a6ff; } .k2 { fill: #ffa657; }
}
</style>
)";
    out << "<rect class=\"paper\" width=\"" << width << "\" height=\"" << height << "\"/>\n";

    auto const text = [&](double at_x, double at_y, char const* kind, std::string_view words) {
        out << "<text x=\"" << at_x << "\" y=\"" << at_y << "\" class=\"" << kind << "\">" << escaped(words) << "</text>\n";
    };
    auto const stroke = [&](line const& l, char const* kind) {
        out << "<line x1=\"" << l.x0 << "\" y1=\"" << l.y0 << "\" x2=\"" << l.x1 << "\" y2=\"" << l.y1 << "\" class=\"" << kind << "\"/>\n";
    };
    // Kinds differ in shape, too: not everyone tells the colours apart.
    auto const draw = [&](double at_x, double at_y, std::size_t kind) {
        out << "<path class=\"k" << kind % 3 << "\" d=\"M" << at_x << ' ' << at_y;
        if (kind % 3 == 0)
            out << "m0 -6l6 6l-6 6l-6 -6z\"";
        else if (kind % 3 == 1)
            out << "m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z\"";
        else
            out << "m-4.5 -4.5h9v9h-9z\"";
    };

    text(plot.left, 28, "title", s.title);
    text(plot.left, 50, "plain faint", s.subtitle);
    double legend = plot.left + marker;
    for (std::size_t kind = 0; kind < s.kinds.size(); ++kind) {
        if (std::none_of(s.points.begin(), s.points.end(), [&](point const& p) { return p.kind == kind; })) continue;
        draw(legend, 73, kind);
        out << "/>\n";
        text(legend + 12, 77, "", s.kinds[kind]);
        legend += 12 + letter * static_cast<double>(s.kinds[kind].size() + 3);
    }

    for (double const v : x.ticks()) {
        stroke({x.at(v), plot.top, x.at(v), plot.bottom}, "grid");
        text(x.at(v), plot.bottom + 18, "faint middle", readable(v));
    }
    for (double const v : y.ticks()) {
        stroke({plot.left, y.at(v), plot.right, y.at(v)}, "grid");
        text(plot.left - 8, y.at(v) + 4, "faint end", readable(v));
    }
    if (x.has_zero()) stroke({x.break_at(), plot.top, x.break_at(), plot.bottom}, "leader break");
    if (y.has_zero()) stroke({plot.left, y.break_at(), plot.right, y.break_at()}, "leader break");
    text((plot.left + plot.right) / 2, height - 16, "plain middle", s.x_title);
    out << "<text class=\"plain middle\" transform=\"translate(20 " << (plot.top + plot.bottom) / 2 << ") rotate(-90)\">" << escaped(s.y_title)
        << "</text>\n";

    std::vector<box> markers;
    for (point const& p : s.points) markers.push_back({x.at(p.x) - marker, y.at(p.y) - marker, x.at(p.x) + marker, y.at(p.y) + marker});
    auto const labels = place_labels(s.points, markers, plot);
    for (auto const& label : labels)
        if (label.far) stroke(label.leader, "leader");
    for (std::size_t p = 0; p < s.points.size(); ++p) {
        point const& it = s.points[p];
        draw(x.at(it.x), y.at(it.y), it.kind);
        out << "><title>" << escaped(it.label) << ": " << readable(it.x) << ", " << readable(it.y) << "</title></path>\n";
        text(labels[p].text.left, labels[p].text.bottom - 3, "", it.label);
    }
    out << "</svg>\n";
    return out.str();
}

}  // namespace lab
