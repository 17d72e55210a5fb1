// Corpus and vocabulary: the same text on every call, bytes to ids and back, clear errors.
// Nothing about models; the xtensor headers have to be installed, as for everything else here.
#include "support/corpus.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <stdexcept>

#include "catch.hpp"

using namespace examples;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("corpus_test_" + std::to_string(getpid()));

  Folder() { fs::create_directory(path); }
  ~Folder() { fs::remove_all(path); }
};

}  // namespace

TEST_CASE("the default corpus is the xtensor headers, the same at each call", "[corpus]") {
  const std::string text = default_corpus();
  CHECK(text.size() > 1'000'000);
  CHECK(text.find("namespace xt") != std::string::npos);
  CHECK(text == default_corpus());
}

TEST_CASE("headers are concatenated in the order of their paths, subfolders included", "[corpus]") {
  const Folder folder;
  fs::create_directory(folder.path / "b");
  std::ofstream(folder.path / "c.hpp") << "3";
  std::ofstream(folder.path / "a.hpp") << "1";
  std::ofstream(folder.path / "b" / "z.hpp") << "2";
  std::ofstream(folder.path / "empty.hpp") << "";
  std::ofstream(folder.path / "notes.txt") << "no";
  CHECK(concatenate_headers(folder.path) == "123");
  CHECK(concatenate_headers(folder.path / "missing").empty());
}

TEST_CASE("licences are concatenated, each once", "[corpus]") {
  const Folder folder;
  std::ofstream(folder.path / "L-2.1") << "2";
  std::ofstream(folder.path / "A") << "1";
  fs::create_symlink("L-2.1", folder.path / "L");
  CHECK(licence_texts(folder.path) == "12");
  CHECK(licence_texts(folder.path / "missing").empty());
}

TEST_CASE("a text that is missing, a folder or empty is an error with its path", "[corpus]") {
  const Folder folder;
  const std::string path = folder.path.string();
  std::ofstream(folder.path / "empty.txt") << "";
  CHECK_THROWS_WITH(read_text(path + "/none.txt"),
                    "read: cannot open \"" + path + "/none.txt\": No such file or directory");
  CHECK_THROWS_WITH(read_text(path), "read: cannot read \"" + path + "\": Is a directory");
  CHECK_THROWS_WITH(read_text(path + "/empty.txt"), "read: \"" + path + "/empty.txt\" is empty");
}

TEST_CASE("reading a text keeps every byte", "[corpus]") {
  const Folder folder;
  std::string all(200'000, '\0');
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i);
  std::ofstream(folder.path / "all", std::ios::binary) << all;
  CHECK(read_text(folder.path / "all") == all);
}

TEST_CASE("a vocabulary is the sorted bytes of a text, and encoding is undone by decoding",
          "[corpus]") {
  const std::string text = "hello\n\xff";
  const auto vocabulary = CharVocabulary::of(text);
  CHECK(vocabulary.bytes == std::vector<unsigned char>{'\n', 'e', 'h', 'l', 'o', 0xff});
  CHECK(vocabulary.encode(text) == std::vector<std::int64_t>{2, 1, 3, 3, 4, 0, 5});
  CHECK(vocabulary.decode(vocabulary.encode(text)) == text);
  CHECK(vocabulary.encode("").empty());
  CHECK(CharVocabulary::of("").size() == 0);
}

TEST_CASE("encoding a byte outside of the vocabulary is an error that names it", "[corpus]") {
  const auto vocabulary = CharVocabulary::of("abc");
  CHECK_THROWS_WITH(vocabulary.encode("ab@"),
                    "encode: byte 0x40 '@' at position 2 is not among the 3 of the vocabulary");
  CHECK_THROWS_WITH(vocabulary.encode("\xe4"),
                    "encode: byte 0xe4 at position 0 is not among the 3 of the vocabulary");
  CHECK_THROWS_AS(vocabulary.encode("\n"), std::invalid_argument);
}

TEST_CASE("decoding an id outside of the vocabulary is an error that names it", "[corpus]") {
  const auto vocabulary = CharVocabulary::of("abc");
  for (const std::int64_t id : {-1, 3}) {
    const std::vector<std::int64_t> ids = {0, id};
    CHECK_THROWS_WITH(vocabulary.decode(ids), "decode: id " + std::to_string(id) +
                                                  " is not below the vocabulary's size, 3");
  }
}

TEST_CASE("the last tenth is held out", "[corpus]") {
  std::vector<std::int64_t> ids(
      1115394);  // the size of tinyshakespeare, whose split others have published
  std::iota(ids.begin(), ids.end(), 0);
  const Split split(ids);
  CHECK(split.train.size() == 1003854);
  CHECK(split.validation.size() == 111540);
  CHECK(split.train.back() + 1 == split.validation.front());
  CHECK(Split(std::vector<std::int64_t>{}).train.empty());
}
