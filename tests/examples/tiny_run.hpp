// A folder with a text, and runs of train_lm on it that are tiny and quick. What a model learns is
// tested elsewhere.
#pragma once

#include <string>

#include "program.hpp"

namespace program {

inline const std::string tiny =
    " --layers 2 --heads 2 --dim 8 --context 8 --batch 4 --lr 0.01 --sample 20 ";

/// About 7000 characters of an arithmetic that a model can begin to learn in a few steps.
inline std::string small_text() {
  std::string text;
  for (int i = 0; i < 500; ++i)
    text += std::to_string(i % 10) + " plus 1 is " + std::to_string(i % 10 + 1) + ".\n";
  return text;
}

struct Lab : Folder {
  Lab() { write("text.txt", small_text()); }
  Result train(const std::string& flags) const {
    return run(*this, "\"$BIN/train_lm\" --data text.txt" + tiny + flags);
  }
  Result resume(const std::string& flags) const {
    return run(*this, "\"$BIN/train_lm\" --resume " + flags);
  }
};

/// One line on stderr that begins with the program's name and contains `text`.
inline void require_one_line(const Result& result, int status, const std::string& text,
                             const std::string& name = "train_lm") {
  CAPTURE(result.out, result.err);
  CHECK(result.status == status);
  CHECK_THAT(result.err, Contains(text));
  CHECK(result.err.starts_with(name + ": "));
  CHECK(result.err.find('\n') == result.err.size() - 1);
}

}  // namespace program
