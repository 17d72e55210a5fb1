// position_study from outside, in its quick form: its models learn little, but what needs no
// learning must be right, and every number that it prints must stand in results.json.
#include <charconv>
#include <cmath>
#include <set>
#include <sstream>

#include "catch.hpp"
#include "program.hpp"
#include "support/results.hpp"

using namespace program;

namespace {

/// The numbers in the bodies of all tables: lines between one of dashes and an empty one.
std::vector<std::string> table_numbers(const std::string& printed) {
  std::vector<std::string> numbers;
  bool inside = false;
  std::istringstream lines(printed);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) inside = false;
    if (inside) {
      std::istringstream words(line);
      for (std::string word; words >> word;) {
        double value = 0;
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
        if (error == std::errc() && end == word.data() + word.size()) numbers.push_back(word);
      }
    }
    if (line.starts_with("  ---")) inside = true;
  }
  return numbers;
}

/// The one row with these columns.
Json only(const Json& rows, const Json& columns) {
  Json found;
  for (const Json& row : rows) {
    bool agrees = true;
    for (const auto& item : columns.items())
      agrees = agrees && row.contains(item.key()) && row[item.key()] == item.value();
    if (!agrees) continue;
    REQUIRE(found.is_null());
    found = row;
  }
  REQUIRE_FALSE(found.is_null());
  return found;
}

}  // namespace

TEST_CASE("position_study measures, prints and draws, the same with one thread or two",
          "[examples][study]") {
  const Folder folder;
  const Result result = run(folder, "\"$BIN/position_study\" --quick --threads 2 --out two");
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.empty());
  const Json file = Json::parse(contents(folder.path / "two/results.json"));
  CHECK(file["settings"]["quick"] == true);
  const Json& rows = file["rows"];

  std::set<std::string> studies, schemes, shown;
  for (const Json& row : rows) {
    for (const char* column : {"study", "scheme", "length"}) REQUIRE(row.contains(column));
    studies.insert(row["study"]);
    schemes.insert(row["scheme"]);
    for (const auto& item : row.items()) shown.insert(examples::shown(item.value()));
  }
  CHECK(studies == std::set<std::string>{"by_position", "exponent", "extrapolation", "permutation",
                                         "probe", "shift", "task", "task_by_distance", "variance"});
  CHECK(schemes == std::set<std::string>{"alibi", "learned", "nope", "relative", "rope",
                                         "rope, linear", "rope, ntk", "rope, yarn", "sinusoidal"});

  const std::vector<std::string> printed = table_numbers(result.out);
  CHECK(printed.size() > 200);
  for (const std::string& number : printed) {
    INFO(number);
    CHECK(shown.contains(number));
  }

  const auto permuted = [&](const char* attention, int layers) {
    return only(rows, {{"study", "permutation"},
                       {"scheme", "nope"},
                       {"attention", attention},
                       {"layers", layers}});
  };
  CHECK(permuted("bidirectional", 2)["whole_permuted"] < 1e-5);
  CHECK(permuted("causal", 1)["whole_permuted"] > 0.1);
  CHECK(permuted("causal", 1)["prefix_permuted"] < 1e-5);
  CHECK(permuted("causal", 2)["prefix_permuted"] > 0.1);
  for (const char* scheme : {"nope", "rope", "relative", "alibi", "learned", "sinusoidal"}) {
    INFO(scheme);
    const bool absolute = scheme == std::string("learned") || scheme == std::string("sinusoidal");
    const double change =
        only(rows, {{"study", "shift"}, {"scheme", scheme}, {"shift", 1000}})["change"];
    CHECK((change > 1e-2) == absolute);
    CHECK((change < 1e-5) == !absolute);
  }
  const double exponent = only(
      rows, {{"study", "exponent"}, {"source", "equal weights"}, {"from_position", 1}})["exponent"];
  CHECK(std::abs(exponent + 1) < 0.05);

  std::size_t pictures = 0;
  for (const auto& [path, text] : folder.files("two"))
    if (fs::path(path).extension() == ".svg") {
      INFO(path);
      CHECK(is_well_formed(text));
      ++pictures;
    }
  CHECK(pictures == 9);

  const Result again = run(folder, "\"$BIN/position_study\" --quick --threads 1 --out one");
  REQUIRE(again.status == 0);
  CHECK(Json::parse(contents(folder.path / "one/results.json"))["rows"] == rows);
}

TEST_CASE("position_study answers wrong input with one line", "[examples][study]") {
  const Folder folder;
  folder.write("short.txt", std::string(5000, 'a') + "b");
  const auto [flags, text] = GENERATE(table<std::string, std::string>({
      {"--quick yes",
       "position_study: unknown argument \"yes\": the flags are --data, --out, "
       "--quick, --seed, --threads\n"},
      {"--seed -1",
       "position_study: --seed: expected a whole number from 0 to 18446744073709551615, got "
       "\"-1\"\n"},
      {"--data nothing.txt",
       "position_study: read: cannot open \"nothing.txt\": No such file or directory\n"},
      {"--data short.txt",
       "position_study: the text is too short: its last tenth, held out, has 501 characters and "
       "must have more than 1024\n"},
  }));
  const Result result = run(folder, "\"$BIN/position_study\" " + flags);
  CHECK(result.status != 0);
  CHECK(result.err == text);
  CHECK_FALSE(fs::exists(folder.path / "runs"));
}
