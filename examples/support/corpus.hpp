// Text for character models: where it comes from, how bytes become token ids, which part is held
// out. It is no tokenizer (every byte is a token) and makes no batches.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace examples {

/// The whole file, byte for byte. Throws std::runtime_error if it cannot be read or is empty.
std::string read_text(const std::string& path);

/// All .hpp files under `folder` one after the other, in the order of their paths; empty if there
/// are none.
std::string concatenate_headers(const std::filesystem::path& folder);

/// A text that is on every machine which can build this: the source of the installed xtensor
/// headers, about 2 MB. Throws std::runtime_error if it finds none.
std::string default_corpus();

/// The licences that a system keeps, in the order of their paths, each once (names that only link
/// to another are left out); empty if there are none. Debian's folder has about 250 kB.
std::string licence_texts(const std::filesystem::path& folder = "/usr/share/common-licenses");

/// FNV-1a, 64 bits: tells a text from an edited one (no defence against forgery).
std::uint64_t fingerprint(std::string_view text);

/// The bytes that occur in a text; the id of a byte is its position. As `bytes` are numbers, JSON
/// can store them.
struct CharVocabulary {
  std::vector<unsigned char> bytes;  ///< ascending, each once

  static CharVocabulary of(std::string_view text);

  std::size_t size() const { return bytes.size(); }

  /// Throws std::invalid_argument for a byte that the vocabulary does not have.
  std::vector<std::int64_t> encode(std::string_view text) const;

  /// Throws std::out_of_range for an id that the vocabulary does not have.
  std::string decode(std::span<const std::int64_t> ids) const;
};

/// The first nine tenths and the rest: held-out text that the training text does not surround.
struct Split {
  std::vector<std::int64_t> train, validation;

  explicit Split(std::span<const std::int64_t> ids);
};

}  // namespace examples
