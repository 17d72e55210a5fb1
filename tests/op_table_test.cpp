// What every operation must pass: derivatives against finite differences, first and second; raw
// against recorded readings; every subset of inputs; the same tensor twice; sizes 0, 1 and n; and
// that no operation lacks a row. Values, kinks and error texts are in the test of each family.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include <xgrad/core/files.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/record.hpp>

#include "catch.hpp"
#include "error_of.hpp"
#include "op_table.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

using Tensors = std::vector<Tensor>;

Tensor random_like(const Tensor& x, std::uint64_t seed) {
  Rng rng(seed);
  return randn(x.shape(), rng);
}

[[maybe_unused]] double dot(const Tensor& a, const Tensor& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    total += static_cast<double>(a.data()[i]) * b.data()[i];
  return total;
}

/// Gradients of <cotangent, fn(inputs)>, zeros for inputs that do not ask for one.
Tensors gradients(const OpRow& row, const Tensors& inputs, const Tensor& cotangent,
                  bool recorded = false) {
  Tape tape;
  const Tensor y = row.fn(inputs);
  Tensors wanted;
  for (const Tensor& x : inputs)
    if (x.requires_grad()) wanted.push_back(x);
  if (!y.requires_grad()) {  // only inputs without a gradient, such as a condition, were asked for
    for (Tensor& x : wanted) x = zeros(x.shape());
    return wanted;
  }
  return tape.gradient(y, wanted, {.record = recorded}, cotangent);
}

void want_all(Tensors& inputs) {
  for (Tensor& x : inputs) x.requires_grad_();
}

/// d<cotangent, f>/dx by central differences against `analytic`.
template <class F>
void check_differences(const std::string& what, const F& f, Tensor x, const Tensor& analytic,
                       double relative, double absolute) {
  const double step = 6e-6;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const real at = x.data()[i];
    x.mutable_data()[i] = static_cast<real>(at + step);
    const double above = f();
    x.mutable_data()[i] = static_cast<real>(at - step);
    const double below = f();
    x.mutable_data()[i] = at;
    const double numeric = (above - below) / (2 * step), expected = analytic.data()[i];
    INFO(what << ", element " << i << ": differences " << numeric << ", rule " << expected);
    CHECK(std::abs(numeric - expected) <=
          std::max(absolute, relative * std::max(std::abs(numeric), std::abs(expected))));
  }
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

bool close(const Tensor& a, const Tensor& b, double tolerance) {
  if (a.shape() != b.shape()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a.data()[i], y = b.data()[i];
    if (!(std::abs(x - y) <= tolerance * (1 + std::max(std::abs(x), std::abs(y))))) return false;
  }
  return true;
}

}  // namespace

#ifdef XGRAD_DOUBLE
TEST_CASE("every operation's gradient agrees with central differences", "[ops][gradcheck]") {
  for (const OpRow& row : op_table().rows) {
    Tensors inputs = make_inputs(row, 3);
    const Tensor cotangent = random_like(row.fn(inputs), 77);
    want_all(inputs);
    const Tensors analytic = gradients(row, inputs, cotangent);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      check_differences(
          row.name + ", input " + std::to_string(i), [&] { return dot(cotangent, row.fn(inputs)); },
          inputs[i], analytic[i], 1e-7, 1e-9);
  }
}

TEST_CASE("every composed operation's second derivative agrees with central differences",
          "[ops][gradcheck]") {
  for (const OpRow& row : op_table().rows) {
    if (row.fused) continue;
    Tensors inputs = make_inputs(row, 3);
    Tensor cotangent = random_like(row.fn(inputs), 77);
    want_all(inputs);
    Tensors directions;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      directions.push_back(random_like(inputs[i], 100 + i));

    // s = sum_i <directions_i, d<cotangent, f>/dx_i>, differentiated by the tape and by differences
    // of gradients.
    Tape tape;
    const Tensor y = row.fn(inputs);
    const Tensors first = tape.gradient(y, inputs, {.record = true}, cotangent);
    Tensor s = scalar(0);
    for (std::size_t i = 0; i < inputs.size(); ++i) s = s + sum(first[i] * directions[i]);
    const Tensors second = s.requires_grad() ? tape.gradient(s, inputs) : Tensors();
    const auto numeric = [&] {
      const Tensors g = gradients(row, inputs, cotangent);
      double total = 0;
      for (std::size_t i = 0; i < g.size(); ++i) total += dot(g[i], directions[i]);
      return total;
    };
    for (std::size_t i = 0; i < inputs.size(); ++i)
      check_differences(row.name + " twice, input " + std::to_string(i), numeric, inputs[i],
                        second.empty() ? zeros(inputs[i].shape()) : second[i], 1e-6, 1e-8);
  }
}
#endif

TEST_CASE("both readings of every rule give the same gradient", "[ops]") {
  for (const OpRow& row : op_table().rows) {
    if (row.fused) continue;
    Tensors inputs = make_inputs(row, 3);
    want_all(inputs);
    const Tensor cotangent = random_like(row.fn(inputs), 5);
    const Tensors raw = gradients(row, inputs, cotangent),
                  recorded = gradients(row, inputs, cotangent, true);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      INFO(row.name << ", input " << i << "\nraw " << raw[i] << "\nrecorded " << recorded[i]);
      CHECK(close(raw[i], recorded[i], sizeof(real) == 8 ? 1e-13 : 1e-5));
    }
  }
}

