// The program that continues a text, from outside: what it writes and when, and what it says to
// wrong input. How tokens are chosen is tests/models/generate_test.cpp's.
#include "catch.hpp"
#include "tiny_run.hpp"

using namespace program;

namespace {

struct Writer : Lab {
  Writer() { REQUIRE(train("--steps 200 --out run").status == 0); }
  Result generate(const std::string& flags) const {
    return run(*this, "\"$BIN/generate\" --model run " + flags);
  }
  std::string text(const std::string& flags) const {
    const Result result = generate(flags);
    CAPTURE(flags, result.err);
    REQUIRE(result.status == 0);
    CHECK(result.err.empty());  // the speed is for a terminal
    return result.out;
  }
};

/// One run for all tests that only read it.
const Writer& shared_writer() {
  static const Writer writer;
  return writer;
}

}  // namespace

TEST_CASE("generate continues a text, the same one for the same flags", "[generate]") {
  const Writer& writer = shared_writer();
  const std::string some = writer.text("--prompt '3 plus'");
  CHECK(some.starts_with("3 plus"));
  CHECK(some.size() == 6 + 500 + 1);
  CHECK(some.ends_with('\n'));
  CHECK(writer.text("--prompt '3 plus'") == some);
  CHECK(writer.text("--prompt '3 plus' --threads 2") == some);
  CHECK(writer.text("--prompt '3 plus' --seed 1") != some);
  CHECK(writer.text("--prompt '3 plus' --max-tokens 0") == "3 plus\n");
  CHECK(writer.text("--prompt '3 plus' --max-tokens 7") == some.substr(0, 13) + "\n");

  // It sees as many characters as in training, 8.
  const std::string likeliest = writer.text("--prompt 'plus 1 is ' --temperature 0");
  CHECK(writer.text("--prompt '..s plus 1 is ' --temperature 0").substr(4) == likeliest);
  CHECK(writer.text("--prompt 'plus 1 is ' --top-k 1") == likeliest);
  CHECK(writer.text("--prompt 'plus 1 is ' --top-p 1e-6") == likeliest);
  CHECK(writer.text("--prompt 'plus 1 is ' --temperature 0 --repetition-penalty 3") != likeliest);
}

TEST_CASE("generate stops at any of the stop characters", "[generate]") {
  const Writer& writer = shared_writer();
  const std::string whole = writer.text("--prompt '1 p'");
  const std::size_t dot = whole.find_first_of(".s", 3);
  REQUIRE(dot != std::string::npos);
  CHECK(writer.text("--prompt '1 p' --stop s.") == whole.substr(0, dot + 1) + "\n");
}

TEST_CASE("generate works under every position scheme, far beyond the training's context",
          "[generate]") {
  const Lab lab;
  for (const std::string position :
       {"rope", "alibi", "relative", "learned", "sinusoidal", "nope"}) {
    CAPTURE(position);
    REQUIRE(lab.train("--steps 3 --out " + position + " --position " + position).status == 0);
    for (const std::string window : {"", "--window 6", "--window 4 --sinks 2"}) {
      const Result result = run(lab, "\"$BIN/generate\" --model " + position +
                                         " --prompt '4 plus 1 is' --max-tokens 50 " + window);
      CAPTURE(window, result.err);
      CHECK(result.status == 0);
      CHECK(result.out.size() == 11 + 50 + 1);
    }
  }
}

TEST_CASE("characters are written as they come, and an interrupt ends the text cleanly",
          "[generate]") {
  const Writer writer;
  const std::string signal = GENERATE("INT", "TERM");
  const Result stopped =
      run(writer,
          "\"$BIN/generate\" --model run --prompt '1 ' --max-tokens 100000 >text & pid=$!; "
          "while kill -0 $pid && ! [ -s text ]; do sleep 0.01; done; kill -" +
              signal + " $pid; wait $pid");
  CAPTURE(stopped.err);
  CHECK(stopped.status == 0);
  CHECK(stopped.err.empty());
  const std::string text = contents(writer.path / "text");
  CHECK(text.starts_with("1 "));
  CHECK(text.ends_with('\n'));
  CHECK(text.size() < 100'000);
}

TEST_CASE("generate --help explains every flag", "[generate]") {
  const Lab lab;
  const Result result = run(lab, "\"$BIN/generate\" --help");
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  for (const char* flag : {"--model DIR", "--prompt TEXT", "--max-tokens N", "--stop TEXT",
                           "--temperature X", "--top-k N", "--top-p X", "--repetition-penalty X",
                           "--seed N", "--window N", "--sinks N", "--threads N", "--help"})
    CHECK_THAT(result.out, Contains(flag));
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 80);
}

