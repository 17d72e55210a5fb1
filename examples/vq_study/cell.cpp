// Part 3, the essay's picture (archive 10489): all vectors z of one Voronoi cell have the same code
// q and the same gradient g behind it. What becomes of g on its way to z is the estimator's choice.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "study.hpp"

namespace study {
namespace {

struct Named {
  std::string name;
  std::shared_ptr<const Estimator> estimator;
};

std::vector<Named> estimators() {
  return {{"straight-through", std::make_shared<StraightThrough>()},
          {"rotation", std::make_shared<Rotation>()},
          {"rotation without scale", std::make_shared<RotationNoScale>()},
          {"scale only", std::make_shared<ScaleOnly>()},
          {"reflection", std::make_shared<Reflection>()},
          {"tangent rotation", std::make_shared<TangentRotation>()},
          {"diveq", std::make_shared<Diveq>()}};
}

struct Point {
  double x, y;
};

/// A code, and those around it.
constexpr Point code{1.2, 0.6};
constexpr Point neighbours[] = {{0.2, 0.35},  {0.6, 1.4},   {1.6, 1.55},
                                {2.15, 0.75}, {1.85, -0.3}, {0.85, -0.4}};

/// Corners of the cell of `code`: a large square, cut by the line midway to each neighbour.
std::vector<Point> cell() {
  std::vector<Point> corners{{-9, -9}, {9, -9}, {9, 9}, {-9, 9}};
  for (const Point& other : neighbours) {
    const auto beyond = [&](const Point& p) {  // > 0: nearer to the neighbour
      return (p.x - (code.x + other.x) / 2) * (other.x - code.x) +
             (p.y - (code.y + other.y) / 2) * (other.y - code.y);
    };
    std::vector<Point> kept;
    for (std::size_t i = 0; i < corners.size(); ++i) {
      const Point &a = corners[i], &b = corners[(i + 1) % corners.size()];
      const double at_a = beyond(a), at_b = beyond(b);
      if (at_a <= 0) kept.push_back(a);
      if (at_a * at_b >= 0) continue;
      const double t = at_a / (at_a - at_b);
      kept.push_back({a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)});
    }
    corners = kept;
  }
  return corners;
}

bool inside(const Point& p) {
  const auto distance = [&p](const Point& c) { return std::hypot(p.x - c.x, p.y - c.y); };
  return std::all_of(std::begin(neighbours), std::end(neighbours),
                     [&](const Point& other) { return distance(code) < distance(other); });
}

/// A grid over the cell.
std::vector<Point> grid(double step) {
  std::vector<Point> points;
  for (double y = -1; y < 3; y += step)
    for (double x = 0; x < 4; x += step)
      if (inside({x, y})) points.push_back({x, y});
  return points;
}

/// The gradient of each z, (n, 2), for one and the same g at all of their codes.
Tensor pull_back(const Estimator& estimator, const std::vector<Point>& points, const Point& g) {
  Tensor z = zeros({points.size(), std::size_t{2}}), q = zeros({points.size(), std::size_t{2}}),
         seed = zeros({points.size(), std::size_t{2}});
  for (std::size_t i = 0; i < points.size(); ++i)
    for (const auto& [to, from] :
         {std::pair(&z, points[i]), std::pair(&q, code), std::pair(&seed, g)}) {
      to->mutable_data()[2 * i] = static_cast<real>(from.x);
      to->mutable_data()[2 * i + 1] = static_cast<real>(from.y);
    }
  z.requires_grad_();
  Tape tape;
  return tape.gradient(estimator(z, q), z, {}, seed);
}

Point row_of(const Tensor& x, std::size_t i) { return {x.data()[2 * i], x.data()[2 * i + 1]}; }

/// How the gradients of a cell differ: in length and angle against g; and whether a step against
/// them spreads the vectors, along q and across it. That is minus the slope of dz over z there, by
/// least squares.
Row summary(const std::string& name, const std::string& direction, const Point& g,
            const std::vector<Point>& points, const Tensor& dz) {
  constexpr double nothing = 1e-6;  // in float
  const double size = std::hypot(g.x, g.y), length = std::hypot(code.x, code.y);
  double shortest = INFINITY, longest = 0, left = -180, right = 180;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Point d = row_of(dz, i);
    const double angle = std::atan2(g.x * d.y - g.y * d.x, g.x * d.x + g.y * d.y);
    shortest = std::min(shortest, std::hypot(d.x, d.y) / size);
    longest = std::max(longest, std::hypot(d.x, d.y) / size);
    left = std::max(left, angle * 180 / std::numbers::pi);
    right = std::min(right, angle * 180 / std::numbers::pi);
  }
  const auto spread = [&](const Point& unit) {
    const auto n = static_cast<double>(points.size());
    double z_mean = 0, d_mean = 0, product = 0, square = 0;
    const auto part = [&unit](const Point& p) { return unit.x * p.x + unit.y * p.y; };
    for (std::size_t i = 0; i < points.size(); ++i)
      z_mean += part(points[i]) / n, d_mean += part(row_of(dz, i)) / n;
    for (std::size_t i = 0; i < points.size(); ++i) {
      product += (part(points[i]) - z_mean) * (part(row_of(dz, i)) - d_mean);
      square += (part(points[i]) - z_mean) * (part(points[i]) - z_mean);
    }
    const double slope = product / square / size;
    return std::abs(slope) < nothing ? 0 : -slope;
  };
  Row row{{"study", "cell"},
          {"estimator", name},
          {"gradient", direction},
          {"shortest", shortest < nothing ? 0 : shortest},
          {"longest", longest < nothing ? 0 : longest}};
  if (longest >= nothing) row["turned_from"] = right, row["turned_to"] = left;
  row["spread_along_q"] = spread({code.x / length, code.y / length});
  row["spread_across_q"] = spread({-code.y / length, code.x / length});
  return row;
}

