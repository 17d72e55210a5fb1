// vq_study from outside: what it prints stands in results.json, its pictures are pictures, and the
// numbers come out as they should.
#include <algorithm>
#include <cstdio>
#include <set>

#include "catch.hpp"
#include "program.hpp"

using namespace program;

namespace {

Json results(const Folder& folder, const std::string& out) {
  return Json::parse(contents(folder.path / out / "results.json"));
}

std::vector<Json> rows(const Json& results, const std::string& study) {
  std::vector<Json> found;
  for (const Json& row : results["rows"])
    if (row["study"] == study) found.push_back(row);
  return found;
}

/// As the tables show it.
std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

/// The rows without what a clock put there.
Json without_seconds(Json results) {
  for (Json& row : results["rows"]) row.erase("seconds");
  return results["rows"];
}

/// Digits that are no digits: stripes whose width is the label.
std::string digits(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    for (int pixel = 0; pixel < 64; ++pixel)
      text += std::to_string((pixel + i) / (1 + i % 5) % 2 * 16) + ',';
    text += std::to_string(i % 5) + '\n';
  }
  return text;
}

/// A .npy file of (height, width, 3) bytes: colours that change smoothly.
std::string photograph(int width, int height) {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" +
                       std::to_string(height) + ", " + std::to_string(width) + ", 3), }";
  header += std::string(117 - header.size(), ' ') + '\n';
  std::string file = std::string("\x93NUMPY\1\0\x76\0", 10) + header;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (const int value : {3 * x, 3 * y, x + y}) file += static_cast<char>(value % 256);
  return file;
}

const std::string small = "\"$BIN/vq_study\" --quick --steps 12 --methods vq-ste,vq-rotation,fsq ";

}  // namespace

TEST_CASE("vq_study prints what results.json has, and draws it", "[examples][vq_study]") {
  const Folder folder;
  folder.write("digits.csv", digits(120));
  folder.write("photograph.npy", photograph(90, 70));
  const Result result =
      run(folder, small + "--digits digits.csv --images photograph.npy --out out");
  CAPTURE(result.out, result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.empty());
  const Json all = results(folder, "out");
  CHECK(all["settings"]["steps"] == 12);

  const std::vector<Json> methods = rows(all, "method");
  REQUIRE(methods.size() == 9);  // 3 methods, 3 seeds
  for (const Json& row : methods) {
    CAPTURE(row.dump());
    for (const char* column :
         {"method", "seed", "steps", "rec", "utilization", "perplexity", "seconds"})
      CHECK_FALSE(row[column].is_null());
    for (const char* column : {"qerr", "norm_ratio"}) {
      REQUIRE(row.contains(column));
      CHECK(row[column].is_null() == (row["method"] == "fsq"));
    }
    CHECK(row["utilization"] > 0);
    CHECK(row["utilization"] <= 1);
    for (const auto& [column, value] : row.items())
      if (value.is_number_float() && column != "seconds")
        CHECK_THAT(result.out, Contains(shown(value)));
  }
  CHECK(rows(all, "course").size() == 9 * 13);  // at the start and after each twelfth

  CHECK(rows(all, "plane").size() == 2);     // without fsq
  CHECK(rows(all, "cell").size() == 7 * 2);  // g along q and across it
  for (const Json& row : rows(all, "cell"))
    if (row["estimator"] == "straight-through") {
      for (const char* column : {"shortest", "longest"})
        CHECK_THAT(row[column].get<double>(), WithinAbs(1, 1e-6));
      for (const char* column : {"turned_from", "turned_to", "spread_along_q", "spread_across_q"})
        CHECK(row[column] == 0);
    }
  for (const auto& [study, bits] : {std::pair("digits", 0.5), std::pair("photograph", 0.5625)}) {
    const std::vector<Json> found = rows(all, study);
    REQUIRE(found.size() == 3);
    for (const Json& row : found) {
      CHECK(row["bits_per_pixel"] == bits);
      CHECK(row["entropy_bits"] <= bits);
      CHECK(row["psnr"] > 3);
    }
  }

  for (const char* picture :
       {"utilization", "reconstructions", "plane", "gradient_field", "digits", "photograph"}) {
    CAPTURE(picture);
    CHECK(is_well_formed(contents(folder.path / "out" / (std::string(picture) + ".svg"))));
  }
  for (const char* method : {"vq-ste", "vq-rotation", "fsq"})
    CHECK(contents(folder.path / "out" / ("photograph_" + std::string(method) + ".png"))
              .starts_with("\x89PNG"));
}

