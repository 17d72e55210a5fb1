// The training program from outside: what it writes, that it repeats itself and goes on exactly,
// and what it says to wrong input. Models are tiny; what a model learns is tested elsewhere.
#include "catch.hpp"
#include "tiny_run.hpp"

using namespace program;

namespace {

/// Losses by step, as they stand in the file: equal text is equal bits.
std::map<int, std::pair<std::string, std::string>> losses(const fs::path& run) {
  std::map<int, std::pair<std::string, std::string>> result;
  for (const Json& line : json_lines(run / "metrics.jsonl"))
    result[line["step"]] = {line["train_loss"].dump(), line["val_loss"].dump()};
  return result;
}

}  // namespace

TEST_CASE("a run leaves its metrics, picture, model, settings and sample", "[train_lm]") {
  const Lab lab;
  const Result result = lab.train("--steps 30 --eval-every 10 --out run");
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.empty());
  CHECK_THAT(result.out, Contains("step 10/30") && Contains("step 30/30") && !Contains("\x1b") &&
                             !Contains("\r") && Contains("results are in run"));

  std::vector<std::string> names;
  for (const auto& [path, text] : lab.files("run")) names.push_back(fs::path(path).filename());
  CHECK(names == std::vector<std::string>{"checkpoint.safetensors", "config.json", "loss.svg",
                                          "metrics.jsonl", "model.safetensors", "sample.txt"});

  const auto metrics = json_lines(lab.path / "run/metrics.jsonl");
  REQUIRE(metrics.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<std::string> keys;
    for (const auto& item : metrics[i].items()) keys.push_back(item.key());
    CHECK(keys == std::vector<std::string>{"step", "train_loss", "val_loss", "lr", "tokens_per_s",
                                           "seconds"});
    CHECK(metrics[i]["step"] == 10 * (i + 1));
  }
  CHECK(metrics[2]["train_loss"] < metrics[0]["train_loss"]);
  CHECK(metrics[2]["val_loss"] < metrics[0]["val_loss"]);
  CHECK(metrics[2]["seconds"] > metrics[0]["seconds"]);

  const std::string picture = contents(lab.path / "run/loss.svg");
  CHECK(is_well_formed(picture));
  CHECK_THAT(picture, Contains("training") && Contains("validation"));

  const Json config = Json::parse(contents(lab.path / "run/config.json"));
  std::vector<std::string> settings;
  for (const auto& item : config["settings"].items()) {
    settings.push_back(item.key());
    CHECK_THAT(result.out, Contains(item.key() + " "));
  }
  CHECK(settings == std::vector<std::string>{"data", "out", "sample", "position", "attention",
                                             "layers", "heads", "dim", "context", "dropout",
                                             "batch", "steps", "lr", "warmup", "decay_steps",
                                             "eval_every", "seed", "threads"});
  CHECK(config["settings"]["data"] == lab / "text.txt");
  CHECK(config["settings"]["dim"] == 8);

  const std::string sample = contents(lab.path / "run/sample.txt");
  CHECK(sample.size() == 21);
  CHECK_THAT(result.out, Contains(sample));
}

TEST_CASE("every position scheme trains, into folders made with their parents", "[train_lm]") {
  const Lab lab;
  for (const std::string position :
       {"rope", "alibi", "relative", "learned", "sinusoidal", "nope"}) {
    const Result result = lab.train("--steps 3 --position " + position + " --out deep/" + position);
    CAPTURE(position, result.err);
    CHECK(result.status == 0);
    CHECK(fs::exists(lab.path / "deep" / position / "sample.txt"));
  }
}

TEST_CASE("attention put together from simple operations learns the same, to rounding",
          "[train_lm]") {
  const Lab lab;
  const std::string flags = "--steps 20 --eval-every 10 ";
  REQUIRE(lab.train(flags + "--out fused").status == 0);
  REQUIRE(lab.train(flags + "--attention composite --out composite").status == 0);
  const auto fused = json_lines(lab.path / "fused/metrics.jsonl"),
             composite = json_lines(lab.path / "composite/metrics.jsonl");
  CHECK_THAT(composite[1]["val_loss"].get<double>(),
             WithinRel(fused[1]["val_loss"].get<double>(), 1e-4));
  CHECK(contents(lab.path / "fused/model.safetensors") !=
        contents(lab.path / "composite/model.safetensors"));
  CHECK(Json::parse(contents(lab.path / "composite/config.json"))["settings"]["attention"] ==
        "composite");
  require_one_line(lab.resume("fused --steps 30 --attention composite"), 2,
                   "--attention was fused in that run and cannot become composite");
}

