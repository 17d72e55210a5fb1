// The smaller examples from outside: they run, and what they print and draw is right.
#include "catch.hpp"
#include "program.hpp"

using namespace program;

TEST_CASE("spiral learns its arms and draws them", "[examples]") {
  const Folder folder;
  const Result result =
      run(folder, "\"$BIN/spiral\" --points 60 --hidden 32 --steps 300 --out a/b.svg");
  CAPTURE(result.out, result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.empty());
  // Last line: "step  300  loss 0.0123  accuracy 100.0%  on new points  98.3%".
  const auto percent = [&](const std::string& label) {
    return std::stod(result.out.substr(result.out.rfind(label) + label.size()));
  };
  CHECK(percent("accuracy") > 97);
  CHECK(percent("on new points") > 90);

  const std::string picture = contents(folder.path / "a/b.svg");
  CHECK(is_well_formed(picture));
  CHECK_THAT(picture, Contains("arm 1") && Contains("arm 2") && Contains("arm 3"));
}

TEST_CASE("spiral repeats itself, with one thread or two", "[examples]") {
  const Folder folder;
  const std::string spiral = "\"$BIN/spiral\" --points 60 --steps 50 --out a.svg --threads ";
  const Result one = run(folder, spiral + "1"), two = run(folder, spiral + "2");
  CHECK(one.status == 0);
  CHECK(one.out == two.out);
}

TEST_CASE("spiral answers wrong input with one line", "[examples]") {
  const Folder folder;
  const auto [flags, text] = GENERATE(table<std::string, std::string>({
      {"--points 0", "spiral: --points: expected a whole number from 1 to 100000, got \"0\"\n"},
      {"--colour red",
       "spiral: unknown flag \"--colour\": the flags are --points, --hidden, "
       "--steps, --lr, --seed, --threads, --out\n"},
      {"--steps 1 --out .err/x.svg",
       "spiral: cannot make the folder \".err/.\": Not a directory\n"},
  }));
  const Result result = run(folder, "\"$BIN/spiral\" " + flags);
  CHECK(result.status != 0);
  CHECK(result.err == text);
  CHECK_FALSE(fs::exists(folder.path / "runs"));
}

TEST_CASE("custom_layer's rule agrees with finite differences, and its net learns", "[examples]") {
  const Folder folder;
  const Result result = run(folder, "\"$BIN/custom_layer\"");
  CAPTURE(result.out, result.err);
  CHECK(result.status == 0);  // it judges both itself
  CHECK_THAT(result.out, Contains("d2/dx2") && Contains("bumps: Bumps") && Contains("step  999"));
}

TEST_CASE("gradient_accumulation agrees with the whole batch", "[examples]") {
  const Folder folder;
  const Result result = run(folder, "\"$BIN/gradient_accumulation\"");
  CAPTURE(result.out, result.err);
  CHECK(result.status == 0);
}