std::string picture(const std::string& title, const std::vector<Point>& points, const Point& g,
                    const Tensor& dz) {
  Series edge{"", {}, {}, "#bbb"}, others{"other codes", {}, {}, "#999"};
  const std::vector<Point> corners = cell();
  for (std::size_t i = 0; i <= corners.size(); ++i) {
    edge.xs.push_back(corners[i % corners.size()].x);
    edge.ys.push_back(corners[i % corners.size()].y);
  }
  for (const Point& other : neighbours) others.xs.push_back(other.x), others.ys.push_back(other.y);
  constexpr double scale = 0.25;  // of an arrow, so that neighbours leave each other room
  examples::Arrows arrows{.colour = "#0072b2"};
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Point d = row_of(dz, i);
    arrows.xs.push_back(points[i].x);
    arrows.ys.push_back(points[i].y);
    arrows.us.push_back(scale * d.x);
    arrows.vs.push_back(scale * d.y);
  }
  return examples::plane_chart(title, "", "",
                               {.dots = {{"q and g", {code.x}, {code.y}, "#d55e00", 4.5},
                                         others,
                                         {"origin", {0}, {0}, "#000"}},
                                .lines = {edge},
                                .arrows = {arrows, {{code.x}, {code.y}, {g.x}, {g.y}, "#d55e00"}}},
                               400);
}

/// Those whose first gradient has this property.
std::string names(const Rows& rows, const std::function<bool(const Row&)>& property) {
  std::vector<std::string> found;
  for (const Row& row : rows)
    if (property(row)) found.push_back(row["estimator"]);
  return listed(found);
}

}  // namespace

void measure_cell(Context& context) {
  const std::vector<Point> points = grid(0.15);
  const double length = std::hypot(code.x, code.y), size = 0.6;
  const Point along{size * code.x / length, size * code.y / length};
  const std::pair<std::string, Point> directions[] = {{"along q", along},
                                                      {"across q", {-along.y, along.x}}};
  std::vector<std::string> pictures;
  for (const Named& named : estimators())
    for (const auto& [direction, g] : directions) {
      const Tensor dz = pull_back(*named.estimator, points, g);
      context.results.add(summary(named.name, direction, g, points, dz));
      pictures.push_back(picture(named.name + ", g " + direction, points, g, dz));
    }
  context.show(
      "3. One gradient g at a code, over all z of its cell: lengths of dz over that of g, its "
      "angle "
      "to g\n   in degrees; spread: how fast a step of descent, along -dz, moves the z of the cell "
      "apart (or,\n   negative, together)",
      table(context.results.where({{"study", "cell"}}),
            {"estimator", "gradient", "shortest", "longest", "turned_from", "turned_to",
             "spread_along_q", "spread_across_q"}));
  const Rows rows = context.results.where({{"study", "cell"}, {"gradient", "along q"}});
  const auto moves = [](const char* column, double sign) {
    return [=](const Row& row) { return sign * row[column].get<double>() > 0; };
  };
  context.read(
      "With g along q, where the loss wants a shorter code, descent drives the vectors of "
      "the cell apart along q with " +
      names(rows, moves("spread_along_q", 1)) + ", and brings them together across q with " +
      names(rows, moves("spread_across_q", -1)) +
      "; with g against q it is the other way round, since dz is linear in g. The same "
      "gradient for all of the cell: " +
      names(rows,
            [](const Row& row) {
              return row["longest"] != 0 && row["shortest"] == row["longest"] &&
                     row["spread_along_q"] == 0 && row["spread_across_q"] == 0;
            }) +
      "; none at all: " + names(rows, [](const Row& row) { return row["longest"] == 0; }) + '.');
  context.draw("gradient_field.svg", examples::side_by_side(pictures, 4));
}

}  // namespace study