TEST_CASE("a run from before the attention could be chosen goes on with the fused one",
          "[train_lm]") {
  const Lab lab;
  const std::string flags = "--decay-steps 20 --eval-every 4 ";
  REQUIRE(lab.train(flags + "--steps 20 --out whole").status == 0);
  REQUIRE(lab.train(flags + "--steps 12 --out parts").status == 0);
  Json config = Json::parse(contents(lab.path / "parts/config.json"));
  CHECK(config["settings"].erase("attention") == 1);
  lab.write("parts/config.json", config.dump());
  REQUIRE(lab.resume("parts --steps 20").status == 0);
  CHECK(losses(lab.path / "whole") == losses(lab.path / "parts"));
  CHECK(Json::parse(contents(lab.path / "parts/config.json"))["settings"]["attention"] == "fused");
}

TEST_CASE("without a text it learns the source of xtensor", "[train_lm]") {
  const Lab lab;
  const Result result = run(lab, "\"$BIN/train_lm\"" + tiny + "--steps 1 --out run");
  CAPTURE(result.err);
  CHECK(result.status == 0);
  const Json config = Json::parse(contents(lab.path / "run/config.json"));
  CHECK(config["settings"]["data"] == "");
  CHECK(config["text"]["bytes"] > 1'000'000);
}

TEST_CASE("--help explains every flag with its default", "[train_lm]") {
  const Lab lab;
  const Result result = run(lab, "\"$BIN/train_lm\" --help");
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  for (const char* flag :
       {"--data FILE",      "--out DIR",      "--resume DIR", "--sample N",  "--position NAME",
        "--attention NAME", "--layers N",     "--heads N",    "--dim N",     "--context N",
        "--dropout X",      "--batch N",      "--steps N",    "--lr X",      "--warmup N",
        "--decay-steps N",  "--eval-every N", "--seed N",     "--threads N", "--help"})
    CHECK_THAT(result.out, Contains(flag));
  std::string words;  // of the help, whatever lines they stand in
  std::istringstream in(result.out);
  for (std::string word; in >> word;) words += word + ' ';
  for (const char* text :
       {"(default: runs/demo)", "(default: 500)", "(default: rope)", "(default: 128)",
        "(default: 2000)", "(default: 0.001)", "(default: --steps)",
        "rope, alibi, relative, learned, sinusoidal, nope"})
    CHECK_THAT(words, Contains(text));
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 80);
  CHECK_FALSE(fs::exists(lab.path / "runs"));
}

TEST_CASE("the same seed gives the same bits, with one thread or two", "[train_lm]") {
  const Lab lab;
  const std::string flags = "--steps 20 --eval-every 10 --dropout 0.2 --dim 32 --context 32 ";
  REQUIRE(lab.train(flags + "--threads 1 --out a").status == 0);
  REQUIRE(lab.train(flags + "--threads 1 --out b").status == 0);
  REQUIRE(lab.train(flags + "--threads 2 --out c").status == 0);
  REQUIRE(lab.train(flags + "--seed 7 --out d").status == 0);
  for (const char* other : {"b", "c"}) {
    CHECK(losses(lab.path / "a") == losses(lab.path / other));
    for (const char* file : {"model.safetensors", "sample.txt"})
      CHECK((contents(lab.path / "a" / file) == contents(lab.path / other / file)));
  }
  CHECK(losses(lab.path / "a") != losses(lab.path / "d"));
}

TEST_CASE("a resumed run goes on bit for bit", "[train_lm]") {
  const Lab lab;
  const std::string flags = "--dropout 0.2 --decay-steps 20 --eval-every 4 ";
  REQUIRE(lab.train(flags + "--steps 20 --out whole").status == 0);
  // 10 is no multiple of 4: the parts' own last evaluation must not change the mean that follows.
  const int first = GENERATE(10, 12);
  REQUIRE(lab.train(flags + "--steps " + std::to_string(first) + " --out parts").status == 0);
  const Result result = lab.resume("parts/ --steps 20");
  CAPTURE(result.out, result.err);
  REQUIRE(result.status == 0);
  CHECK_THAT(result.out, Contains("going on after step " + std::to_string(first)));

  const auto whole = losses(lab.path / "whole");
  auto parts = losses(lab.path / "parts");
  if (first == 10) CHECK(parts.erase(10) == 1);
  CHECK(whole == parts);
  for (const char* file : {"model.safetensors", "sample.txt"})
    CHECK((contents(lab.path / "whole" / file) == contents(lab.path / "parts" / file)));
}