TEST_CASE("vq_study's numbers are the same with one thread and with two", "[examples][vq_study]") {
  const Folder folder;
  const std::string command =
      "\"$BIN/vq_study\" --quick --steps 6 --methods vq-rotation,simvq-ste,ema-ste-restart ";
  REQUIRE(run(folder, command + "--threads 1 --out one").status == 0);
  REQUIRE(run(folder, command + "--threads 2 --out two").status == 0);
  CHECK(without_seconds(results(folder, "one")) == without_seconds(results(folder, "two")));
  CHECK(contents(folder.path / "one/plane.svg") == contents(folder.path / "two/plane.svg"));
}

TEST_CASE("vq_study answers wrong input with one line, before any work", "[examples][vq_study]") {
  const Folder folder;
  folder.write("few.csv", digits(3));
  folder.write("letters.csv", digits(2) + "a,b\n");
  folder.write("tiny.npy", photograph(70, 20));
  const auto [flags, text] = GENERATE(table<std::string, std::string>({
      {"--steps 0", "vq_study: --steps: expected a whole number from 1 to 100000, got \"0\"\n"},
      {"--methods vq-ste,vq",
       "vq_study: --methods: there is no \"vq\": the methods are vq-ste, vq-rotation, simvq-ste, "
       "fsq, vq-ste-uniform, vq-ste-normal, vq-rotation-uniform, vq-rotation-normal, "
       "vq-rotation-no-scale, vq-scale-only, simvq-rotation, simvq-ste-base, simvq-ste-identity, "
       "simvq-ste-bias, diagonal-ste, ema-ste, ema-rotation, ema-ste-restart, diveq-vq, "
       "diveq-simvq, vq-ste-fast, vq-rotation-fast\n"},
      {"--digits few.csv", "vq_study: few.csv: has 3 digits and must have at least 100\n"},
      {"--digits letters.csv",
       "vq_study: letters.csv: line 3: needs 64 pixels from 0 to 16 and a label, with commas "
       "between\n"},
      {"--images few.csv", "vq_study: few.csv: not a .npy file\n"},
      {"--images tiny.npy",
       "vq_study: tiny.npy: is 70 x 20 pixels and must have at least 64 x 64\n"},
  }));
  const Result result = run(folder, "\"$BIN/vq_study\" " + flags);
  CHECK(result.status != 0);
  CHECK(result.err == text);
  CHECK_FALSE(fs::exists(folder.path / "runs"));
}

TEST_CASE("vq_study reproduces the orders of its papers in the small", "[.slow][vq_study]") {
  const Folder folder;
  const Result result =
      run(folder, "\"$BIN/vq_study\" --quick --methods vq-ste,vq-rotation,simvq-ste,fsq --out out");
  CAPTURE(result.out, result.err);
  REQUIRE(result.status == 0);
  const std::vector<Json> methods = rows(results(folder, "out"), "method");
  for (const int seed : {0, 1, 2}) {
    const auto get = [&](const std::string& method, const std::string& column) {
      for (const Json& row : methods)
        if (row["method"] == method && row["seed"] == seed) return row[column].get<double>();
      throw std::out_of_range(method);
    };
    CAPTURE(seed);
    CHECK(get("vq-rotation", "utilization") >= 0.9);  // one seed in nine has 91 %
    CHECK(get("simvq-ste", "utilization") >= 0.95);
    CHECK(get("vq-ste", "utilization") <= 0.7);
    CHECK(get("vq-rotation", "perplexity") >= 2.5 * get("vq-ste", "perplexity"));
    CHECK(get("simvq-ste", "perplexity") >= 1.8 * get("vq-ste", "perplexity"));
    CHECK(get("vq-rotation", "rec") <= 0.8 * get("vq-ste", "rec"));
    CHECK(get("simvq-ste", "rec") <= 0.85 * get("vq-ste", "rec"));
  }
}