TEST_CASE("generate refuses wrong flags and texts in one line", "[generate]") {
  const Writer& writer = shared_writer();
  const auto [flags, text] = GENERATE(table<std::string, std::string>({
      {"", "no text to continue: give one with --prompt TEXT\n"},
      {"--prompt ''", "--prompt: expected a text, got \"\"\n"},
      {"--prompt '2 x'",
       "--prompt: encode: byte 0x78 'x' at position 2 is not among the 18 of the vocabulary\n"},
      {"--prompt 1 --stop '.!'",
       "--stop: encode: byte 0x21 '!' at position 1 is not among the 18 of the vocabulary\n"},
      {"--prompt 1 --sinks 2", "--sinks goes with --window\n"},
      {"--prompt 1 --temperature -1", "--temperature: expected a number from 0.0 to 1000.0, got"},
      {"--prompt 1 --top-p 0", "--top-p: expected a number from 1e-09 to 1.0, got \"0\"\n"},
      {"--prompt 1 --repetition-penalty 0", "--repetition-penalty: expected a number from 0.001"},
      {"--prompt 1 --max-tokens 1000000", "--max-tokens: expected a whole number from 0 to 100000"},
      {"--propmt 1", "unknown flag \"--propmt\": the flags are --model, --prompt, "},
  }));
  CAPTURE(flags);
  const Result result = writer.generate(flags);
  require_one_line(result, 2, text, "generate");
  CHECK(result.out.empty());
}

TEST_CASE("generate says that its text could not be written", "[generate]") {
  const Writer& writer = shared_writer();
  require_one_line(writer.generate("--prompt 1 >/dev/full"), 1, "the text could not be written\n",
                   "generate");
}

TEST_CASE("generate refuses a folder without a whole model in one line", "[generate]") {
  const Writer writer;
  const std::string config = contents(writer.path / "run/config.json");
  const auto refused = [&](const std::string& text, const std::string& model = "run") {
    const Result result = run(writer, "\"$BIN/generate\" --prompt 1 --model " + model);
    require_one_line(result, 1, text, "generate");
    CHECK(result.out.empty());
    writer.write("run/config.json", config);
  };
  const auto with = [&](const char* key, const Json& value) {
    Json changed = Json::parse(config);
    changed[Json::json_pointer(key)] = value;
    writer.write("run/config.json", changed.dump());
  };
  refused("\"none\" holds no model: train one with train_lm --out none\n", "none");
  refused("\"text.txt\" holds no model: train one with train_lm --out text.txt\n", "text.txt");
  require_one_line(run(writer, "\"$BIN/generate\" --prompt 1"), 1,
                   "\"runs/demo\" holds no model: train one with train_lm --out runs/demo\n",
                   "generate");

  writer.write("run/config.json", config.substr(0, config.size() / 2));
  refused("\"run/config.json\" is not the config of a run\n");
  with("/settings/dim", "eight");
  refused(
      "run/config.json: the setting \"dim\": expected a whole number from 1 to 100000, got "
      "\"eight\"\n");
  with("/settings/dim", 16);
  refused("load: \"wte.weight\": file has (18, 8), model has (18, 16)  (run/model.safetensors)\n");
  for (const Json& vocabulary : {Json(), Json::array(), Json("abc"), Json({97, 97}),
                                 Json({97, 256}), Json({-1}), Json({97.5}), Json({"a"})}) {
    with("/vocabulary", vocabulary);
    refused("run/config.json: \"vocabulary\" is no ascending list of bytes\n");
  }

  const std::string model = contents(writer.path / "run/model.safetensors");
  writer.write("run/model.safetensors", model.substr(0, model.size() / 2));
  refused("load \"run/model.safetensors\": ");
  fs::remove(writer.path / "run/model.safetensors");
  refused("\"run/model.safetensors\": No such file or directory\n");
}