TEST_CASE("a resumed run may be called from elsewhere, with the text elsewhere", "[train_lm]") {
  const Lab lab;
  REQUIRE(lab.train("--steps 2 --out run").status == 0);
  CHECK(run(lab, "mkdir sub; cd sub; \"$BIN/train_lm\" --resume ../run --steps 3").status == 0);
  CHECK(run(lab, "mv text.txt run moved; \"$BIN/train_lm\" --resume moved/run --steps 4").status !=
        0);
  CHECK(run(lab,
            "mkdir moved; mv text.txt run moved; \"$BIN/train_lm\" --resume moved/run "
            "--steps 4 --data moved/text.txt")
            .status == 0);
  CHECK(losses(lab.path / "moved/run").size() == 3);
}

TEST_CASE("an interrupt ends a run with a checkpoint from which it goes on exactly", "[train_lm]") {
  const Lab lab;
  const std::string flags = "--dropout 0.2 --steps 4000 --eval-every 70 --threads 1 ";
  const std::string signal = GENERATE("INT", "TERM");
  // As soon as there is one evaluation, most likely between two.
  const Result stopped = run(lab, "\"$BIN/train_lm\" --data text.txt" + tiny + flags +
                                      "--out parts & pid=$!; while kill -0 $pid && ! [ -s "
                                      "parts/metrics.jsonl ]; do sleep 0.01; done; "
                                      "kill -" +
                                      signal + " $pid; wait $pid");
  CAPTURE(stopped.out, stopped.err);
  REQUIRE(stopped.status == 0);
  REQUIRE_THAT(stopped.out, Contains("stopped after step ") && Contains("--resume parts"));
  CHECK(is_well_formed(contents(lab.path / "parts/loss.svg")));
  const int at = std::stoi(stopped.out.substr(stopped.out.find("stopped after step ") + 19));
  REQUIRE(at >= 70);
  REQUIRE(at < 4000);

  // Some way on, to a step of its own, against a run that was never stopped.
  const std::string end = " --steps " + std::to_string(at + 75) + ' ';
  REQUIRE(lab.resume("parts" + end).status == 0);
  REQUIRE(lab.train("--dropout 0.2 --decay-steps 4000 --eval-every 70 --out whole" + end).status ==
          0);
  CHECK(losses(lab.path / "whole") == losses(lab.path / "parts"));
  CHECK((contents(lab.path / "whole/model.safetensors") ==
         contents(lab.path / "parts/model.safetensors")));
}

TEST_CASE("a wrong flag or value is one line that says what is right", "[train_lm]") {
  const Lab lab;
  const auto [flags, text] = GENERATE(table<std::string, std::string>({
      {"--dmi 3", "unknown flag \"--dmi\": the flags are --data, --out, "},
      {"stray", "unknown argument \"stray\": the flags are "},
      {"--position ropes",
       "--position: expected one of rope, alibi, relative, learned, sinusoidal, nope, got "
       "\"ropes\""},
      {"--dim 9", "--dim 9 is not divisible by --heads 2"},
      {"--dim 6", "--position rope needs an even width per head: --dim 6 / --heads 2 is 3"},
      {"--dim", "--dim: 1 required N missing"},
      {"--context 0", "--context: expected a whole number from 1 to 1000000, got \"0\""},
      {"--layers -1", "--layers: expected a whole number from 1 to 1000, got \"-1\""},
      {"--heads x", "--heads: expected a whole number from 1 to 1000, got \"x\""},
      {"--batch 1.5", "--batch: expected a whole number from 1 to 1000000, got \"1.5\""},
      {"--steps 99999999999999999999", "--steps: expected a whole number from 1 to 1000000000"},
      {"--steps ''", "--steps: expected a whole number from 1 to 1000000000, got \"\""},
      {"--sample -3", "--sample: expected a whole number from 0 to 1000000"},
      {"--seed -1", "--seed: expected a whole number from 0 to 18446744073709551615"},
      {"--threads 0", "--threads: expected a whole number from 1 to 256"},
      {"--lr nan", "--lr: expected a number from 1e-09 to 1000.0, got \"nan\""},
      {"--lr 0", "--lr: expected a number from 1e-09 to 1000.0, got \"0\""},
      {"--dropout 1", "--dropout: expected a number from 0.0 to 0.99, got \"1\""},
      {"--warmup 50 --steps 50", "--warmup 50 must be less than the 50 steps of the schedule"},
      {"--out ''", "--out: expected a path, got \"\""},
  }));
  CAPTURE(flags);
  require_one_line(lab.train("--out run " + flags), 2, text);
  CHECK_FALSE(fs::exists(lab.path / "run"));
}

