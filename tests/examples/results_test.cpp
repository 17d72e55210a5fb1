// Rows of a study, the tables made of them, and their file.
#include "support/results.hpp"

#include <limits>

#include "catch.hpp"

using namespace examples;

namespace {

Results some() {
  Results results;
  results.add({{"study", "a"}, {"scheme", "rope"}, {"length", 64}, {"val_loss", 1.90155}});
  results.add({{"study", "a"}, {"scheme", "rope"}, {"length", 128}, {"val_loss", 12.5}});
  results.add({{"study", "a"}, {"scheme", "no scheme"}, {"length", 128}, {"val_loss", 2e-7}});
  results.add({{"study", "b"}, {"scheme", "rope"}, {"exact", true}});
  return results;
}

}  // namespace

TEST_CASE("rows are found by the columns that they agree with", "[results]") {
  const Results results = some();
  CHECK(results.where({{"study", "a"}}).size() == 3);
  CHECK(results.where({{"study", "a"}, {"length", 128}}).size() == 2);
  CHECK(results.where({{"length", 64}}).front()["scheme"] == "rope");
  CHECK(results.where({{"exact", false}}).empty());
  CHECK(results.where(Row::object()).size() == 4);
}

TEST_CASE("a table has a line per row, and leaves empty what a row lacks", "[results]") {
  CHECK(table(some().where({{"scheme", "rope"}}), {"scheme", "length", "val_loss", "exact"}) ==
        "  scheme  length  val loss  exact\n"
        "  -------------------------------\n"
        "  rope        64     1.902\n"
        "  rope       128      12.5\n"
        "  rope                       true\n");
  CHECK(table({}, {"scheme"}) == "  scheme\n  ------\n");
  CHECK(table({{{"scheme", "fsq"}, {"qerr", nullptr}}}, {"scheme", "qerr"}) ==
        "  scheme  qerr\n"
        "  ------------\n"
        "  fsq\n");
}

TEST_CASE("a cross table has a line and a column per value, in order of appearance", "[results]") {
  CHECK(cross_table(some().where({{"study", "a"}}), "scheme", "length", "val_loss") ==
        "  val loss by length     64    128\n"
        "  --------------------------------\n"
        "  rope                1.902   12.5\n"
        "  no scheme                  2e-07\n");
}

TEST_CASE("results.json holds the settings and all rows, and nothing that is not JSON",
          "[results]") {
  Results results = some();
  results.add({{"study", "c"}, {"ratio", std::numeric_limits<double>::quiet_NaN()}});
  const Row file = Row::parse(results.json({{"seed", 7}}));
  CHECK(file["settings"]["seed"] == 7);
  REQUIRE(file["rows"].size() == 5);
  CHECK(file["rows"][0]["val_loss"] == 1.90155);
  CHECK(file["rows"][4]["ratio"].is_null());
}