TEST_CASE("a gradient does not depend on which other inputs want one", "[ops]") {
  for (const OpRow& row : op_table().rows) {
    Tensors inputs = make_inputs(row, 3);
    want_all(inputs);
    const Tensor cotangent = random_like(row.fn(inputs), 5);
    const Tensors all = gradients(row, inputs, cotangent);
    for (std::size_t subset = 1; subset < (1U << inputs.size()); ++subset) {
      for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i].requires_grad_((subset >> i) & 1);
      const Tensors some = gradients(row, inputs, cotangent);
      for (std::size_t i = 0, k = 0; i < inputs.size(); ++i) {
        if (!((subset >> i) & 1)) continue;
        INFO(row.name << ", input " << i << ", subset " << subset);
        CHECK(same_bits(some[k++], all[i]));
      }
    }
  }
}

TEST_CASE("the same tensor in two places receives the sum of both gradients", "[ops]") {
  for (const OpRow& row : op_table().rows) {
    Tensors inputs = make_inputs(row, 3);
    if (inputs.size() < 2 || inputs[0].shape() != inputs[1].shape()) continue;
    inputs[1] = inputs[0].clone();
    want_all(inputs);
    const Tensor cotangent = random_like(row.fn(inputs), 5);
    const Tensors apart = gradients(row, inputs, cotangent);
    Tensors shared = inputs;
    shared[1] = shared[0];
    Tape tape;
    const Tensor together = tape.gradient(row.fn(shared), shared[0], {}, cotangent);
    INFO(row.name);
    CHECK(close(together, apart[0] + apart[1], sizeof(real) == 8 ? 1e-13 : 1e-5));
  }
}

TEST_CASE("every operation works, forward and backward, for sizes 0, 1 and n", "[ops]") {
  for (const OpRow& row : op_table().rows)
    for (const std::size_t n : row.sizes) {
      INFO(row.name << ", n = " << n);
      Tensors inputs = make_inputs(row, n);
      want_all(inputs);
      Tape tape;
      const Tensor y = row.fn(inputs);
      const Tensors gradient = tape.gradient(y, inputs, {}, ones(y.shape()));
      for (std::size_t i = 0; i < inputs.size(); ++i)
        CHECK(gradient[i].shape() == inputs[i].shape());
    }
}

TEST_CASE("a gradient is linear in the cotangent", "[ops]") {
  for (const OpRow& row : op_table().rows) {
    Tensors inputs = make_inputs(row, 3);
    want_all(inputs);
    const Tensor u = random_like(row.fn(inputs), 5), v = random_like(u, 6);
    const Tensors gu = gradients(row, inputs, u), gv = gradients(row, inputs, v),
                  sum = gradients(row, inputs, u + real(3) * v);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      INFO(row.name << ", input " << i);
      CHECK(close(sum[i], gu[i] + real(3) * gv[i], sizeof(real) == 8 ? 1e-12 : 1e-4));
    }
  }
}

TEST_CASE("every operation that the library records has a row in the table", "[ops]") {
  std::set<std::string> recorded;
  struct Names : Observer {
    explicit Names(std::set<std::string>& set) : set(set) {}
    void on_record(std::size_t, const Entry& entry) override { set.insert(entry.op); }
    std::set<std::string>& set;
  } names(recorded);
  for (const OpRow& row : op_table().rows) {
    Tensors inputs = make_inputs(row, 3);
    want_all(inputs);
    Tape tape({.observer = &names});
    const Tensor y = row.fn(inputs);
    tape.gradient(y, inputs, {.record = !row.fused}, ones(y.shape()).requires_grad_());
  }
  const std::regex call("record(?:_fused)?\\(\\s*\"([^\"]+)\"");
  std::size_t found = 0;
  for (const char* folder : {"core", "nn"})
    for (const auto& file : std::filesystem::recursive_directory_iterator(
             std::string(XGRAD_SOURCE_DIR "/") + folder)) {
      if (file.path().extension() != ".cpp") continue;
      const std::string text = read_file(file.path().string());
      for (std::sregex_iterator match(text.begin(), text.end(), call), end; match != end;
           ++match, ++found) {
        INFO(file.path().string() << " records \"" << (*match)[1]
                                  << "\", which no row of tests/op_table.cpp runs");
        CHECK(recorded.count((*match)[1]) == 1);
      }
    }
  CHECK(found > 20);
}

TEST_CASE("no bit of a value or gradient depends on the number of threads", "[ops][threads][.slow]") {
  const int threads = num_threads();
  for (const OpRow& row : op_table().rows) {
    // Large enough for the kernels to split their work, small enough where it grows as a square.
    const auto count = [&](std::size_t n) {
      const Tensors inputs = make_inputs(row, n);
      double total = static_cast<double>(row.fn(inputs).size());
      for (const Tensor& x : inputs) total += static_cast<double>(x.size());
      return total;
    };
    const std::size_t linear = 40'011, quadratic = 300;
    const std::size_t n = row.large > 0               ? row.large
                          : count(6) < 2.5 * count(3) ? linear
                                                      : quadratic;
    const auto evaluate = [&](int with) {
      set_num_threads(with);
      Tensors inputs = make_inputs(row, n);
      want_all(inputs);
      const Tensor y = row.fn(inputs);
      Tensors all = gradients(row, inputs, random_like(y, 5));
      all.push_back(y);
      return all;
    };
    const Tensors one = evaluate(1);
    for (const int with : {2, 3}) {
      const Tensors other = evaluate(with);
      INFO(row.name << " with " << with << " threads, n = " << n);
      for (std::size_t i = 0; i < one.size(); ++i)
        CHECK(std::memcmp(one[i].data(), other[i].data(), one[i].size() * sizeof(real)) == 0);
    }
  }
  set_num_threads(threads);
}

TEST_CASE("every operation meets bad input with one clear error", "[ops][errors]") {
  for (const ErrorRow& row : op_table().errors) CHECK(error_of(row.call) == row.text);
}