TEST_CASE("a text that cannot be learned is one line, and leaves no folder", "[train_lm]") {
  const Lab lab;
  lab.write("empty.txt", "");
  lab.write("short.txt", std::string(80, 'a'));
  const auto [flags, text] = GENERATE(table<std::string, std::string>({
      {"--data none.txt", "none.txt\": No such file or directory"},
      {"--data empty.txt", "empty.txt\" is empty"},
      {"--data .", "\": Is a directory"},
      {"--data short.txt",
       "the text is too short: its last tenth, held out for validation, has 8 characters and must "
       "have more than --context 8"},
      {"--context 755", "has 755 characters and must have more than --context 755"},
      {"--layers 1000 --dim 100000", "the model and its batch would need at least"},
      {"--batch 1000000 --context 600 --layers 1000", "of memory, and this machine has"},
  }));
  CAPTURE(flags);
  require_one_line(lab.train("--out run " + flags), 1, text);
  CHECK_FALSE(fs::exists(lab.path / "run"));
}

TEST_CASE("an output folder that cannot be written is one line", "[train_lm]") {
  const Lab lab;
  lab.write("file", "precious");
  require_one_line(lab.train("--steps 2 --out file"), 1,
                   "cannot make the folder \"file\": Not a directory");
  require_one_line(lab.train("--steps 2 --out file/sub"), 1,
                   "cannot make the folder \"file/sub\": Not a directory");
  CHECK(contents(lab.path / "file") == "precious");
  require_one_line(lab.train("--steps 2 --out /proc/xgrad/run"), 1,
                   "cannot make the folder \"/proc/xgrad/run\": ");

  fs::create_directory(lab.path / "mine");
  fs::permissions(lab.path / "mine", fs::perms::owner_read | fs::perms::owner_exec);
  if (geteuid() != 0) {  // root may write anywhere
    require_one_line(lab.train("--steps 2 --out mine"), 1, "Permission denied");
    require_one_line(lab.train("--steps 2 --out mine/sub/run"), 1,
                     "cannot make the folder \"mine/sub/run\": Permission denied");
    lab.write("text.txt", small_text());
    fs::permissions(lab.path / "text.txt", fs::perms::none);
    require_one_line(lab.train("--steps 2 --out run"), 1, "Permission denied");
    CHECK_FALSE(fs::exists(lab.path / "run"));
  }
  CHECK(fs::is_empty(lab.path / "mine"));
}

// A limit on the size of files plays the full disk: writing fails at the same places.
TEST_CASE("a full disk is one line, and what was there stays whole", "[train_lm]") {
  const Lab lab;
  const std::string train = "\"$BIN/train_lm\" --data text.txt" + tiny;
  const std::string limit = "ulimit -f 4; ";  // blocks of 512 bytes: the settings fit, no model
  require_one_line(run(lab, limit + train + "--steps 2 --out deep/new"), 1,
                   "write: cannot write \"deep/new/checkpoint.safetensors\": File too large");
  CHECK_FALSE(fs::exists(lab.path / "deep"));

  REQUIRE(lab.train("--steps 2 --out run").status == 0);
  const auto before = lab.files("run");
  require_one_line(run(lab, limit + train + "--steps 2 --out run"), 1,
                   "cannot write \"run/checkpoint.safetensors\": File too large");
  CHECK(lab.files("run") == before);

  // In the middle of a run: the checkpoint before stays, and from it the run goes on.
  require_one_line(run(lab, limit + "\"$BIN/train_lm\" --resume run --steps 6"), 1,
                   "cannot write \"run/checkpoint.safetensors\": File too large");
  const auto after = lab.files("run");
  for (const char* file : {"run/checkpoint.safetensors", "run/model.safetensors"})
    CHECK((after.at(lab / file) == before.at(lab / file)));
  CHECK(after.size() == before.size());
  CHECK(lab.resume("run --steps 6").status == 0);
}

TEST_CASE("a loss that is not finite ends the run with one line", "[train_lm]") {
  const Lab lab;
  require_one_line(lab.train("--steps 400 --lr 1000 --warmup 0 --out run"), 1,
                   "the loss is no longer finite after ");
}

TEST_CASE("a run that cannot be resumed is one line, and stays as it is", "[train_lm]") {
  const Lab lab;
  REQUIRE(lab.train("--steps 4 --eval-every 2 --out run").status == 0);
  const std::string config = contents(lab.path / "run/config.json");
  const auto with = [&](const char* key, const Json& value) {
    Json changed = Json::parse(config);
    changed["settings"][key] = value;
    lab.write("run/config.json", changed.dump());
  };
  const auto refused = [&](const std::string& flags, int status, const std::string& text) {
    CAPTURE(flags);
    const auto before = lab.files("run");
    require_one_line(lab.resume(flags), status, text);
    CHECK((lab.files("run") == before));
    lab.write("run/config.json", config);
  };
  const std::string more = "run --steps 6 ";

  refused("none --steps 6", 1, "read: cannot open \"none/config.json\": No such file or directory");
  CHECK_FALSE(fs::exists(lab.path / "none"));
  refused("text.txt --steps 6", 1, "\"text.txt/config.json\": Not a directory");
  refused("run", 2, "that run has 4 steps already: ask for more with --steps");
  refused("run --steps 3", 2, "that run has 4 steps already: ask for more with --steps");
  refused(more + "--dim 16", 2, "--dim was 8 in that run and cannot become 16");
  refused(more + "--out other", 2, "--out was run in that run and cannot become other");

  lab.write("run/config.json", config.substr(0, config.size() / 2));
  refused(more, 1, "\"run/config.json\" is not the config of a run");
  lab.write("run/config.json", "[1, 2]");
  refused(more, 1, "\"run/config.json\" is not the config of a run");
  lab.write("run/config.json", R"({"settings": {"data": ""}})");
  refused(more, 1, "run/config.json: the setting \"sample\" is missing");
  with("dim", "eight");
  refused(more, 1,
          "run/config.json: the setting \"dim\": expected a whole number from 1 to 100000, "
          "got \"eight\"");
  with("dim", Json::array({8}));
  refused(more, 1, "the setting \"dim\": expected a whole number from 1 to 100000, got [8]");
  with("position", 3);
  refused(more, 1, "the setting \"position\": expected one of rope, ");
  with("layers", -2);
  refused(more, 1, "the setting \"layers\": expected a whole number from 1 to 1000, got -2");
  with("dim", 16);
  refused(more, 1,
          "\"run/checkpoint.safetensors\" does not fit the settings: load: \"wte.weight\": "
          "file has (18, 8), model has (18, 16)");
  with("layers", 3);
  refused(more, 1, "\"run/checkpoint.safetensors\" does not fit the settings: load: \"h.2.");
  for (const char* text : {R"("a")", R"({"bytes": "many"})", "null"}) {
    Json changed = Json::parse(config);
    changed["text"] = Json::parse(text);
    lab.write("run/config.json", changed.dump());
    refused(more, 1, "text.txt has changed since that run");
  }

  lab.write("text.txt", small_text() + "~");
  refused(more, 1, "text.txt has changed since that run: its vocabulary, ");
  lab.write("text.txt", small_text() + ".");
  refused(more, 1, "text.txt has changed since that run\n");
  lab.write("text.txt", small_text());

  const std::string checkpoint = contents(lab.path / "run/checkpoint.safetensors");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{4}, std::size_t{100}, checkpoint.size() - 1}) {
    lab.write("run/checkpoint.safetensors", checkpoint.substr(0, size));
    refused(more, 1, "load \"run/checkpoint.safetensors\": ");
  }
  lab.write("run/checkpoint.safetensors", contents(lab.path / "run/model.safetensors"));
  refused(more, 1, "\"run/checkpoint.safetensors\" is not the checkpoint of a training run");
  fs::remove(lab.path / "run/checkpoint.safetensors");
  refused(more, 1, "\"run/checkpoint.safetensors\": No such file or directory");

  lab.write("run/checkpoint.safetensors", checkpoint);
  CHECK(lab.resume(more).status == 0);
}
